"""The buffered file under the loggers file, stdout and stderr: one per path and process.

Lines are gathered in memory and written when 64 KiB are together, when the flush interval is over, on reopen and on
close. A request never waits for a log and never fails because of one:

1. Nothing here blocks: pipes and terminals are written without waiting; what does not fit stays in the buffer.
2. The buffer is bounded; when it is full new lines are dropped.
3. When a write fails (full disk, closed pipe) what was to be written is dropped; the file stays in use.
4. Every dropped line is counted in ``filesystem.write_failed``.
5. Writes are of whole lines onto an O_APPEND descriptor, so that workers can share a file.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from proxy.base.clock import Clock
from proxy.base.timers import Alarm, TimerWheel

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext
    from proxy.stats.store import Scope

LIMIT_BYTES: Final = 16 << 20
_MODE: Final = 0o644
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
# A descriptor that cannot be opened again without O_NONBLOCK (a socket, another user's pipe): POSIX promises that a
# pipe that is ready takes this much without blocking.
_SAFE_BYTES: Final = 512
_INHERITED: Final = {"/dev/stdout": 1, "/dev/stderr": 2, "/proc/self/fd/1": 1, "/proc/self/fd/2": 2}
_KEY: Final = "proxy.access_log.files"


class FileStats:
    """Envoy's ``filesystem.*``, shared by all files."""

    __slots__ = (
        "flushed_by_timer",
        "reopen_failed",
        "write_buffered",
        "write_completed",
        "write_failed",
        "write_total_buffered",
    )

    def __init__(self, scope: Scope) -> None:
        self.flushed_by_timer = scope.counter("flushed_by_timer")
        self.reopen_failed = scope.counter("reopen_failed")
        self.write_buffered = scope.counter("write_buffered")
        self.write_completed = scope.counter("write_completed")
        self.write_failed = scope.counter("write_failed")
        self.write_total_buffered = scope.gauge("write_total_buffered")


class LogFile:
    """Lines for one path. Raises OSError when the file cannot be opened at all."""

    __slots__ = (
        *("_alarm", "_buffer", "_clock", "_fd", "_interval_s", "_is_terminal", "_lines", "_poll", "_stats"),
        *("_mend", "_threshold", "_torn", "flush_bytes", "limit_bytes", "path"),
    )

    def __init__(
        self,
        path: str,
        stats: FileStats,
        clock: Clock,
        timers: TimerWheel,
        *,
        interval_s: float = 10.0,
        flush_bytes: int = 64 * 1024,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        self.path = path
        self.flush_bytes = flush_bytes
        self._threshold = flush_bytes  # higher while the file takes nothing
        self.limit_bytes = limit_bytes
        self._stats = stats
        self._clock = clock
        self._interval_s = interval_s
        self._buffer = bytearray()
        self._lines = 0  # in the buffer
        self._torn = False  # the file ends in the middle of a line
        self._mend = False  # ... whose rest was dropped: end it before the next one
        self._alarm = Alarm(timers, self._on_interval)
        self._poll: select.poll | None = None
        self._fd = -1
        self._open()

    def write(self, line: bytes) -> None:
        """Take a line; bounded, never blocks, never raises."""
        stats = self._stats
        buffer = self._buffer
        if len(buffer) + len(line) > self.limit_bytes:
            stats.write_failed.value += 1
            return
        if not buffer:
            self._alarm.at(self._clock.monotonic() + self._interval_s)
        buffer += line
        self._lines += 1
        stats.write_buffered.value += 1
        stats.write_total_buffered.value += len(line)
        if len(buffer) >= self._threshold or self._is_terminal:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered, as far as the file takes it now."""
        buffer = self._buffer
        before = len(buffer)
        try:
            if self._mend and buffer:
                os.write(self._fd, b"\n")
                self._mend = self._torn = False
            while buffer:
                written = self._write_some(buffer)
                self._torn = buffer[written - 1 : written] != b"\n"
                if written < len(buffer):
                    self._lines -= buffer.count(b"\n", 0, written)
                del buffer[:written]
                self._stats.write_completed.value += 1
        except BlockingIOError:
            # Kept: the alarm comes back for it. Tried again at once only when a whole batch more has come.
            self._threshold = len(buffer) + self.flush_bytes
        except OSError:
            self._drop()
        else:
            self._lines = 0
            self._threshold = self.flush_bytes
        self._stats.write_total_buffered.value -= before - len(buffer)
        if buffer:
            self._alarm.at(self._clock.monotonic() + self._interval_s)
        else:
            self._alarm.stop()

    def reopen(self) -> None:
        """Write what is buffered and open the path anew (log rotation); the old file stays in use if that fails."""
        self.flush()
        old = self._fd
        try:
            self._open()
        except OSError:
            self._stats.reopen_failed.value += 1
            return
        self._torn = self._mend = False
        os.close(old)

    def close(self) -> None:
        """Write what is buffered, as far as the file takes it now, and let go of the file."""
        if self._fd < 0:
            return
        self.flush()
        if self._buffer:
            self._stats.write_total_buffered.value -= len(self._buffer)
            self._drop()
        self._alarm.stop()
        os.close(self._fd)
        self._fd = -1
        self.limit_bytes = 0  # a late line is dropped and counted

    def _drop(self) -> None:
        self._mend = self._mend or self._torn
        self._threshold = self.flush_bytes
        self._stats.write_failed.value += max(self._lines, 1)
        self._buffer.clear()
        self._lines = 0

    def _on_interval(self) -> None:
        if self._buffer:
            self._stats.flushed_by_timer.value += 1
            self.flush()

    def _open(self) -> None:
        poll = None
        inherited = _INHERITED.get(self.path)
        try:
            fd = os.open(self.path, _FLAGS, _MODE)
        except OSError:
            if inherited is None:
                raise
            fd = os.dup(inherited)
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
        self._fd = fd
        self._poll = poll
        self._is_terminal = os.isatty(fd)

    def _write_some(self, buffer: bytearray) -> int:
        if self._poll is None:
            return os.write(self._fd, buffer)
        if not self._poll.poll(0):
            raise BlockingIOError
        return os.write(self._fd, buffer[:_SAFE_BYTES])


def open_log_file(path: str, context: FactoryContext) -> LogFile:
    """The LogFile of the path, opened when it is new. Raises OSError."""
    files = _files(context)
    found = files.get(path)
    if found is None:
        found = LogFile(
            path,
            FileStats(context.stats.scope("filesystem")),
            context.clock,
            context.timers,
            interval_s=context.flush_interval_s,
            flush_bytes=context.flush_min_bytes,
        )
        files[path] = found
    return found


def reopen_all(context: FactoryContext) -> None:
    """Open every log file anew (POST /reopen_logs, SIGUSR1)."""
    for file in _files(context).values():
        file.reopen()


def close_all(context: FactoryContext) -> None:
    """Flush and close every log file, before the process ends."""
    files = _files(context)
    for file in files.values():
        file.close()
    files.clear()


def _files(context: FactoryContext) -> dict[str, LogFile]:
    files: dict[str, LogFile] = context.shared.setdefault(_KEY, {})
    return files
