"""What a handshake agrees on, and what is told of it: ciphers, groups, signature algorithms. What holds for us holds for
Envoy, but for one order of TLS 1.3 (docs/differences.md, tls-choice).
"""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

import pytest
from cryptography import x509

from proxy.network.openssl import OpenSsl, reach
from tests.integration.test_tls import (
    CA,
    CLIENT,
    SERVER,
    Connection,
    client_context,
    downstream_tls,
    get,
    plain_get,
    running,
    secured,
    two_hops,
    upstream_tls,
)
from tests.support.certs import Pair
from tests.support.config import Config, cluster, file_log, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream

Kind = type[Outrider] | type[Envoy]
AES_128, AES_256 = "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"
CHACHA = "TLS_CHACHA20_POLY1305_SHA256"
EC = "ECDHE-ECDSA-"
OLD_AES_128, OLD_AES_256 = f"{EC}AES128-GCM-SHA256", f"{EC}AES256-GCM-SHA384"
OLD_CHACHA = f"{EC}CHACHA20-POLY1305"


@pytest.fixture
def openssl() -> OpenSsl:
    found = reach()
    if found is None:
        pytest.skip("this Python's OpenSSL cannot be told what to offer")
    return found


def offering(openssl: OpenSsl, **what: str) -> ssl.SSLContext:
    """suites: of TLS 1.3; ciphers: then it is TLS 1.2; groups, signatures"""
    context = client_context()
    if "ciphers" in what:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(what["ciphers"])
    if "suites" in what:
        assert openssl.set_ciphersuites(context, what["suites"])
    if "groups" in what:
        assert openssl.set_groups(context, what["groups"])
    if "signatures" in what:
        assert openssl.set_signatures(context, what["signatures"])
    return context


