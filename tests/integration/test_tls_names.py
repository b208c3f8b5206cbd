"""Whom TLS connections are for and who answers them: names taken from requests, pins, revoked certificates, several
certificates, sockets by metadata, sessions, and what is told of clients. What holds for us holds for Envoy.
"""

from __future__ import annotations

import hashlib
import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.network.openssl import reach
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
from tests.support.certs import Authority, Pair
from tests.support.client import Client, request
from tests.support.config import TYPES, Config, cluster, file_log, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream
from tests.support.wait import until

Kind = type[Outrider] | type[Envoy]
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
A = CA.signs("a", dns=("a.example",))
B = CA.signs("b", dns=("b.example", "*.b.example"))
LOG = "%REQUESTED_SERVER_NAME%|%DOWNSTREAM_LOCAL_SUBJECT%\n"


def named(http2: bool = False, **names: Any) -> Config:
    """Protocol options with upstream_http_protocol_options."""
    codec = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    typed = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": codec,
        "upstream_http_protocol_options": names,
    }
    return {"typed_extension_protocol_options": {OPTIONS: typed}}


class Hops:
    """Plain listener → cluster over TLS ("inner") → TLS listener with certificates for a.example and b.example."""

    def __init__(self, upstream: Upstream, folder: Path, near: Config, **inner: Any) -> None:
        self.log = folder / "names.log"
        hcm = {"access_log": [file_log(str(self.log), LOG)], "codec_type": "AUTO"}
        listeners, clusters, self.port = two_hops(upstream, folder, near, downstream_tls(A, B), hcm)
        clusters[0].update(inner)
        typed = {"@type": f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"}
        listeners[1]["listener_filters"] = [{"name": "tls", "typed_config": typed}]
        self.listeners, self.clusters = listeners, clusters

    def asks(self, host: str, *headers: tuple[str, str]) -> int:
        """One request; the status."""
        with Client(self.port) as client:
            return client.send(request("GET", "/", list(headers), host=host)).read().status

    def names(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_auto_sni(upstream: Upstream, tmp_path: Path, kind: Kind, http2: bool) -> None:
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem, sni="b.example"), **named(http2, auto_sni=True))
    with running(hops.listeners, hops.clusters, kind) as proxy:
        for host in ("a.example", "A.example:8080", "x.b.example", "127.0.0.1:80", "a.example"):
            assert hops.asks(host) == 200
        assert proxy.stats()["cluster.inner.upstream_cx_total"] == 3, "one for each name"
    assert hops.names() == [
        "a.example|CN=a",
        "a.example|CN=a",
        "x.b.example|CN=b",
        "b.example|CN=b",
        "a.example|CN=a",
    ]


def test_auto_sni_by_a_header_and_checked(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    names = named(auto_sni=True, auto_san_validation=True, override_auto_sni_header="X-Name")
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem), **names)
    with running(hops.listeners, hops.clusters, kind) as proxy:
        assert hops.asks("nowhere.example", ("x-name", "a.example")) == 200
        assert hops.asks("y.b.example") == 200
        assert hops.asks("nowhere.example") == 503
        assert proxy.stats()["cluster.inner.ssl.fail_verify_san"] == 1
    assert hops.names() == ["a.example|CN=a", "y.b.example|CN=b"]


def ends_tunnels(hops: Hops) -> None:
    """CONNECT ends at the near listener, and its bytes go to the host over TLS."""
    ends = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    route = {"match": {"connect_matcher": {}}, "route": {"cluster": "inner", "upgrade_configs": ends}}
    hcm = hops.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    hcm["route_config"]["virtual_hosts"] = [virtual_host([route])]
    hcm["upgrade_configs"] = [{"upgrade_type": "CONNECT"}]


def test_names_of_tunnels_that_end_here(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    """They are asked for, and the host's certificate is checked against them."""
    names = named(auto_sni=True, auto_san_validation=True)
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem), **names)
    ends_tunnels(hops)
    with running(hops.listeners, hops.clusters, kind) as proxy:
        for name, status in (("a.example", 200), ("z.b.example", 200), ("nowhere.example", 503)):
            with Client(hops.port) as client:
                client.send(
                    b"CONNECT %b:443 HTTP/1.1\r\nhost: %b:443\r\n\r\n" % (name.encode(), name.encode())
                )
                assert client.read(head_only=True).status == status, name
                if status == 200:
                    assert client.send(request("GET", "/")).read().status == 200
        assert proxy.stats()["cluster.inner.ssl.fail_verify_san"] == 1
    assert hops.names() == ["a.example|CN=a", "z.b.example|CN=b"]


