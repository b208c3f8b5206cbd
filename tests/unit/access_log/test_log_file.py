from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.access_log import log_file
from proxy.access_log.log_file import FileStats, LogFile, close_all, open_log_file, reopen_all
from proxy.base.timers import TimerWheel
from proxy.http.context import FactoryContext


@pytest.fixture
def stats(context: FactoryContext) -> FileStats:
    return FileStats(context.stats.scope("filesystem"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def values(stats: FileStats) -> dict[str, int]:
    return {name: getattr(stats, name).value for name in FileStats.__slots__ if getattr(stats, name).value}


def make(path: Path | str, stats: FileStats, context: FactoryContext, **options: Any) -> LogFile:
    return LogFile(str(path), stats, context.clock, context.timers, **options)


def test_lines_wait_for_the_interval(
    path: Path, stats: FileStats, context: FactoryContext, now: list[float]
) -> None:
    file = make(path, stats, context, interval_s=10.0)
    file.write(b"one\n")
    file.write(b"two\n")
    assert path.read_bytes() == b""
    assert values(stats) == {"write_buffered": 2, "write_total_buffered": 8}
    now[0] += 9.0
    context.timers.turn(now[0])
    assert path.read_bytes() == b""
    now[0] += 1.1
    context.timers.turn(now[0])
    assert path.read_bytes() == b"one\ntwo\n"
    assert values(stats) == {"write_buffered": 2, "write_completed": 1, "flushed_by_timer": 1}
    file.close()


def test_a_full_batch_is_written_at_once(path: Path, stats: FileStats, context: FactoryContext) -> None:
    file = make(path, stats, context, flush_bytes=10)
    file.write(b"12345\n")
    assert path.read_bytes() == b""
    file.write(b"12345\n")
    assert path.read_bytes() == b"12345\n12345\n"
    assert context.timers.next_due() == float("inf"), "nothing is left to flush"
    file.close()


def test_the_default_batch_is_64_kib(path: Path, stats: FileStats, context: FactoryContext) -> None:
    file = make(path, stats, context)
    line = b"x" * 1023 + b"\n"
    for _ in range(63):
        file.write(line)
    assert path.stat().st_size == 0
    file.write(line)
    assert path.stat().st_size == 65536
    file.close()


def test_close_writes_the_rest_and_late_lines_are_counted(
    path: Path, stats: FileStats, context: FactoryContext
) -> None:
    file = make(path, stats, context)
    file.write(b"one\n")
    file.close()
    file.close()
    file.write(b"late\n")
    assert path.read_bytes() == b"one\n"
    assert values(stats) == {"write_buffered": 1, "write_completed": 1, "write_failed": 1}


def test_appends_to_what_is_there(path: Path, stats: FileStats, context: FactoryContext) -> None:
    path.write_bytes(b"old\n")
    file = make(path, stats, context)
    file.write(b"new\n")
    file.close()
    assert path.read_bytes() == b"old\nnew\n"
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_reopen_after_rotation(path: Path, stats: FileStats, context: FactoryContext) -> None:
    file = make(path, stats, context)
    file.write(b"one\n")
    path.rename(path.with_suffix(".1"))
    file.reopen()
    file.write(b"two\n")
    file.close()
    assert path.with_suffix(".1").read_bytes() == b"one\n"
    assert path.read_bytes() == b"two\n"


def test_a_vanished_folder_keeps_the_old_file(
    tmp_path: Path, stats: FileStats, context: FactoryContext
) -> None:
    (tmp_path / "a").mkdir()
    file = make(tmp_path / "a" / "log", stats, context)
    (tmp_path / "a").rename(tmp_path / "b")
    file.reopen()
    file.write(b"one\n")
    file.close()
    assert (tmp_path / "b" / "log").read_bytes() == b"one\n"
    assert values(stats)["reopen_failed"] == 1


def test_a_path_that_cannot_be_opened(tmp_path: Path, stats: FileStats, context: FactoryContext) -> None:
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "none" / "log", stats, context)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_drops_lines_and_counts_them(stats: FileStats, context: FactoryContext) -> None:
    file = make("/dev/full", stats, context)
    for _ in range(3):
        file.write(b"one\n")
    file.flush()
    assert values(stats) == {"write_buffered": 3, "write_failed": 3}
    file.write(b"two\n")
    file.close()
    assert values(stats) == {"write_buffered": 4, "write_failed": 4}


@pytest.fixture
def pipe() -> Iterator[tuple[int, str]]:
    """The reading end of a pipe and a path to its writing end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, f"/proc/self/fd/{writing}"
    os.close(writing)
    os.close(reading)


def drain(fd: int) -> bytes:
    parts = []
    try:
        while part := os.read(fd, 1 << 20):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def test_a_stalled_pipe_never_blocks_and_loses_nothing_within_its_bound(
    pipe: tuple[int, str], stats: FileStats, context: FactoryContext, now: list[float]
) -> None:
    reading, path = pipe
    file = make(path, stats, context, limit_bytes=300_000, interval_s=1.0)
    line = b"y" * 999 + b"\n"
    for _ in range(500):
        file.write(line)
    dropped = stats.write_failed.value
    assert 100 < dropped < 200  # 64 KiB went into the pipe, 300 kB into the buffer
    assert stats.write_total_buffered.value <= 300_000
    got = b""
    for _ in range(20):
        got += drain(reading)
        now[0] += 1.1
        context.timers.turn(now[0])
    assert got == line * (500 - dropped), "lines were torn or lost"
    assert stats.write_total_buffered.value == 0
    file.close()


def test_a_closed_pipe_drops_and_lives(stats: FileStats, context: FactoryContext) -> None:
    reading, writing = os.pipe()
    file = make(f"/proc/self/fd/{writing}", stats, context)
    os.close(writing)
    os.close(reading)
    file.write(b"one\n")
    file.write(b"two\n")
    file.flush()
    file.close()
    assert values(stats) == {"write_buffered": 2, "write_failed": 2}


def test_a_torn_line_is_ended_before_the_next(
    path: Path, stats: FileStats, context: FactoryContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make(path, stats, context)
    real, calls = os.write, []

    def write(fd: int, data: bytes) -> int:
        calls.append(bytes(data))
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(fd, data[:6])

    monkeypatch.setattr(log_file.os, "write", write)
    file.write(b"first\nsecond\n")
    file._lines = 2
    file.flush()
    file.write(b"third\n")
    file.flush()
    assert path.read_bytes() == b"first\nthird\n"
    calls[:] = [b""]
    file.write(b"longer line\n")
    file.flush()
    calls[:] = [b"", b""]
    file.write(b"after\n")
    file.flush()
    assert path.read_bytes() == b"first\nthird\nafter\n"
    file.close()


def test_a_stdout_that_cannot_be_opened_again_is_duplicated(
    stats: FileStats, context: FactoryContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def refuse(path: str, flags: int, mode: int = 0) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(log_file.os, "open", refuse)
    monkeypatch.setattr(log_file, "_INHERITED", {"/dev/stdout": writing})
    file = make("/dev/stdout", stats, context)
    assert os.get_blocking(writing), "the descriptor is shared with others"
    line = b"z" * 999 + b"\n"
    for _ in range(100):
        file.write(line)
    file.flush()
    first = drain(reading)
    assert 60_000 <= len(first) <= 65_536
    file.flush()
    assert first + drain(reading) == line * 100
    file.close()
    os.close(reading)
    os.close(writing)


def test_one_file_per_path(path: Path, context: FactoryContext) -> None:
    first, second = open_log_file(str(path), context), open_log_file(str(path), context)
    assert first is second
    first.write(b"one\n")
    second.write(b"two\n")
    reopen_all(context)
    assert path.read_bytes() == b"one\ntwo\n"
    first.write(b"three\n")
    close_all(context)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert open_log_file(str(path), context) is not first
    close_all(context)


def test_the_context_says_when_to_flush(path: Path, context: FactoryContext, now: list[float]) -> None:
    context.flush_interval_s, context.flush_min_bytes = 0.5, 8
    file = open_log_file(str(path), context)
    file.write(b"1\n")
    now[0] += 0.52
    context.timers.turn(now[0])
    assert path.read_bytes() == b"1\n"
    file.write(b"1234567\n")
    assert path.read_bytes() == b"1\n1234567\n"
    close_all(context)


def test_a_terminal_gets_every_line_at_once(
    path: Path, stats: FileStats, context: FactoryContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file.os, "isatty", lambda fd: True)
    file = make(path, stats, context)
    file.write(b"one\n")
    assert path.read_bytes() == b"one\n"
    file.close()


def test_the_wheel_is_left_alone_by_an_idle_file(
    path: Path, stats: FileStats, context: FactoryContext
) -> None:
    assert isinstance(context.timers, TimerWheel)
    file = make(path, stats, context)
    assert context.timers.next_due() == float("inf")
    file.close()
