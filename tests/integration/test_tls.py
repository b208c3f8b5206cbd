"""TLS on both sides of a real process: one listener secured, a cluster that leads to another secured one of the same."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.main import main
from tests.support.certs import Authority, Pair
from tests.support.config import (
    TYPES,
    Config,
    address,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
)
from tests.support.envoy import Envoy
from tests.support.h2_client import H2Client
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

CA = Authority()
OTHER_CA = Authority("Another CA")
SERVER = CA.signs("server", dns=("front.example", "*.wild.example"), uri=("spiffe://mesh/ns/a/sa/front",))
SECOND = CA.signs("second", dns=("second.example",))
CLIENT = CA.signs(
    "client", dns=("client.example",), uri=("spiffe://mesh/ns/a/sa/client",), organization_name="Acme"
)
EXPIRED = CA.signs("old", dns=("front.example",), days=(-3, -1))
TLS = f"{TYPES}.transport_sockets.tls.v3"


def downstream_tls(*pairs: Pair, roots: str = "", **more: Any) -> Config:
    common: Config = {"tls_certificates": [pair.config() for pair in pairs], **more.pop("common", {})}
    if roots:
        common["validation_context"] = {"trusted_ca": {"inline_string": roots}, **more.pop("validation", {})}
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def upstream_tls(roots: str = "", pair: Pair | None = None, **more: Any) -> Config:
    common: Config = dict(more.pop("common", {}))
    if pair is not None:
        common["tls_certificates"] = [pair.config()]
    if roots:
        common["validation_context"] = {"trusted_ca": {"inline_string": roots}, **more.pop("validation", {})}
    typed = {"@type": f"{TLS}.UpstreamTlsContext", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def secured(listener: Config, transport_socket: Config) -> Config:
    listener["filter_chains"][0]["transport_socket"] = transport_socket
    return listener


def client_context(pair: Pair | None = None, folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=CA.pem)
    if pair is not None and folder is not None:
        context.load_cert_chain(*pair.write(folder, "client"))
    return context


class Connection(http.client.HTTPSConnection):
    """To a port of this machine, by another name."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "front.example") -> None:
        super().__init__("127.0.0.1", port, context=context, timeout=10)
        self.name = name
        self.secure = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self.secure.wrap_socket(self.sock, server_hostname=self.name)


def get(connection: Connection, path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.read()


@contextmanager
def running(
    listeners: list[Config], clusters: list[Config], kind: type[Outrider] | type[Envoy] = Outrider
) -> Iterator[Outrider | Envoy]:
    admin = free_port()
    with kind(bootstrap(admin, listeners, clusters)) as proxy:
        yield proxy


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream([reply(200, b"from the upstream")]) as made:
        yield made


def test_https_and_keep_alive(upstream: Upstream) -> None:
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    with running([listener], [cluster("up", upstream.port)]) as proxy:
        connection = Connection(port, client_context())
        for _ in range(3):
            assert get(connection) == (200, b"from the upstream")
        assert connection.sock.version() == "TLSv1.3"
        assert upstream.requests[0].one("x-forwarded-proto") == "https"
        stats = proxy.stats()
        scope = f"listener.127.0.0.1_{port}.ssl"
        assert (stats[f"{scope}.handshake"], stats[f"{scope}.no_certificate"]) == (1, 1)
        assert stats[f"{scope}.versions.TLSv1.3"] == 1
        assert (
            stats["http.front.downstream_cx_ssl_total"] == stats["http.front.downstream_cx_ssl_active"] == 1
        )
        connection.close()
        # the next one resumes the session
        again = client_context()
        first = Connection(port, again)
        get(first)
        session = first.sock.session
        first.close()
        second = Connection(port, again)
        http.client.HTTPConnection.connect(second)
        second.sock = again.wrap_socket(second.sock, server_hostname="front.example", session=session)
        assert get(second)[0] == 200
        assert second.sock.session_reused
        assert proxy.stats()[f"{scope}.session_reused"] == 1
        second.close()


@pytest.mark.parametrize("codec_type", ["AUTO", "HTTP2"])
def test_http2(upstream: Upstream, kind: type[Outrider] | type[Envoy], codec_type: str) -> None:
    port = free_port()
    plain = http_listener(port, [virtual_host([route_to("up")])], hcm={"codec_type": codec_type})
    listener = secured(plain, downstream_tls(SERVER, common={"alpn_protocols": ["h2", "http/1.1"]}))
    context = client_context()
    context.set_alpn_protocols(["h2"])
    with running([listener], [cluster("up", upstream.port)], kind) as proxy:
        with H2Client(
            port, secure=lambda sock: context.wrap_socket(sock, server_hostname="front.example")
        ) as client:
            response = client.get("/")
            assert (response.status, response.body) == (200, b"from the upstream")
            assert upstream.requests[0].one("x-forwarded-proto") == "https"
            assert proxy.stats()["http.front.downstream_cx_http2_active"] == 1
            assert proxy.stats()["http.front.downstream_cx_ssl_active"] == 1


def test_large_bodies_pass_whole(upstream: Upstream) -> None:
    body = bytes(range(256)) * 8192  # 2 MiB
    upstream.reset([reply(200, body)])
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    with running([listener], [cluster("up", upstream.port)]):
        connection = Connection(port, client_context())
        connection.request("POST", "/", body=body)
        assert connection.getresponse().read() == body
        assert upstream.requests[0].body == body
        connection.close()


def test_plain_text_and_garbage_to_a_tls_listener(upstream: Upstream) -> None:
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER))
    with running([listener], [cluster("up", upstream.port)]) as proxy:
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        plain.request("GET", "/")
        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            plain.getresponse()
        plain.close()
        assert proxy.stats()[f"listener.127.0.0.1_{port}.ssl.connection_error"] == 1
        connection = Connection(port, client_context())
        assert get(connection)[0] == 200
        connection.close()


