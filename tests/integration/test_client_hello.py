"""How a ClientHello may come: versions of its records, its own version, an end right behind it. For us and for Envoy."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.test_sds import a_listener, downstream
from tests.support.certs import Authority
from tests.support.config import (
    TYPES,
    Config,
    address,
    bootstrap,
    cluster,
    http_listener,
    network_filter,
    route_to,
    virtual_host,
)
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

CA = Authority()
SERVER = CA.signs("server", dns=("a.example",))
INSPECTOR = {
    "name": "envoy.filters.listener.tls_inspector",
    "typed_config": {"@type": f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"},
}
Proxy = Outrider | Envoy


class Talk:
    """A TLS client whose bytes can be changed on their way."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 10.0)
        context = ssl.create_default_context(cadata=CA.pem)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="a.example")
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.hello = self.outgoing.read()

    def rest(self) -> bytes:
        """All that comes until the end; a reset is one."""
        found = b""
        try:
            while data := self.sock.recv(65536):
                found += data
        except ConnectionResetError:
            pass
        return found

    def status(self) -> bytes:
        """Finishes the handshake and asks; the first line of the response."""
        done = False
        while True:
            try:
                if not done:
                    self.tls.do_handshake()
                    done = True
                    self.tls.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                return self.tls.read(4096).partition(b"\r\n")[0]
            except ssl.SSLWantReadError:
                if out := self.outgoing.read():
                    self.sock.sendall(out)
                self.incoming.write(self.sock.recv(65536))


@contextmanager
def serving(kind: type[Outrider] | type[Envoy], *, inspects: bool) -> Iterator[tuple[Proxy, int]]:
    """TLS on a port; with the inspector, what is no TLS goes to a chain of its own."""
    port = free_port()
    listener = a_listener(port, downstream(tls_certificates=[SERVER.config()]))
    if inspects:
        plain = http_listener(port, [virtual_host([route_to("up")])], stat_prefix="plain")
        listener["listener_filters"] = [INSPECTOR]
        listener["filter_chains"][0]["filter_chain_match"] = {"transport_protocol": "tls"}
        listener["default_filter_chain"] = plain["filter_chains"][0]
    with (
        Upstream([reply(200)]) as up,
        kind(bootstrap(free_port(), [listener], [cluster("up", up.port)])) as proxy,
    ):
        yield proxy, port


@pytest.mark.parametrize("inspects", [False, True])
def test_records_of_any_version(kind: type[Outrider] | type[Envoy], inspects: bool) -> None:
    """0x0301 is what RFC 8446 asks for; old clients say 0x0300."""
    with serving(kind, inspects=inspects) as (_, port):
        for version in (b"\3\0", b"\3\1", b"\3\2", b"\3\3", b"\3\4", b"\3\xff"):
            talk = Talk(port)
            with talk.sock:
                talk.sock.sendall(talk.hello[:1] + version + talk.hello[3:])
                assert talk.status() == b"HTTP/1.1 200 OK", version


def test_a_hello_of_a_version_that_is_not_tls_gets_no_answer(kind: type[Outrider] | type[Envoy]) -> None:
    with serving(kind, inspects=True) as (proxy, port):
        for version in (b"\2\0", b"\3\0", b"\3\5"):
            talk = Talk(port)
            with talk.sock:
                talk.sock.sendall(talk.hello[:9] + version + talk.hello[11:])
                assert talk.rest() == b""
        stats = proxy.stats()
        assert stats["tls_inspector.tls_not_found"] == stats["tls_inspector.sni_found"] == 3
        assert stats["tls_inspector.tls_found"] == stats["tls_inspector.alpn_not_found"] == 0
        prefix = f"listener.127.0.0.1_{port}"
        assert (
            stats[f"{prefix}.downstream_cx_total"] == stats[f"{prefix}.downstream_listener_filter_error"] == 0
        )


@pytest.mark.parametrize("inspects", [False, True])
def test_an_end_right_behind_the_hello(kind: type[Outrider] | type[Envoy], inspects: bool) -> None:
    """It has its answer, and then the end: a handshake cannot go on."""
    if inspects and kind is Envoy:
        pytest.skip("whether its inspector sees the hello or the end first is chance: differences.md")
    with serving(kind, inspects=inspects) as (proxy, port):
        talk = Talk(port)
        with talk.sock:
            talk.sock.sendall(talk.hello)
            talk.sock.shutdown(socket.SHUT_WR)
            assert talk.rest().startswith(b"\x16\x03\x03")
        prefix = f"listener.127.0.0.1_{port}"
        proxy.wait_for_stat(f"{prefix}.downstream_cx_destroy", 1)
        assert proxy.stats()[f"{prefix}.ssl.handshake"] == 0


def test_an_end_right_behind_a_hello_that_is_passed_on() -> None:
    """Half-closed stays half-closed; a hello that is cut goes nowhere."""
    port = free_port()
    tcp = network_filter("tcp_proxy", "tcp_proxy.v3.TcpProxy", stat_prefix="t", cluster="up")
    chain: Config = {"filters": [tcp], "filter_chain_match": {"transport_protocol": "tls"}}
    listener = {
        "name": "l",
        "address": address(port),
        "listener_filters": [INSPECTOR],
        "filter_chains": [chain],
    }
    with (
        socket.create_server(("127.0.0.1", 0)) as peer,
        Outrider(bootstrap(free_port(), [listener], [cluster("up", peer.getsockname()[1])])) as proxy,
    ):
        peer.settimeout(10.0)
        talk = Talk(port)
        with talk.sock:
            talk.sock.sendall(talk.hello)
            talk.sock.shutdown(socket.SHUT_WR)
            host, _ = peer.accept()
            with host:
                got = b""
                while data := host.recv(65536):
                    got += data
                assert got == talk.hello
                host.sendall(b"answer")
            assert talk.rest() == b"answer"
        cut = Talk(port)
        with cut.sock:
            cut.sock.sendall(cut.hello[:100])
            cut.sock.shutdown(socket.SHUT_WR)
            assert cut.rest() == b""
        proxy.wait_for_stat(f"listener.127.0.0.1_{port}.downstream_listener_filter_remote_close", 1)
        assert proxy.stats()["tcp.t.downstream_cx_total"] == 1
