"""The overload manager's limit of connections over all listeners, as Envoy keeps it."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from proxy.listener.overload import CONNECTIONS, MONITOR
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream

MOST = {"@type": f"type.googleapis.com/{CONNECTIONS}", "max_active_downstream_connections": "2"}
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


def answered(client: socket.socket) -> bool:
    """Whether a request on the connection gets its answer; not, when the proxy has closed it."""
    try:
        client.sendall(REQUEST)
        return client.recv(4096).startswith(b"HTTP/1.1 200")
    except ConnectionError:
        return False


def has_room(port: int) -> bool:
    """Whether a connection is taken, some day soon: Envoy gives the place of one that ended free a little later."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            if answered(client):
                return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize(
    "kind",
    [
        Outrider,
        pytest.param(Envoy, marks=pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)),
    ],
)
def test_the_third_connection_is_closed(kind: Any, upstream: Upstream) -> None:
    first, second, free = free_port(), free_port(), free_port()
    hosts = [virtual_host([route_to("up")])]
    listeners = [
        http_listener(first, hosts, stat_prefix="first"),
        http_listener(second, hosts, stat_prefix="second"),
        http_listener(free, hosts, stat_prefix="free", ignore_global_conn_limit=True),
    ]
    config = bootstrap(
        free_port(),
        listeners,
        [cluster("up", upstream.port)],
        overload_manager={"resource_monitors": [{"name": MONITOR, "typed_config": MOST}]},
    )
    with kind(config) as proxy:
        clients = []
        try:
            for port, is_answered in (
                (first, True),
                (second, True),
                (first, False),
                (second, False),
                (free, True),
            ):
                clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
                assert answered(clients[-1]) == is_answered, port
            stats = proxy.stats()
            for port, refused in ((first, 1), (second, 1), (free, 0)):
                assert stats[f"listener.127.0.0.1_{port}.downstream_global_cx_overflow"] == refused
            clients[0].close()
            assert has_room(second)
        finally:
            for client in clients:
                client.close()
