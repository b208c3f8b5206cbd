"""HttpProtocolOptions.auto_config: what a cluster speaks to a host is what its handshake agrees on (ALPN). What holds for us
holds for Envoy.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_tls import CA, OTHER_CA, SERVER, upstream_tls
from tests.support.client import Client, request
from tests.support.config import (
    Config,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
)
from tests.support.envoy import Envoy
from tests.support.h2_client import H2Client
from tests.support.h2_upstream import H2Reply, H2Request, H2Upstream
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyFailed
from tests.support.tls_relay import TlsRelay
from tests.support.upstream import Hold, Upstream, reply
from tests.support.wait import until

Kind = type[Outrider] | type[Envoy]
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
BOTH = ["h2", "http/1.1"]


def answer(request: H2Request, answer: H2Reply) -> None:
    answer.answer(b"h2", fields=[("x-stream", str(request.stream_id))])


class Setup:
    """A host that speaks both, a proxy before it."""

    def __init__(self, kind: Kind, stack: ExitStack, folder: Path, offers: list[str], **more: Any) -> None:
        self.folder, self.stack, self.more = folder, stack, more
        self.http1 = stack.enter_context(Upstream([reply(body=b"h1")]))
        self.http2 = stack.enter_context(H2Upstream(answer))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*SERVER.write(folder, "server"))
        self.offer(offers)
        self.relay = TlsRelay(self.http1.port, serves=self.context, targets={"h2": self.http2.port})
        stack.enter_context(self.relay)
        self.port = free_port()
        self.log = folder / "access.log"
        self.proxy = stack.enter_context(kind(self.config()))

    def offer(self, protocols: list[str]) -> None:
        """What the host's next handshakes agree to."""
        self.context.set_alpn_protocols(protocols)

    def config(self) -> Config:
        more = dict(self.more)
        auto = {"@type": f"type.googleapis.com/{OPTIONS}", "auto_config": more.pop("auto", {})}
        if "options" in more:
            auto = {"@type": auto["@type"], **more.pop("options")}
        socket = upstream_tls(more.pop("roots", CA.pem), sni="front.example", common=more.pop("common", {}))
        log = file_log(
            str(self.log),
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %UPSTREAM_PROTOCOL% %UPSTREAM_REQUEST_ATTEMPT_COUNT%\n",
        )
        routes = [route_to("up")]
        hcm: Config = {"access_log": [log]}
        if more.pop("ends_tunnels", False):
            tunnel = route_to("up", upgrade_configs=[{"upgrade_type": "CONNECT", "connect_config": {}}])
            routes, hcm["upgrade_configs"] = (
                [{**tunnel, "match": {"connect_matcher": {}}}],
                [{"upgrade_type": "CONNECT"}],
            )
        hosts = cluster(
            "up",
            self.relay.port,
            transport_socket=socket,
            typed_extension_protocol_options={OPTIONS: auto},
            **more,
        )
        listener = http_listener(self.port, [virtual_host(routes)], hcm=hcm)
        return bootstrap(free_port(), [listener], [hosts])

    def stats(self, *names: str) -> list[int]:
        found = self.proxy.stats()
        return [found[f"cluster.up.upstream_{name}"] for name in names]

    def ask(self, count: int = 1) -> list[tuple[int, bytes]]:
        """One after the other."""
        with Client(self.port) as client:
            return [
                (one.status, one.body)
                for one in (client.send(request("GET", "/")).read() for _ in range(count))
            ]

    def together(self, count: int) -> list[Client]:
        """At the same time, a connection each."""
        clients = [self.stack.enter_context(Client(self.port)) for _ in range(count)]
        for client in clients:
            client.send(request("GET", "/"))
        return clients


@contextmanager
def made(kind: Kind, folder: Path, offers: list[str], **more: Any) -> Iterator[Setup]:
    with ExitStack() as stack:
        yield Setup(kind, stack, folder, offers, **more)


@pytest.mark.parametrize(
    ("offers", "common", "agreed", "body"),
    [
        (BOTH, {}, "h2", b"h2"),
        (["http/1.1", "h2"], {}, "http/1.1", b"h1"),
        (["h2"], {}, "h2", b"h2"),
        (["http/1.1"], {}, "http/1.1", b"h1"),
        (["spdy/3"], {}, "", b"h1"),
        (BOTH, {"alpn_protocols": ["http/1.1"]}, "http/1.1", b"h1"),
        (BOTH, {"alpn_protocols": ["h2"]}, "h2", b"h2"),
        (["http/1.1"], {"alpn_protocols": ["h2"]}, "", b"h1"),
        (["foo"], {"alpn_protocols": ["foo"]}, "foo", b"h1"),
    ],
)
def test_what_the_handshake_says(
    kind: Kind, tmp_path: Path, offers: list[str], common: Config, agreed: str, body: bytes
) -> None:
    with made(kind, tmp_path, offers, common=common) as setup:
        assert setup.ask(3) == [(200, body)] * 3
        assert setup.relay.seen == [(agreed, "")]
        spoken = [1, 0] if body == b"h1" else [0, 1]
        assert setup.stats("cx_http1_total", "cx_http2_total") == spoken
        assert setup.stats("cx_active", "rq_total", "rq_pending_total") == [1, 3, 1]
        times = 1 if kind is Outrider else 2  # differences.md, negotiated-connections
        assert setup.stats("cx_total") == [times]


