"""Memory goes back to the system after a large configuration, and a small one does not ask for it."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message

from proxy.api.pool import message_class
from proxy.server import memory
from proxy.server.memory import (
    LARGE_BYTES,
    LOOK_S,
    MUCH_BYTES,
    WORTH_BYTES,
    Spare,
    give_back,
    held_bytes,
)


class Library:
    """A C library that notes what it is asked."""

    def __init__(self) -> None:
        self.trims: list[int] = []

    def malloc_trim(self, pad: int) -> int:
        self.trims.append(pad)
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return library


def route_config(name: str) -> Message:
    return message_class("envoy.config.route.v3.RouteConfiguration")(name=name)


def test_a_large_configuration_is_followed_by_a_trim(library: Library) -> None:
    give_back(route_config("r" * LARGE_BYTES))
    assert library.trims == [0]


def test_a_small_one_is_not(library: Library) -> None:
    give_back(route_config("r"))
    assert library.trims == []


def test_a_c_library_that_cannot_be_asked_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back(route_config("r" * LARGE_BYTES))


class Told(Library):
    """One that says how much is free. mallinfo2: as ctypes has functions"""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free = free
        self.asked = 0

    @property
    def mallinfo2(self) -> Any:
        def answer() -> SimpleNamespace:
            self.asked += 1
            return SimpleNamespace(fordblks=self.free)

        return answer


class Growing:
    """A process whose size is set by hand, looked at every few seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, library: Library | None) -> None:
        monkeypatch.setattr(memory, "_library", lambda: library)
        self.held = 50 * MUCH_BYTES
        self.now = 100.0
        self.spare = Spare(lambda: self.held)

    def looks(self, after_s: float = LOOK_S) -> None:
        self.now += after_s
        self.spare.look(self.now)


def test_what_is_free_is_given_back_once_it_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Told(WORTH_BYTES)
    process = Growing(monkeypatch, library)
    process.looks()
    process.held += MUCH_BYTES - 1
    process.looks()
    assert (library.asked, library.trims) == (0, [])
    process.held += 1
    process.looks(LOOK_S - 0.1)  # too soon
    assert library.asked == 0
    process.looks(0.1)
    assert (library.asked, library.trims) == (1, [0])


def test_what_is_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked about again: it may be free later."""
    library = Told(WORTH_BYTES - 1)
    process = Growing(monkeypatch, library)
    process.looks()
    process.held += 10 * MUCH_BYTES
    process.looks()
    process.looks()
    assert (library.asked, library.trims) == (2, [])
    library.free = WORTH_BYTES
    process.looks()
    assert library.trims == [0]


def test_a_smaller_size_is_the_measure_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Told(WORTH_BYTES)
    process = Growing(monkeypatch, library)
    process.looks()
    process.held -= MUCH_BYTES
    process.looks()
    process.held += MUCH_BYTES
    process.looks()
    assert library.trims == [0]


def test_without_such_a_library_nobody_looks_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Growing(monkeypatch, None)
    process.looks()
    process.held += MUCH_BYTES
    process.looks()
    monkeypatch.setattr(memory, "_library", lambda: pytest.fail("asked again"))
    process.looks(1e9)


def test_the_library_of_this_machine() -> None:
    found = memory._library()
    if found is None:
        pytest.skip("a C library without mallinfo2 and malloc_trim")
    assert found.mallinfo2().uordblks > 0
    assert found.malloc_trim(0) in (0, 1)


def test_what_this_process_holds() -> None:
    before = held_bytes()
    more = bytearray(b"x") * (64 * 1024 * 1024)
    assert held_bytes() - before > 32 * 1024 * 1024 or not before
    del more
