"""What the system says of the proxy's sockets."""

from __future__ import annotations

import os
from pathlib import Path


def keepalive_s(port: int) -> int:
    """When the proxy's end of the connection to this port is going to ask whether its client is there; 0: never."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, _, timer, *_ = line.split()
        if local.endswith(f":{port:04X}") and state == "01":
            kind, _, when = timer.partition(":")
            return round(int(when, 16) / 100) if kind == "02" else 0
    raise AssertionError("there is no such connection")


def listened_on(port: int) -> set[str]:
    """The sockets (by inode) that listen on a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


def sockets_of(pid: int) -> set[str]:
    """A process's sockets, by inode."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind, _, inode = os.readlink(descriptor).partition(":")
        except FileNotFoundError:  # closed meanwhile
            continue
        if kind == "socket":
            found.add(inode.strip("[]"))
    return found