def with_hostname(clusters: list[Config], name: str) -> None:
    endpoint = clusters[0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["hostname"] = name


@pytest.mark.parametrize(("name", "status"), [("b.example", 200), ("c.example", 503)])
def test_auto_host_sni_and_its_check(
    upstream: Upstream, tmp_path: Path, kind: Kind, name: str, status: int
) -> None:
    wrong = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "z.example"}}]}
    near = upstream_tls(CA.pem, validation=wrong, auto_host_sni=True, auto_sni_san_validation=True)
    hops = Hops(upstream, tmp_path, near)
    with_hostname(hops.clusters, name)
    with running(hops.listeners, hops.clusters, kind) as proxy:
        assert hops.asks("whatever") == status
        assert proxy.stats()["cluster.inner.ssl.fail_verify_san"] == (status != 200)


#: what certificates call hosts, and those that an exact matcher of "Foo.example" takes
SHOWN = ["FOO.example", "*.example", "f*o.example", "foo*.example", "**.example", "foo.*", "bar.example"]
TAKEN = ["FOO.example", "*.example", "f*o.example", "foo*.example"]


@pytest.mark.parametrize("typed", [True, False], ids=["typed", "older"])
def test_an_exact_dns_name_in_any_case_and_wildcards(upstream: Upstream, kind: Kind, typed: bool) -> None:
    exact = {"exact": "Foo.example"}
    matchers = {"match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": exact}]}
    near = upstream_tls(CA.pem, validation=matchers if typed else {"match_subject_alt_names": [exact]})
    front = free_port()
    routes, clusters, listeners = [], [cluster("up", upstream.port)], []
    for index, name in enumerate(SHOWN):
        port = free_port()
        far = http_listener(port, [virtual_host([route_to("up")])], stat_prefix=f"far-{index}")
        protocols = {"alpn_protocols": ["h2,http/1.1"]}
        far = secured(far, downstream_tls(CA.signs("host", dns=(name,)), common=protocols))
        listeners.append(far | {"name": f"far-{index}"})
        clusters.append(cluster(f"far-{index}", port, transport_socket=near))
        routes.append({"match": {"path": f"/{index}"}, "route": {"cluster": f"far-{index}"}})
    listeners.append(http_listener(front, [virtual_host(routes)]) | {"name": "front"})
    with running(listeners, clusters, kind):
        with Client(front) as client:
            taken = [
                name
                for index, name in enumerate(SHOWN)
                if client.send(request("GET", f"/{index}")).read().status == 200
            ]
        assert taken == TAKEN
        context = client_context()
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        connection = Connection(port, context)
        connection.connect()
        assert connection.sock.selected_alpn_protocol() == "h2", "one text of several names"
        connection.close()


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate)


def spki(pair: Pair) -> str:
    key = pair.parsed.public_key()
    raw = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return b64encode(hashlib.sha256(raw).digest()).decode()


def colons(digest: str) -> str:
    return ":".join(digest[at : at + 2].upper() for at in range(0, len(digest), 2))


RIGHT = hashlib.sha256(der(A)).hexdigest()
WRONG = hashlib.sha256(der(CLIENT)).hexdigest()


@pytest.mark.parametrize(
    ("pins", "status"),
    [
        ({"verify_certificate_hash": [RIGHT]}, 200),
        ({"verify_certificate_hash": [WRONG, colons(RIGHT)]}, 200),
        ({"verify_certificate_hash": [WRONG]}, 503),
        ({"verify_certificate_spki": [spki(A)]}, 200),
        ({"verify_certificate_spki": [spki(CLIENT)]}, 503),
        ({"verify_certificate_spki": [spki(CLIENT)], "verify_certificate_hash": [RIGHT]}, 200),
    ],
)
def test_pins_of_a_host(upstream: Upstream, tmp_path: Path, kind: Kind, pins: Config, status: int) -> None:
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem, validation=pins, sni="a.example"))
    with running(hops.listeners, hops.clusters, kind) as proxy:
        assert hops.asks("a") == status
        assert proxy.stats()["cluster.inner.ssl.fail_verify_cert_hash"] == (status != 200)


