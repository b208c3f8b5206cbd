"""A host that leaves its cluster: what runs ends in peace, and nothing of it is left for the cycle collector."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.upstream.pool_tcp import tcp_pool
from tests.support.fake_upstream import FakeRequest, World

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
PROXY_PROTOCOL = {
    "name": "envoy.transport_sockets.upstream_proxy_protocol",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        "transport_socket": {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
            },
        },
    },
}


def http_options(**fields: Any) -> dict[str, Any]:
    return {
        "typed_extension_protocol_options": {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **fields}}
    }


CLUSTERS: dict[str, dict[str, Any]] = {
    "http1": {},
    "http2": http_options(explicit_http_config={"http2_protocol_options": {}}),
    "either": http_options(use_downstream_protocol_config={"http2_protocol_options": {}}),
    "proxy protocol": {"transport_socket": PROXY_PROTOCOL},
}


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The cycle collector runs only when asked, and keeps what it finds."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def left() -> Counter[str]:
    """Hosts and pools that only the cycle collector finds. Others' garbage (messages of the schema) is not looked at."""
    gc.collect()
    kinds = (type(each).__qualname__ for each in gc.garbage)
    return Counter(kind for kind in kinds if kind == "Host" or "Pool" in kind)


@pytest.mark.parametrize("kind", CLUSTERS)
def test_one_that_leaves_is_gone_at_once(kind: str) -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:80", "127.0.0.1:81", **CLUSTERS[kind])
    first, second = cluster.hosts
    tcp_pool(first)
    cluster.update_hosts([second])
    del first
    assert not left()


def test_one_with_a_stream_goes_when_it_has_ended() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:80", "127.0.0.1:81")
    request = FakeRequest()
    host, second = cluster.hosts
    host.pool.new_stream(request)
    made = world.connector.made[0]
    made.connected()
    cluster.update_hosts([second])
    assert (host.pools, host.rq_active, world.value("upstream_cx_active")) == ((), 1, 1)
    made.response()
    assert made.closing
    assert (host.rq_active, host.cx_active, world.value("upstream_cx_active")) == (0, 0, 0)
    world.connector.made.clear()
    request.connections.clear()
    del made, host
    assert not left()
