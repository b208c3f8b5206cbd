"""PROXY protocol headers towards hosts, and the pools that keep clients apart."""

from __future__ import annotations

import pytest

from proxy.base.stream_info import ConnectionInfo
from proxy.listener.inspectors.proxy_header import read_proxy_header
from proxy.upstream.proxy_protocol import ProxyProtocol, ProxyProtocolPool
from tests.parity.scenarios.tcp import tells_hosts
from tests.support.config import tcp_proxy
from tests.support.transcript import GET, REFUSED, RawTranscript, Transcript, ends_clean  # noqa: F401

FOUR = ("192.0.2.7:1111", "198.51.100.8:2222")
SIX = ("[2001:db8::7]:1111", "[2001:db8::8]:2222")


def client(remote: str, local: str, *tlvs: tuple[int, bytes]) -> ConnectionInfo:
    info = ConnectionInfo(1, remote, local, 0.0)
    info.tlvs = tlvs
    return info


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("ends", [FOUR, SIX])
def test_what_is_written_is_read(version: int, ends: tuple[str, str]) -> None:
    header = read_proxy_header(ProxyProtocol(version, None, {}).header(client(*ends)))
    assert header is not None and header.version == version
    assert header.source is not None and header.destination is not None
    for (address, port), text in zip((header.source, header.destination), ends, strict=True):
        assert text in (f"{address}:{port}", f"[{address}]:{port}")


@pytest.mark.parametrize(
    "info", [None, client("/run/front", "/run/front"), client("@name", "@name"), client(FOUR[0], SIX[1])]
)
def test_nobody_of_an_address_is_told_of_as_such(info: ConnectionInfo | None) -> None:
    assert ProxyProtocol(1, None, {}).header(info) == b"PROXY UNKNOWN\r\n"
    header = read_proxy_header(ProxyProtocol(2, None, {9: b"x"}).header(info))
    assert header is not None and (header.source, header.tlvs) == (None, ((9, b"x"),))


def test_tlvs() -> None:
    info = client(*FOUR, (1, b"one"), (2, b"two"), (3, b"three"))
    for passes, told in (
        (None, [(2, b"ours")]),
        (frozenset[int](), [(2, b"ours"), (1, b"one"), (3, b"three")]),
        (frozenset((2, 3)), [(2, b"ours"), (3, b"three")]),
    ):
        header = read_proxy_header(ProxyProtocol(2, passes, {2: b"ours"}).header(info))
        assert header is not None and list(header.tlvs) == told


def test_more_tlvs_than_a_header_holds_are_left_out() -> None:
    info = client(*FOUR, (1, b"x" * 60000), (2, b"y" * 60000), (3, b"z"))
    header = read_proxy_header(ProxyProtocol(2, frozenset(), {}).header(info))
    assert header is not None and [kind for kind, _ in header.tlvs] == [1, 3]


def test_a_pool_lives_as_long_as_it_has_something() -> None:
    talk = RawTranscript(tcp_proxy("a"), a={"transport_socket": tells_hosts(version="V1")})
    host = talk.parts.clusters.clusters["a"].hosts[0]
    pool = host.tcp_pool
    assert isinstance(pool, ProxyProtocolPool) and len(pool.pools) == 1
    assert talk.upstream().got == b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 10000\r\n"
    talk.client(b"hello")
    assert talk.upstream().got.endswith(b"\r\nhello")
    talk.client.resets()
    assert pool.pools == {}


def test_a_pool_that_gets_no_connection_is_forgotten() -> None:
    talk = RawTranscript(tcp_proxy("a"), a={"transport_socket": tells_hosts()}, outcome=REFUSED)
    pool = talk.parts.clusters.clusters["a"].hosts[0].tcp_pool
    assert isinstance(pool, ProxyProtocolPool) and pool.pools == {}
    limits = {"circuit_breakers": {"thresholds": [{"max_pending_requests": 0}]}}
    talk = RawTranscript(tcp_proxy("a"), a={"transport_socket": tells_hosts(), **limits})
    pool = talk.parts.clusters.clusters["a"].hosts[0].tcp_pool
    assert isinstance(pool, ProxyProtocolPool) and pool.pools == {}


def test_requests_of_a_client_share_its_connection() -> None:
    talk = Transcript(a={"transport_socket": tells_hosts(version="V1")})
    for _ in range(2):
        talk.client(GET)
        assert talk.upstream().got.startswith(b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 10000\r\nGET / ")
        talk.upstream().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert talk.upstreams == 1 and len(talk.client.responses()) == 2
