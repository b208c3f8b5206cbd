"""Free loopback ports that stay ours: parallel test processes never get the same one.

Ports below the ephemeral range are locked by a file each, so that neither the kernel (for outgoing connections) nor
another test process takes one between the moment it is chosen and the moment a proxy binds it.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

FIRST, LAST = 15000, 32000
ATTEMPTS = 2000
_held: dict[int, IO[bytes]] = {}


def free_port() -> int:
    """A TCP port on which nothing listens; reserved until this process ends. Raises RuntimeError when none is left."""
    folder = Path(tempfile.gettempdir()) / f"outrider-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for _ in range(ATTEMPTS):
        port = random.randrange(FIRST, LAST)
        if port not in _held and _lock(folder, port):
            return port
    raise RuntimeError("no free port")


def _lock(folder: Path, port: int) -> bool:
    lock = (folder / str(port)).open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    if not _is_unused(port):
        lock.close()
        return False
    _held[port] = lock
    return True


def _is_unused(port: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError:
            if family == socket.AF_INET:
                return False
    return True