def two_hops(
    upstream: Upstream, tmp_path: Path, near: Config, far: Config, hcm: Config | None = None
) -> tuple[list[Config], list[Config], int]:
    """Plain listener → cluster over TLS → TLS listener → upstream."""
    port, inner = free_port(), free_port()
    log = {
        "access_log": [
            file_log(
                str(tmp_path / "far.log"),
                "%DOWNSTREAM_PEER_SUBJECT%|%DOWNSTREAM_PEER_URI_SAN%|%DOWNSTREAM_TLS_VERSION%|"
                "%DOWNSTREAM_PEER_FINGERPRINT_256%|%DOWNSTREAM_LOCAL_URI_SAN%\n",
            )
        ]
    }
    first = http_listener(
        port,
        [virtual_host([route_to("inner")])],
        stat_prefix="near",
        hcm={
            "access_log": [
                file_log(
                    str(tmp_path / "near.log"),
                    "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_TLS_VERSION%\n",
                )
            ]
        },
    )
    second = http_listener(
        inner, [virtual_host([route_to("up")])], stat_prefix="far", hcm={**log, **(hcm or {})}
    )
    second = secured(second, far)
    return (
        [first, second],
        [cluster("inner", inner, transport_socket=near), cluster("up", upstream.port)],
        port,
    )


def plain_get(port: int, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/", headers=headers or {})
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


SPIFFE = {"match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}}]}


def test_mutual_tls_and_what_is_told_of_the_client(
    upstream: Upstream, tmp_path: Path, kind: type[Outrider] | type[Envoy]
) -> None:
    hcm = {
        "forward_client_cert_details": "APPEND_FORWARD",
        "set_current_client_cert_details": {"subject": True, "uri": True, "dns": True},
    }
    near = upstream_tls(CA.pem, CLIENT, validation=SPIFFE, sni="front.example")
    far = downstream_tls(SERVER, roots=CA.pem, validation=SPIFFE, require_client_certificate=True)
    listeners, clusters, port = two_hops(upstream, tmp_path, near, far, hcm)
    with running(listeners, clusters, kind) as proxy:
        assert plain_get(port) == (200, b"from the upstream")
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(CLIENT.certificate)).hexdigest()
        assert upstream.requests[0].one("x-forwarded-client-cert") == (
            f"By=spiffe://mesh/ns/a/sa/front;Hash={digest};"
            'Subject="CN=client,O=Acme";URI=spiffe://mesh/ns/a/sa/client;DNS=client.example'
        )
        stats = proxy.stats()
        assert stats["cluster.inner.ssl.handshake"] == 1
        assert stats["cluster.inner.ssl.versions.TLSv1.2"] == 1, "Envoy's clients do not speak 1.3 by default"
    assert (tmp_path / "far.log").read_text() == (
        f"CN=client,O=Acme|spiffe://mesh/ns/a/sa/client|TLSv1.2|{digest}|spiffe://mesh/ns/a/sa/front\n"
    )
    assert (tmp_path / "near.log").read_text() == "- - TLSv1.2\n"


@pytest.mark.parametrize(
    ("near", "counter"),
    [
        (upstream_tls(OTHER_CA.pem), "fail_verify_error"),
        (
            upstream_tls(
                CA.pem,
                validation={
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": "other.example"}}
                    ]
                },
            ),
            "fail_verify_san",
        ),
        (upstream_tls(CA.pem, validation={"verify_certificate_hash": ["00" * 32]}), "fail_verify_cert_hash"),
    ],
)
def test_an_upstream_that_is_not_believed(
    upstream: Upstream, tmp_path: Path, near: Config, counter: str, kind: type[Outrider] | type[Envoy]
) -> None:
    listeners, clusters, port = two_hops(upstream, tmp_path, near, downstream_tls(SERVER))
    with running(listeners, clusters, kind) as proxy:
        status, body = plain_get(port)
        assert status == 503
        assert b"remote connection failure" in body
        assert not upstream.requests
        assert proxy.stats()[f"cluster.inner.ssl.{counter}"] == 1
    flags, reason, version = (tmp_path / "near.log").read_text().split()
    assert (flags, version) == ("UF", "-")
    assert reason.startswith("TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED")


