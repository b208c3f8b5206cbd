"""Memory goes back to the system after a large configuration, and a small one does not ask for it."""

from __future__ import annotations

import ctypes

import pytest
from google.protobuf.message import Message

from proxy.api.pool import message_class
from proxy.server.memory import LARGE_BYTES, give_back


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
