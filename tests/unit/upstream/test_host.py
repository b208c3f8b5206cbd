"""A host that leaves its cluster: what runs ends in peace, and nothing of it is left for the cycle collector."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from proxy.upstream.pool import ConnectionPool
from proxy.upstream.pool_tcp import tcp_pool
from proxy.upstream.pool_tunnel import tunnel_pool
from tests.support.fake_upstream import FakeRequest, World

TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
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


EITHER: dict[str, Any] = {"use_downstream_protocol_config": {"http2_protocol_options": {}}}
FOLLOWS = http_options(**EITHER)
CLUSTERS: dict[str, dict[str, Any]] = {
    "http1": {},
    "http2": http_options(explicit_http_config={"http2_protocol_options": {}}),
    "either": FOLLOWS,
    "proxy protocol": {"transport_socket": PROXY_PROTOCOL},
    "proxy protocol, either": {"transport_socket": PROXY_PROTOCOL, **FOLLOWS},
    "names, either": {
        "transport_socket": {"name": "tls", "typed_config": {"@type": f"type.googleapis.com/{TLS}"}},
        **http_options(**EITHER, upstream_http_protocol_options={"auto_sni": True}),
    },
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
    tunnel_pool(first, 0)
    cluster.update_hosts([second])
    del first
    assert not left()


@pytest.mark.parametrize("kind", sorted(CLUSTERS.keys() - {"http2"}))  # the connections here are no HTTP/2
def test_pools_made_for_one_that_drains_drain_too(kind: str) -> None:
    world = World()
    (host,) = world.cluster("127.0.0.1:80", **CLUSTERS[kind]).hosts
    host.drain()
    pools: list[Callable[[], ConnectionPool]] = [
        lambda: host.pool, lambda: tunnel_pool(host, 1), lambda: tcp_pool(host)
    ]  # fmt: skip
    for pool in pools:
        request = FakeRequest()
        pool().new_stream(request)
        made = world.connector.made.pop()
        made.connected()
        assert len(request.connections) == 1
        made.response()
        assert made.closing


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
