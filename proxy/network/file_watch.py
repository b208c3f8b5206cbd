"""Tells when a name in a directory gets a new file or link by a rename: how Kubernetes and careful people swap files.

Linux's inotify through ctypes; one descriptor for a process. A directory is watched, not the file: after a rename the
name stands for another file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_MOVED_TO = 0x80
_OVERFLOW = 0x4000
_EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_READ_BYTES = 64 * 1024


class FileWatch:
    """One watch of a FileWatcher. name: in its directory, b"" for any. ``close`` ends it."""

    __slots__ = ("name", "number", "on_moved", "watcher")

    def __init__(self, watcher: FileWatcher, number: int, name: bytes, on_moved: Callable[[], None]) -> None:
        self.watcher = watcher
        self.number = number
        self.name = name
        self.on_moved = on_moved

    def close(self) -> None:
        """Tell nothing any more. May be called twice."""
        self.watcher.forget(self)


class FileWatcher:
    """``watch`` paths, then ``close``. Callbacks run on the loop, and must not raise."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._descriptor = -1
        self._directories: dict[int, list[FileWatch]] = {}

    def watch(self, path: str, on_moved: Callable[[], None]) -> FileWatch:
        """Call ``on_moved`` whenever something is renamed to ``path``, once per watch. Raises OSError."""
        directory, name = os.path.split(path)
        return self._add(directory or "/", os.fsencode(name), on_moved, path)

    def watch_directory(self, path: str, on_moved: Callable[[], None]) -> FileWatch:
        """Call ``on_moved`` whenever something is renamed to any name in the directory. Raises OSError."""
        return self._add(path, b"", on_moved, path)

    def _add(self, directory: str, name: bytes, on_moved: Callable[[], None], path: str) -> FileWatch:
        import ctypes  # few configurations watch anything

        libc = ctypes.CDLL(None, use_errno=True)
        if self._descriptor < 0:
            self._descriptor = _checked(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), path)
            self._loop.add_reader(self._descriptor, self._on_readable)
        number = _checked(libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _MOVED_TO), path)
        made = FileWatch(self, number, name, on_moved)
        self._directories.setdefault(number, []).append(made)
        return made

    def forget(self, watch: FileWatch) -> None:
        """End one watch; the last one of a directory ends the system's."""
        watches = self._directories.get(watch.number, [])
        if watch not in watches:
            return
        watches.remove(watch)
        if not watches:
            import ctypes

            del self._directories[watch.number]
            ctypes.CDLL(None).inotify_rm_watch(self._descriptor, watch.number)

    def close(self) -> None:
        """Watch nothing any more."""
        self._directories.clear()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _on_readable(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            self._tell(number, mask, data[at - length : at].rstrip(b"\0"))

    def _tell(self, number: int, mask: int, name: bytes) -> None:
        if mask & _OVERFLOW:  # events were lost: any of them may have been ours
            for watches in list(self._directories.values()):
                for watch in list(watches):
                    watch.on_moved()
            return
        for watch in list(self._directories.get(number, ())):
            if watch.name in (name, b""):
                watch.on_moved()


def _checked(result: int, path: str) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result
