"""Free loopback ports that stay ours: parallel test processes never get the same one.

Ports below the ephemeral range, each a byte of one file that is locked, so that neither the kernel (for outgoing
connections) nor another test process takes one between the moment it is chosen and the moment a proxy binds it.
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
_held: set[int] = set()
_files: list[IO[bytes]] = []  # the one file: who closes it gives all ports back


def free_port() -> int:
    """A TCP port on which nothing listens; reserved until this process ends. Raises RuntimeError when none is left."""
    if not _files:
        _files.append((Path(tempfile.gettempdir()) / f"outrider-ports-{os.getuid()}.lock").open("ab"))
    for _ in range(ATTEMPTS):
        port = random.randrange(FIRST, LAST)
        if port not in _held and _lock(_files[0], port):
            return port
    raise RuntimeError("no free port")


def _lock(file: IO[bytes], port: int) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    if not _is_unused(port):
        fcntl.lockf(file, fcntl.LOCK_UN, 1, port)
        return False
    _held.add(port)
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
