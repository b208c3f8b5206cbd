"""transport_socket_connect_timeout: who does not come to the end of a handshake is left."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from tests.integration.test_tls import (
    SERVER,
    Connection,
    client_context,
    downstream_tls,
    get,
    running,
    secured,
)
from tests.support.config import cluster, file_log, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream

Kind = type[Outrider] | type[Envoy]
TIMEOUT_S = 0.4
LOG = "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%|%RESPONSE_FLAGS%|%BYTES_RECEIVED%|%DOWNSTREAM_LOCAL_CLOSE_REASON%|%CONNECTION_TERMINATION_DETAILS%\n"


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half a hello"])
def test_a_handshake_takes_its_time(upstream: Upstream, tmp_path: Path, kind: Kind, said: bytes) -> None:
    port = free_port()
    log = tmp_path / "listener.log"
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    listener["filter_chains"][0]["transport_socket_connect_timeout"] = f"{TIMEOUT_S}s"
    listener["access_log"] = [file_log(str(log), LOG)]
    with running([listener], [cluster("up", upstream.port)], kind) as proxy:
        quick = Connection(port, client_context())
        assert get(quick) == (200, b"ok")
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
            slow.sendall(said)
            try:
                assert slow.recv(100) == b""
            except ConnectionResetError:
                pass
        assert time.monotonic() - began >= TIMEOUT_S * 0.9
        assert get(quick) == (200, b"ok"), "whose handshake was over in time"
        quick.close()
        scope = f"listener.127.0.0.1_{port}"
        stats = proxy.stats()
        assert stats[f"{scope}.downstream_cx_transport_socket_connect_timeout"] == 1
        assert stats[f"{scope}.ssl.handshake"] == 1
        assert stats[f"{scope}.ssl.connection_error"] == 0
        proxy.wait_for_stat(f"{scope}.downstream_cx_active", 0)
        assert proxy.stats()[f"{scope}.downstream_cx_destroy"] == 2
    assert log.read_text().splitlines()[0] == (
        "-|-|0|transport_socket_timeout|transport socket timeout was reached"
    )