def test_clients_without_a_certificate_are_refused(upstream: Upstream, tmp_path: Path) -> None:
    port = free_port()
    far = downstream_tls(SERVER, roots=CA.pem, require_client_certificate=True)
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), far)
    with running([listener], [cluster("up", upstream.port)]) as proxy:
        connection = Connection(port, client_context())
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
            get(connection)
        connection.close()
        assert proxy.stats()[f"listener.127.0.0.1_{port}.ssl.fail_verify_no_cert"] == 1
        connection = Connection(port, client_context(CLIENT, tmp_path))
        assert get(connection)[0] == 200
        connection.close()


def direct(name: str) -> Config:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": name}}}
    made: Config = http_listener(1, [virtual_host([route])], stat_prefix=name)["filter_chains"][0]
    return made


def test_chains_by_name_protocol_and_default(kind: type[Outrider] | type[Envoy]) -> None:
    port = free_port()
    inspectors = [
        {"name": "tls", "typed_config": {"@type": f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"}},
        {
            "name": "http",
            "typed_config": {"@type": f"{TYPES}.filters.listener.http_inspector.v3.HttpInspector"},
        },
    ]
    chains = [
        {
            **direct("second"),
            "filter_chain_match": {"server_names": ["second.example"]},
            "transport_socket": downstream_tls(SECOND),
        },
        {
            **direct("wild"),
            "filter_chain_match": {"server_names": ["*.wild.example"]},
            "transport_socket": downstream_tls(SERVER),
        },
        {
            **direct("plain"),
            "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1"]},
        },
    ]
    listener = {
        "name": "many",
        "address": address(port),
        "listener_filters": inspectors,
        "filter_chains": chains,
        "default_filter_chain": {**direct("default"), "transport_socket": downstream_tls(SERVER)},
    }
    with running([listener], [], kind) as proxy:
        for name, answer in (
            ("second.example", b"second"),
            ("a.wild.example", b"wild"),
            ("front.example", b"default"),
        ):
            connection = Connection(port, client_context(), name)
            assert get(connection) == (200, answer)
            connection.close()
        assert plain_get(port) == (200, b"plain")
        stats = proxy.stats()
        assert stats["tls_inspector.sni_found"] == 3
        assert stats["http_inspector.http11_found"] == 1


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Pair(SERVER.certificate, SECOND.key), "is not the key of the certificate"),
        (Pair(SERVER.certificate, "nonsense"), "cannot be used with the certificate"),
        (Pair("nonsense", SERVER.key), "is no certificate in PEM"),
    ],
)
def test_unusable_certificates_are_refused_with_their_place(
    pair: Pair, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = secured(http_listener(free_port(), [virtual_host([route_to("up")])]), downstream_tls(pair))
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(free_port(), [listener], [cluster("up", 1)]), indent=1))
    assert main(["validate", "-c", str(file)]) == 1
    printed = capsys.readouterr()
    output = " ".join((printed.out + printed.err).split())
    assert said in output
    assert "filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]" in output
    assert re.search(r"bootstrap\.json:\d+", output)
