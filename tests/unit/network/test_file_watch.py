"""Renames are told, once for each watch; nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.network.file_watch import FileWatcher


def on_a_loop(body: Callable[[FileWatcher], Awaitable[None]]) -> None:
    async def run() -> None:
        watcher = FileWatcher(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(body(watcher), 10)
        finally:
            watcher.close()

    asyncio.run(run())


def swap(link: Path, target: str) -> None:
    new = link.with_name("new")
    new.symlink_to(target)
    new.rename(link)


def test_a_rename_is_told_to_every_watch_of_the_name(tmp_path: Path) -> None:
    link, last, told = tmp_path / "now", tmp_path / "last", []

    async def body(watcher: FileWatcher) -> None:
        done = asyncio.Event()
        watcher.watch(str(link), lambda: told.append("first"))
        watcher.watch(str(link), lambda: told.append("second"))
        watcher.watch(str(last), done.set)
        swap(link, "v1")
        (tmp_path / "other").write_text("x")
        (tmp_path / "other").rename(tmp_path / "else")
        link.unlink()
        link.mkdir()  # made, not moved
        swap(last, "v1")  # events come in order: nothing is to follow
        await done.wait()

    on_a_loop(body)
    assert told == ["first", "second"]


def test_lost_events_are_told_to_everybody(tmp_path: Path) -> None:
    told = []

    async def body(watcher: FileWatcher) -> None:
        for name in ("a", "b"):
            watcher.watch(str(tmp_path / name), lambda name=name: told.append(name))  # type: ignore[misc]
        watcher._tell(-1, 0x4000, b"")

    on_a_loop(body)
    assert told == ["a", "b"]


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    async def body(watcher: FileWatcher) -> None:
        with pytest.raises(FileNotFoundError):
            watcher.watch(str(tmp_path / "none/now"), lambda: None)

    on_a_loop(body)


def test_closing_twice_is_closing(tmp_path: Path) -> None:
    async def body(watcher: FileWatcher) -> None:
        watcher.watch(str(tmp_path / "now"), lambda: None)
        watcher.close()

    on_a_loop(body)


def test_a_directory_is_watched_whatever_the_name_until_the_watch_ends(tmp_path: Path) -> None:
    told: list[str] = []

    async def body(watcher: FileWatcher) -> None:
        done = asyncio.Event()
        watch = watcher.watch_directory(str(tmp_path), lambda: told.append("any"))
        last = watcher.watch(str(tmp_path / "last"), done.set)
        swap(tmp_path / "one", "v1")
        swap(tmp_path / "last", "v1")
        await done.wait()
        watch.close()
        watch.close()
        done.clear()
        swap(tmp_path / "two", "v1")
        swap(tmp_path / "last", "v2")
        await done.wait()
        last.close()

    on_a_loop(body)
    assert told == ["any", "any"]