def agreed(port: int, context: ssl.SSLContext) -> str:
    """The cipher, or why there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        try:
            with context.wrap_socket(raw, server_hostname="front.example") as secure:
                return (secure.cipher() or ("",))[0]
        except ssl.SSLError as error:
            return str(error.reason)


NO = "SSLV3_ALERT_HANDSHAKE_FAILURE"
#: what the client offers, what Envoy takes, and what we take where that is something else
CHOICES: list[tuple[dict[str, str], str, str]] = [
    ({"suites": f"{AES_128}:{AES_256}:{CHACHA}"}, AES_128, ""),
    ({"suites": f"{AES_256}:{CHACHA}:{AES_128}"}, AES_256, AES_128),
    ({"suites": f"{CHACHA}:{AES_128}:{AES_256}"}, CHACHA, ""),
    ({"suites": f"{CHACHA}:{AES_256}"}, CHACHA, ""),
    ({"suites": f"{AES_256}:{CHACHA}"}, AES_256, ""),
    ({"suites": AES_256}, AES_256, ""),
    ({"suites": "TLS_AES_128_CCM_SHA256"}, NO, ""),
    ({"ciphers": f"{OLD_AES_128}:{OLD_CHACHA}:{OLD_AES_256}"}, OLD_AES_128, ""),
    ({"ciphers": f"{OLD_AES_256}:{OLD_AES_128}:{OLD_CHACHA}"}, OLD_AES_128, ""),
    ({"ciphers": f"{OLD_CHACHA}:{OLD_AES_128}:{OLD_AES_256}"}, OLD_CHACHA, ""),
    ({"ciphers": f"{OLD_AES_256}:{OLD_CHACHA}:{OLD_AES_128}"}, OLD_CHACHA, OLD_AES_128),
    ({"groups": "X25519", "suites": AES_128}, AES_128, ""),
    ({"groups": "P-256", "suites": AES_128}, AES_128, ""),
    ({"groups": "P-384:P-256", "suites": AES_128}, AES_128, ""),  # at the second try
    ({"groups": "P-384", "suites": AES_128}, NO, ""),
    ({"groups": "P-521:X448:ffdhe8192", "suites": AES_128}, NO, ""),
    ({"signatures": "ECDSA+SHA256", "suites": AES_128}, AES_128, ""),
    ({"signatures": "RSA-PSS+SHA256", "suites": AES_128}, NO, ""),
]


def test_what_a_client_gets(upstream: Upstream, kind: Kind, openssl: OpenSsl) -> None:
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    with running([listener], [cluster("up", upstream.port)], kind):
        got = [agreed(port, offering(openssl, **offer)) for offer, _, _ in CHOICES]
    expected = [ours if ours and kind is Outrider else envoys for _, envoys, ours in CHOICES]
    assert dict(enumerate(got)) == dict(enumerate(expected))


@pytest.mark.parametrize(
    ("params", "more", "offer", "result"),
    [
        ({"ecdh_curves": ["P-384", "x25519"]}, {}, {"groups": "P-384"}, True),
        ({"ecdh_curves": ["P-384", "x25519"]}, {}, {"groups": "X25519"}, True),
        ({"ecdh_curves": ["P-384", "x25519"]}, {}, {"groups": "P-256"}, False),
        ({"ecdh_curves": ["prime256v1"]}, {}, {"groups": "P-256"}, True),
        ({"ecdh_curves": ["prime256v1"]}, {}, {"groups": "X25519"}, False),
        (
            {"signature_algorithms": ["ecdsa_secp256r1_sha256"]},
            {},
            {"signatures": "ECDSA+SHA256"},
            True,
        ),
        ({"signature_algorithms": ["rsa_pss_rsae_sha256"]}, {}, {"signatures": "ECDSA+SHA256"}, False),
        (
            {"cipher_suites": [OLD_AES_128, OLD_CHACHA], "tls_maximum_protocol_version": "TLSv1_2"},
            {},
            {"ciphers": f"{OLD_CHACHA}:{OLD_AES_128}"},
            OLD_AES_128,
        ),
        (
            {
                "cipher_suites": [f"[{OLD_AES_128}|{OLD_CHACHA}]"],
                "tls_maximum_protocol_version": "TLSv1_2",
            },
            {},
            {"ciphers": f"{OLD_CHACHA}:{OLD_AES_128}"},
            OLD_CHACHA,
        ),
        (
            {
                "cipher_suites": [OLD_AES_128, OLD_AES_256],
                "tls_maximum_protocol_version": "TLSv1_2",
            },
            {"prefer_client_ciphers": True},
            {"ciphers": f"{OLD_AES_256}:{OLD_AES_128}"},
            OLD_AES_256,
        ),
        ({}, {"prefer_client_ciphers": True}, {"suites": f"{AES_256}:{AES_128}"}, AES_256),
    ],
)
def test_what_is_configured(
    upstream: Upstream,
    kind: Kind,
    openssl: OpenSsl,
    params: Config,
    more: Config,
    offer: dict[str, str],
    result: bool | str,
) -> None:
    """result: the cipher, or whether there is one at all."""
    port = free_port()
    context = downstream_tls(SERVER, common={"tls_params": params}, **more)
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), context)
    with running([listener], [cluster("up", upstream.port)], kind):
        got = agreed(port, offering(openssl, **offer))
    assert got == result if isinstance(result, str) else ("ALERT" not in got) is result, got


def test_what_is_told_of_it(upstream: Upstream, tmp_path: Path, kind: Kind, openssl: OpenSsl) -> None:
    """Two hops over mutual TLS: statistics of both ends, operators, and until when certificates are good."""
    log = tmp_path / "choice.log"
    hcm = {"access_log": [file_log(str(log), "%DOWNSTREAM_TLS_GROUP%\n")]}
    params = {"tls_maximum_protocol_version": "TLSv1_3", "ecdh_curves": ["P-256"]}
    near = upstream_tls(CA.pem, CLIENT, sni="front.example", common={"tls_params": params})
    far = downstream_tls(SERVER, roots=CA.pem)
    listeners, clusters, port = two_hops(upstream, tmp_path, near, far, hcm)
    first = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    first["access_log"] = [file_log(str(log), "%UPSTREAM_TLS_GROUP% %DOWNSTREAM_TLS_GROUP%\n")]
    with running(listeners, clusters, kind) as proxy:
        assert plain_get(port, {})[0] == 200
        stats = proxy.stats()
        far_port = int(listeners[1]["address"]["socket_address"]["port_value"])
    root = x509.load_pem_x509_certificate(CA.pem.encode())
    for scope in ("cluster.inner.ssl", f"listener.127.0.0.1_{far_port}.ssl"):
        assert stats[f"{scope}.curves.P-256"] == 1
        assert stats[f"{scope}.sigalgs.ecdsa_secp256r1_sha256"] == 1
        gauges = f"{scope}.certificate.unnamed_{{}}_e3b0c442.expiration_unix_time_seconds"
        pair = CLIENT if scope.startswith("cluster") else SERVER
        assert stats[gauges.format("cert")] == int(pair.parsed.not_valid_after_utc.timestamp())
        assert stats[gauges.format("ca_cert")] == int(root.not_valid_after_utc.timestamp())
    assert sorted(log.read_text().splitlines()) == ["P-256", "P-256 -"]


def test_a_client_without_a_certificate_has_signed_nothing(upstream: Upstream, kind: Kind) -> None:
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    with running([listener], [cluster("up", upstream.port)], kind) as proxy:
        connection = Connection(port, client_context())
        assert get(connection)[0] == 200
        connection.close()
        stats = proxy.stats()
    scope = f"listener.127.0.0.1_{port}.ssl."
    seen = sorted(name.removeprefix(scope) for name in stats if name.startswith(scope) and stats[name] == 1)
    assert [name for name in seen if name.startswith(("curves", "sigalgs", "versions"))] == [
        "curves.X25519",
        "versions.TLSv1.3",
    ]


def test_what_a_client_signed_when_its_session_began(
    upstream: Upstream, tmp_path: Path, kind: Kind, openssl: OpenSsl
) -> None:
    """Envoy counts it again with each resumed session, in which nobody signs (docs/differences.md,
    tls-what-is-not-told)."""
    near = upstream_tls(CA.pem, CLIENT, sni="front.example")
    listeners, clusters, port = two_hops(upstream, tmp_path, near, downstream_tls(SERVER, roots=CA.pem))
    clusters[0]["max_requests_per_connection"] = 1
    far_port = int(listeners[1]["address"]["socket_address"]["port_value"])
    with running(listeners, clusters, kind) as proxy:
        for _ in range(2):
            assert plain_get(port, {})[0] == 200
        stats = proxy.stats()
    for scope in ("cluster.inner.ssl", f"listener.127.0.0.1_{far_port}.ssl"):
        assert (stats[f"{scope}.handshake"], stats[f"{scope}.session_reused"]) == (2, 1)
        assert stats[f"{scope}.curves.X25519"] == 2
        assert stats[f"{scope}.sigalgs.ecdsa_secp256r1_sha256"] == (1 if kind is Outrider else 2)


@pytest.mark.parametrize(("count", "is_too_long"), [(10, False), (150, True)])
def test_a_chain_that_is_too_long(
    upstream: Upstream, tmp_path: Path, kind: Kind, openssl: OpenSsl, count: int, is_too_long: bool
) -> None:
    """A believed certificate with more beside it than anybody needs: 3 KB, and 47."""
    port = free_port()
    listener = secured(
        http_listener(port, [virtual_host([route_to("up")])]),
        downstream_tls(SERVER, roots=CA.pem, require_client_certificate=True),
    )
    crowd = Pair(CLIENT.certificate + CA.pem * count, CLIENT.key)
    with running([listener], [cluster("up", upstream.port)], kind) as proxy:
        connection = Connection(port, client_context(crowd, tmp_path))
        if is_too_long:
            with pytest.raises((OSError, HTTPException)):
                get(connection)
            proxy.wait_for_stat(f"listener.127.0.0.1_{port}.ssl.connection_error", 1)
        else:
            assert get(connection)[0] == 200
        connection.close()


@pytest.mark.parametrize(("size", "is_too_long"), [(16_384, False), (16_385, True), (130_000, True)])
@pytest.mark.parametrize("piece", [1, 9])
def test_a_hello_that_is_too_long(
    upstream: Upstream, kind: Kind, size: int, is_too_long: bool, piece: int
) -> None:
    """It is enough to say it: no more of it comes."""
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    hello = b"\x16\3\1\0\4\1" + size.to_bytes(3)
    scope = f"listener.127.0.0.1_{port}.ssl"
    with (
        running([listener], [cluster("up", upstream.port)], kind) as proxy,
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        for at in range(0, len(hello), piece):
            client.sendall(hello[at : at + piece])
        if is_too_long:
            while client.recv(100):  # an alert, if any
                pass
            proxy.wait_for_stat(f"{scope}.connection_error", 1)
        else:
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(100)


def offered(connection: socket.socket) -> tuple[list[int], list[int]]:
    """The suites and the groups of a ClientHello (RFC 8446 4.1.2) in one record."""
    file = connection.makefile("rb")
    hello = BytesIO(file.read(int.from_bytes(file.read(5)[3:])))

    def vector(size: int, data: BytesIO = hello) -> bytes:
        return data.read(int.from_bytes(data.read(size)))

    def numbers(data: bytes) -> list[int]:
        return [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]

    hello.read(4 + 2 + 32)  # type and length, version, random
    vector(1)  # session id
    suites = numbers(vector(2))
    vector(1)  # compression
    extensions = BytesIO(vector(2))
    while kind := extensions.read(2):
        body = BytesIO(vector(2, extensions))
        if int.from_bytes(kind) == 10:  # supported_groups
            return suites, numbers(vector(2, body))
    return suites, []


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_what_hosts_are_offered(kind: Kind, openssl: OpenSsl, version: str) -> None:
    """The same suites and groups in the same order. Envoy's post-quantum group needs OpenSSL 3.5."""
    params = {"tls_maximum_protocol_version": version}
    with socket.create_server(("127.0.0.1", 0)) as host:
        up = cluster("up", host.getsockname()[1])
        up["transport_socket"] = upstream_tls(common={"tls_params": params})
        port = free_port()
        listener = http_listener(port, [virtual_host([route_to("up")])])
        with running([listener], [up], kind), socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            host.settimeout(10)
            connection, _ = host.accept()
            with connection:
                suites, groups = offered(connection)
    new = [0x1301, 0x1302, 0x1303] if version == "TLSv1_3" else []
    renegotiation = 0x00FF  # OpenSSL says it here, BoringSSL by an extension
    assert [each for each in suites if each != renegotiation] == [
        *new,
        *(0xC02B, 0xCCA9, 0xC02F, 0xCCA8, 0xC02C, 0xC030),
    ]
    assert [each for each in groups if each != 0x11EC] == [0x001D, 0x0017]