@pytest.mark.parametrize(("pair", "good"), [(CLIENT, True), (SERVER, False)])
def test_pins_of_clients(upstream: Upstream, tmp_path: Path, kind: Kind, pair: Pair, good: bool) -> None:
    pins = {"verify_certificate_spki": [spki(CLIENT)]}
    far = downstream_tls(SERVER, roots=CA.pem, validation=pins, require_client_certificate=True)
    listeners, clusters, port = two_hops(
        upstream, tmp_path, upstream_tls(CA.pem, pair, sni="front.example"), far
    )
    with running(listeners, clusters, kind):
        assert plain_get(port)[0] == (200 if good else 503)


def revoking(authority: Authority, *pairs: Pair) -> str:
    """The authority's list of revoked certificates, PEM."""
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority._name)
    builder = builder.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1))
    for pair in pairs:
        revoked = x509.RevokedCertificateBuilder().serial_number(pair.parsed.serial_number)
        builder = builder.add_revoked_certificate(revoked.revocation_date(now - timedelta(hours=1)).build())
    return builder.sign(authority._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("leaf_only", [False, True])
@pytest.mark.parametrize(("pairs", "status"), [((), 200), ((A,), 503), ((B,), 200)])
def test_revoked_hosts(
    upstream: Upstream, tmp_path: Path, kind: Kind, pairs: tuple[Pair, ...], status: int, leaf_only: bool
) -> None:
    crl = {"crl": {"inline_string": revoking(CA, *pairs)}, "only_verify_leaf_cert_crl": leaf_only}
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem, validation=crl, sni="a.example"))
    with running(hops.listeners, hops.clusters, kind) as proxy:
        assert hops.asks("a") == status
        assert proxy.stats()["cluster.inner.ssl.fail_verify_error"] == (status != 200)


def test_several_certificates_of_one_listener(upstream: Upstream, kind: Kind) -> None:
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(A, B))
    with running([listener], [cluster("up", upstream.port)], kind):
        for name, subject in (
            ("a.example", "a"),
            ("b.example", "b"),
            ("deep.b.example", "b"),
            ("c.example", "a"),
        ):
            context = client_context()
            context.check_hostname = False
            connection = Connection(port, context, name)
            assert get(connection)[0] == 200
            shown = connection.sock.getpeercert()
            assert shown is not None
            assert shown["subject"] == ((("commonName", subject),),), name
            connection.close()


ELLIPTIC, OF_RSA = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL tells nobody which of them it has shown")
def test_certificates_for_those_who_know_elliptic_keys_and_those_who_do_not(
    tmp_path: Path, kind: Kind
) -> None:
    """(the name asked for, the ciphers of TLS 1.2 or "" for 1.3, the certificate that is shown)"""
    key = rsa.generate_private_key(65537, 2048)
    both = (
        CA.signs("rsa", dns=("both.example", "rsa.example"), key=key),
        CA.signs("ec", dns=("both.example",)),
    )
    other, common = CA.signs("ec2", dns=("ec.example",)), CA.signs("common.example")
    expected = [
        ("both.example", "", "ec"),
        ("both.example", ELLIPTIC, "ec"),
        ("both.example", OF_RSA, "rsa"),
        ("rsa.example", "", "rsa"),
        ("ec.example", "", "ec2"),
        ("ec.example", OF_RSA, "rsa"),
        ("common.example", "", "common.example"),
        ("nobody.example", "", "rsa"),
        (None, "", "ec"),
        (None, OF_RSA, "rsa"),
    ]
    port, log = free_port(), tmp_path / "log"
    routes = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    hcm = {"access_log": [file_log(str(log), "%DOWNSTREAM_LOCAL_SUBJECT%\n")]}
    listener = http_listener(port, [virtual_host(routes)], hcm=hcm)
    with running([secured(listener, downstream_tls(*both, other, common))], [], kind):
        shown = []
        for name, ciphers, _ in expected:
            context = client_context()
            context.check_hostname = False
            if ciphers:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers(ciphers)
            connection = Connection(port, context, name or "")
            connection.name = name  # type: ignore[assignment]
            assert get(connection)[0] == 200
            certificate: Any = connection.sock.getpeercert()
            shown.append((name, ciphers, certificate["subject"][0][0][1]))
            connection.close()
        assert shown == expected
        until(lambda: len(log.read_text().splitlines()) == len(expected), "the log")
    assert log.read_text().splitlines() == [f"CN={subject}" for _, _, subject in expected]


