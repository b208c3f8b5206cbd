"""A stream with every fact set, for formats to read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.base.clock import Clock
from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.base.ids import Ids
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.formatter import FormatContext


@pytest.fixture
def stream() -> StreamInfo:
    """GET /hello?x=1 answered 200 by 127.0.0.1:21100 after 2.5 ms."""
    info = ConnectionInfo(7, "127.0.0.1:40000", "[::1]:10000", 99.0)
    info.filter_chain_name = "chain"
    stream = StreamInfo(info, 1795458223.061793, 100.0)
    stream.request_headers = RequestHeaders(
        b"GET", b"/hello?x=1", b"ex.com", b"http", [(b"user-agent", b"t"), (b"x-request-id", b"id-1")]
    )
    stream.response_headers = ResponseHeaders(
        200, [(b"x-envoy-upstream-service-time", b"1"), (b"server", b"envoy")]
    )
    stream.upstream_host = SimpleNamespace(
        address="127.0.0.1:21100", hostname="back.svc", metadata={"a": {"b": "v"}}
    )
    stream.status, stream.bytes_sent, stream.attempt_count = 200, 3, 1
    stream.details, stream.cluster_name, stream.route_name = b"via_upstream", b"back", b"r"
    stream.ended_at = 100.0025
    return stream


@pytest.fixture
def bare() -> StreamInfo:
    """A stream of which nothing is known yet."""
    return StreamInfo(ConnectionInfo(1, "127.0.0.1:1", "127.0.0.1:2", 99.0), 1000.0, 100.0)


@pytest.fixture
def context() -> FormatContext:
    """Nothing of this machine: a clock that stands still, seeded ids."""
    return FormatContext(
        environ={"NAME": "value"},
        hostname="box",
        clock=Clock(lambda: 100.25, lambda: 2000.5),
        ids=Ids(1),
        log_type="DownstreamEnd",
    )
