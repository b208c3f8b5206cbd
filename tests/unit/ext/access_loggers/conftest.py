"""A Reader of a logger's configuration, a factory context, a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import json_format

from proxy.access_log.log_file import close_all
from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader
from proxy.base.clock import Clock
from proxy.base.headers import RequestHeaders
from proxy.base.ids import Ids
from proxy.base.registry import Registry
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.timers import TimerWheel
from proxy.extensions import EXTENSIONS
from proxy.http.context import FactoryContext, Node
from proxy.stats.store import Store


@pytest.fixture
def context() -> Iterator[FactoryContext]:
    store = Store()
    nothing: Any = None
    made = FactoryContext(
        clock=Clock(lambda: 50.0, lambda: 1000.0),
        timers=TimerWheel(),
        ids=Ids(7),
        stats=store,
        scope=store.scope("x"),
        clusters=nothing,
        registry=Registry(EXTENSIONS),
        http_client=nothing,
        node=Node(),
    )
    yield made
    close_all(made)


@pytest.fixture
def read() -> Callable[[str, dict[str, Any]], Reader]:
    def make(name: str, content: dict[str, Any]) -> Reader:
        message = new_message(name)
        json_format.ParseDict(content, message, descriptor_pool=pool())
        return Reader(message, "x")

    return make


@pytest.fixture
def stream() -> StreamInfo:
    stream = StreamInfo(ConnectionInfo(1, "127.0.0.1:1", "127.0.0.1:2", 0.0), 1000.0, 10.0)
    stream.request_headers = RequestHeaders(b"GET", b"/", b"h")
    stream.status, stream.ended_at = 200, 10.005
    return stream