def test_sockets_by_the_metadata_of_hosts(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    """One host in plain text, one over TLS, one over TLS with another name; by turns."""
    hops = Hops(upstream, tmp_path, upstream_tls(CA.pem, sni="b.example"))
    inner = hops.clusters[0]
    tls_port = hops.listeners[1]["address"]["socket_address"]["port_value"]
    matches = [
        {"name": "in-a", "match": {"mode": "a"}, "transport_socket": upstream_tls(CA.pem, sni="a.example")},
        {"name": "plain", "match": {"mode": "plain"}, "transport_socket": plain()},
    ]
    inner["transport_socket_matches"] = matches
    hosts = []
    for mode, at in (("a", tls_port), ("plain", upstream.port), ("other", tls_port)):
        host: Config = cluster("x", at)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
        host["metadata"] = {"filter_metadata": {"envoy.transport_socket_match": {"mode": mode}}}
        hosts.append(host)
    inner["load_assignment"]["endpoints"][0]["lb_endpoints"] = hosts
    with running(hops.listeners, hops.clusters, kind) as proxy:
        for _ in range(3):
            assert hops.asks("whatever") == 200
        assert len(upstream.requests) == 3
        stats = proxy.stats()
        assert stats["cluster.inner.ssl.handshake"] == 2
        assert stats["cluster.inner.in-a.total_match_count"] == 1
        assert stats["cluster.inner.plain.total_match_count"] == 1
    assert sorted(hops.names()) == ["a.example|CN=a", "b.example|CN=b"]


def plain() -> Config:
    typed = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}
    return {"name": "envoy.transport_sockets.raw_buffer", "typed_config": typed}


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("keeps", [True, False])
def test_sessions_towards_hosts(
    upstream: Upstream, tmp_path: Path, kind: Kind, version: str, keeps: bool
) -> None:
    """Each request has a connection of its own; all but the first resume the session."""
    params = {"tls_maximum_protocol_version": version, "tls_minimum_protocol_version": version}
    near = upstream_tls(
        CA.pem, sni="a.example", common={"tls_params": params}, **({} if keeps else {"max_session_keys": 0})
    )
    hops = Hops(upstream, tmp_path, near, max_requests_per_connection=1)
    with running(hops.listeners, hops.clusters, kind) as proxy:
        for _ in range(3):
            assert hops.asks("a") == 200
        stats = proxy.stats()
        assert stats["cluster.inner.ssl.handshake"] == 3
        assert stats["cluster.inner.ssl.session_reused"] == (2 if keeps else 0)
        far = next(name for name in stats if name.endswith(".ssl.session_reused") and "listener" in name)
        assert stats[far] == (2 if keeps else 0)


@pytest.mark.parametrize(
    ("mode", "came", "expected", "mutual"),
    [
        ("SANITIZE", "By=x", None, True),
        ("FORWARD_ONLY", "By=x", "By=x", True),
        ("FORWARD_ONLY", None, None, True),
        ("FORWARD_ONLY", "By=x", None, False),
        ("APPEND_FORWARD", "By=x", "By=x,{own}", True),
        ("APPEND_FORWARD", None, "{own}", True),
        ("SANITIZE_SET", "By=x", "{own}", True),
        ("SANITIZE_SET", "By=x", None, False),
        ("ALWAYS_FORWARD_ONLY", "By=x", "By=x", True),
        ("ALWAYS_FORWARD_ONLY", "By=x", "By=x", False),
    ],
)
def test_what_is_told_of_a_client(
    upstream: Upstream,
    tmp_path: Path,
    kind: Kind,
    mode: str,
    came: str | None,
    expected: str | None,
    mutual: bool,
) -> None:
    """forward_client_cert_details: what came is only believed of clients with a certificate, or where always is."""
    hcm = {"forward_client_cert_details": mode, "set_current_client_cert_details": {"uri": True}}
    far = downstream_tls(SERVER, roots=CA.pem if mutual else "")
    near = upstream_tls(CA.pem, CLIENT if mutual else None, sni="front.example")
    listeners, clusters, port = two_hops(upstream, tmp_path, near, far, hcm)
    first = listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]
    first["forward_client_cert_details"] = "ALWAYS_FORWARD_ONLY"
    with running(listeners, clusters, kind):
        assert plain_get(port, {"x-forwarded-client-cert": came} if came is not None else {})[0] == 200
    digest = hashlib.sha256(der(CLIENT)).hexdigest()
    own = f"By=spiffe://mesh/ns/a/sa/front;Hash={digest};URI=spiffe://mesh/ns/a/sa/client"
    told = upstream.requests[0].one("x-forwarded-client-cert")
    assert told == (expected.format(own=own) if expected is not None else None)
