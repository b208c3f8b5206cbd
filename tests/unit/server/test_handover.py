"""Counts that travel, and the memory that survives a worker."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.server.handover import Counts, Giver, HandoverFailed, Inherited
from proxy.server.supervisor import Memory
from proxy.stats.store import Store
from tests.support.wait import until


def counted(**counters: int) -> Store:
    store = Store()
    for name, count in counters.items():
        store.counter(name).value = count
    histogram = store.histogram("times", "ms")
    for value in (1, 5, 5, 900):
        histogram.record(value)
    return store


def test_counts_go_on_in_another_store():
    given = Counts.read(Counts.of(counted(a=3, b=0)).line())
    other = Store()
    other.counter("a").value = 4
    other.histogram("times", "ms").record(5)
    given.add_to(other)
    assert (other.counter("a").value, other.counter("b").value) == (7, 0)
    other.fold()
    assert other.histogram("times", "ms").export()[0] == 5


def test_only_what_was_added_since():
    store = counted(a=3, b=9)
    before = Counts.of(store)
    store.counter("a").value = 5
    store.counter("b").value = 2  # reset in between
    store.counter("c").value = 1
    store.histogram("times", "ms").record(5)
    since = Counts.of(store).since(before)
    assert {name: since.counters[name] for name in "abc"} == {"a": 2, "b": 2, "c": 1}
    count, total, buckets, bins = since.histograms["times"][1]
    assert (count, sum(buckets), sum(bins.values())) == (1, 1, 1) and abs(total - 5) < 1


def test_histograms_with_other_buckets_begin_anew():
    given = Counts({}, {"times": ("ms", (2, 7.0, [1, 1], {1: 2}))})
    other = Store()
    given.add_to(other)
    other.fold()
    assert other.histogram("times", "ms").export()[0] == 0


def test_memory_keeps_what_was_written_last_and_whole():
    memory = Memory()
    try:
        assert memory.read() == b""
        for text in (b"one", b"second one", b"3"):
            assert memory.write(text)
            assert Memory(memory.descriptor).read() == text
        # killed in the middle of the next write: the last one still counts
        os.pwrite(memory.descriptor, b"\xff" * 20, 0)
        assert Memory(memory.descriptor).read() == b"3"
        again = Memory(memory.descriptor)
        again.read()
        again.write(b"4")
        assert memory.read() == b"4"
        assert not memory.write(bytes(33 * 1024 * 1024))
    finally:
        os.close(memory.descriptor)


class Loop:
    """What of a loop both sides use; ``run`` calls whoever has something to read, until ``done``."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}

    def add_reader(self, descriptor: int, callback: Callable[..., None], *arguments: Any) -> None:
        self.readers[descriptor] = lambda: callback(*arguments)

    def remove_reader(self, descriptor: int) -> None:
        self.readers.pop(descriptor, None)

    def run(self, done: Callable[[], bool]) -> None:
        while not done():
            waiting = select.poll()  # select() knows no descriptor above 1,023
            for descriptor in list(self.readers):
                waiting.register(descriptor, select.POLLIN)
            for descriptor, _ in waiting.poll(50):
                if descriptor in self.readers:
                    self.readers[descriptor]()


class Running:
    """One that can be taken over from, in a thread: answers until it is told to end."""

    def __init__(self, path: Path, begins: bool = True) -> None:
        self.store = counted(a=3)
        self.loop = Loop()
        self.handed = 0
        self.ends = False
        self.giver = Giver(str(path), cast(Any, self.loop), self)
        self.giver.start()
        self._thread = threading.Thread(target=self.loop.run, args=(lambda: self.ends,))
        if begins:
            self.begin()

    def begin(self) -> None:
        self._thread.start()

    def listening_sockets(self) -> list[tuple[str, str, socket.socket]]:
        return []

    def hand_over(self) -> None:
        self.handed += 1

    def end(self) -> None:
        self.ends = True
        self._thread.join()
        self.giver.close()


def inherited(path: Path) -> Inherited:
    """Once it is seen that whoever connected before has gone."""
    found: list[Inherited] = []

    def is_answered() -> bool:
        try:
            found.append(Inherited(str(path)))
        except HandoverFailed:
            return False
        return True

    until(is_answered, "an answer")
    return found[0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "at"


@pytest.fixture
def running(path: Path) -> Iterator[Running]:
    made = Running(path)
    yield made
    made.end()


def test_one_that_dies_before_it_hands_over_takes_nothing_along(path: Path):
    """Its successor has the sockets, and there is nobody else: it serves."""
    one = Running(path)
    successor = Inherited(str(path))
    one.end()
    store, loop = Store(), Loop()
    successor.serve(store, cast(Any, loop))
    assert loop.readers == {} and "a" not in store.names().counters


def test_all_counts_come_also_when_they_come_together(path: Path):
    one = Running(path)
    successor = Inherited(str(path))
    store, loop = Store(), Loop()
    successor.serve(store, cast(Any, loop))
    one.store.counter("a").value += 2
    one.end()
    assert one.handed == 1
    loop.run(lambda: not loop.readers)
    assert store.counter("a").value == 5


def test_a_successor_that_is_gone_when_it_is_answered_leaves_everything_as_it_was(path: Path):
    one = Running(path, begins=False)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(b'{"op":"serve"}\n')
    one.begin()
    inherited(path).close()
    one.end()
    assert one.handed == 0


def test_a_question_without_end_is_not_kept(path: Path, running: Running):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(path))
        with pytest.raises(ConnectionError):
            while True:
                peer.sendall(b"x" * 4096)


def test_what_was_left_behind_is_removed_and_nothing_else(path: Path):
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    one = Running(path)
    with pytest.raises(OSError, match="Address already in use"):
        Giver(str(path), cast(Any, Loop()), one).start()
    inherited(path).close()  # it is still answered there
    one.end()
    assert not path.exists()
    path.write_text("somebody's")
    with pytest.raises(OSError, match="Address already in use"):
        Giver(str(path), cast(Any, Loop()), one).start()
    assert path.read_text() == "somebody's"
    with pytest.raises(HandoverFailed):
        Inherited(str(path))