@pytest.mark.parametrize(("offers", "spoken"), [(["http/1.1"], [6, 0]), (["h2"], [0, 1])])
def test_many_at_once(kind: Kind, tmp_path: Path, offers: list[str], spoken: list[int]) -> None:
    """None is lost, whatever the first handshake shows; HTTP/1 gets the connections that it needs then."""
    with made(kind, tmp_path, offers) as setup:
        setup.http1.reset([Hold(), reply(body=b"h1")])
        clients = setup.together(6)
        if offers == ["http/1.1"]:
            setup.http1.wait_for(6)
            setup.http1.let_go(6)
        assert [client.read().status for client in clients] == [200] * 6
        assert setup.stats("cx_http1_total", "cx_http2_total") == spoken
        assert len(setup.relay.seen) == sum(spoken)
        assert setup.stats("rq_total") == [6]
        rest = [sum(spoken), 0, 0]
        until(lambda: setup.stats("cx_active", "rq_active", "rq_pending_active") == rest, "all to be over")


def test_the_host_changes_its_mind(kind: Kind, tmp_path: Path) -> None:
    with made(kind, tmp_path, BOTH, max_requests_per_connection=2) as setup:
        assert setup.ask(2) == [(200, b"h2")] * 2
        setup.offer(["http/1.1"])
        assert setup.ask(4) == [(200, b"h1")] * 4
        setup.offer(BOTH)
        assert setup.ask(4) == [(200, b"h2")] * 4
        assert setup.stats("cx_http1_total", "cx_http2_total", "rq_total") == [2, 3, 10]
        until(lambda: setup.stats("cx_active", "rq_active") == [0, 0], "all to be over")
    lines = setup.log.read_text().splitlines()
    assert lines == [f"200 - {protocol} 1" for protocol in ["HTTP/2"] * 2 + ["HTTP/1.1"] * 4 + ["HTTP/2"] * 4]


def test_a_handshake_that_fails(kind: Kind, tmp_path: Path) -> None:
    with made(kind, tmp_path, BOTH, roots=OTHER_CA.pem) as setup:
        assert [status for status, _ in setup.ask(2)] == [503, 503]
        assert setup.stats("cx_http1_total", "cx_http2_total") == [0, 0]
        assert setup.stats("cx_connect_fail", "rq_pending_failure_eject", "cx_active") == [2, 2, 0]
    assert setup.log.read_text().splitlines() == ["503 UF - 1"] * 2


def test_the_protocol_of_a_client_is_offered(kind: Kind, tmp_path: Path) -> None:
    """use_downstream_protocol_config: hosts that speak HTTP/2 only where it is agreed on are told of it."""
    follows = {"use_downstream_protocol_config": {"http2_protocol_options": {}}}
    with made(kind, tmp_path, BOTH, options=follows) as setup:
        assert setup.ask(2) == [(200, b"h1")] * 2
        with H2Client(setup.port) as client:
            assert [client.get("/").body for _ in range(2)] == [b"h2"] * 2
        assert setup.relay.seen == [("http/1.1", ""), ("h2", "")]


def test_a_tunnel_offers_nothing(kind: Kind, tmp_path: Path) -> None:
    with made(kind, tmp_path, BOTH, ends_tunnels=True) as setup:
        with Client(setup.port) as client:
            client.send(b"CONNECT tunnel.example:443 HTTP/1.1\r\nhost: tunnel.example:443\r\n\r\n")
            assert client.read(head_only=True).status == 200
            client.send(request("GET", "/"))
            assert client.read().body == b"h1"
        assert setup.relay.seen == [("", "")]


def test_hosts_in_plain_text(kind: Kind, tmp_path: Path) -> None:
    """Without handshakes nothing is agreed on: refused, for some hosts as for all."""
    auto = {"@type": f"type.googleapis.com/{OPTIONS}", "auto_config": {}}
    plain = {
        "name": "raw",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
        },
    }
    some = [{"name": "some", "match": {"plain": "yes"}, "transport_socket": plain}]
    for sockets in ({}, {"transport_socket": upstream_tls(CA.pem), "transport_socket_matches": some}):
        up = cluster("up", 1, typed_extension_protocol_options={OPTIONS: auto}, **sockets)
        with (
            pytest.raises(ProxyFailed, match="ALPN"),
            kind(bootstrap(free_port(), [], [up]), folder=tmp_path),
        ):
            pass
