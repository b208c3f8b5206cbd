"""Streams, readers and a factory context without sockets or waiting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader
from proxy.base.clock import Clock
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.registry import Registry
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.timers import TimerWheel
from proxy.http.context import FactoryContext, Node
from proxy.stats.store import Store


class Recorder:
    """A logger that remembers whose line it was to write."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        config.text("path")
        self.streams: list[StreamInfo] = []

    def log(self, stream: StreamInfo) -> None:
        self.streams.append(stream)


class Recording(Registry):
    """Every logger is a Recorder; only the file logger is registered."""

    def resolve(self, message: str) -> Any:
        return Recorder


@pytest.fixture
def now() -> list[float]:
    """The monotonic time; tests move it."""
    return [50.0]


@pytest.fixture
def context(now: list[float]) -> FactoryContext:
    store = Store()
    nothing: Any = None
    return FactoryContext(
        clock=Clock(lambda: now[0], lambda: 1000.0),
        timers=TimerWheel(),
        ids=Ids(7),
        stats=store,
        scope=store.scope("x"),
        clusters=nothing,
        registry=Recording([("f", "envoy.extensions.access_loggers.file.v3.FileAccessLog", "nowhere:X")]),
        http_client=nothing,
        node=Node(),
    )


@pytest.fixture
def read() -> Callable[[str, dict[str, Any]], Reader]:
    """A Reader of a message given by its full name and its JSON."""

    def make(name: str, content: dict[str, Any]) -> Reader:
        message = new_message(name)
        json_format.ParseDict(content, message, descriptor_pool=pool())
        return Reader(message, "x")

    return make


@pytest.fixture
def stream() -> StreamInfo:
    stream = StreamInfo(ConnectionInfo(1, "127.0.0.1:1", "127.0.0.1:2", 0.0), 1000.0, 10.0)
    stream.request_headers = RequestHeaders(b"GET", b"/", b"h", b"http", [(b"x-a", b"1")])
    stream.status, stream.ended_at = 200, 10.005
    return stream
