"""Sessions that clients resume: for how long, and by whose tickets, in one process and in several that share keys. What
holds for us holds for Envoy.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
from base64 import b64encode
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.network.openssl import reach
from tests.integration.test_sds import file_source, secrets, swap
from tests.integration.test_tls import (
    CA,
    CLIENT,
    SERVER,
    client_context,
    downstream_tls,
    plain_get,
    running,
    secured,
    upstream_tls,
)
from tests.support.certs import Authority, Pair
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyFailed
from tests.support.upstream import Upstream
from tests.support.wait import until

pytestmark = pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")

Kind = type[Outrider] | type[Envoy]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
FIRST, SECOND, THIRD = (os.urandom(80) for _ in range(3))


class Visitor:
    """A client. session: of its last visit"""

    def __init__(self, version: ssl.TLSVersion, folder: Path | None = None, pair: Pair = CLIENT) -> None:
        """folder: with a certificate, written there"""
        self.context = client_context(pair if folder is not None else None, folder)
        self.context.minimum_version = self.context.maximum_version = version
        self.session: Any = None

    def visit(self, port: int, session: Any = None) -> bool:
        """One request; whether the session was resumed. Raises OSError."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            wrapped = self.context.wrap_socket(raw, server_hostname="front.example", session=session)
            with wrapped as secure:
                secure.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                answer = b""
                while data := secure.recv(65536):
                    answer += data
                assert answer.startswith(b"HTTP/1.1 200"), answer
                self.session = secure.session
                return bool(secure.session_reused)


def keys_of(*keys: bytes) -> Config:
    return {"session_ticket_keys": {"keys": [{"inline_bytes": b64encode(key).decode()} for key in keys]}}


def listening(upstream: Upstream, port: int, transport_socket: Config) -> Config:
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), transport_socket)
    return bootstrap(free_port(), [listener], [cluster("up", upstream.port)])


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_processes_that_share_keys(upstream: Upstream, kind: Kind, version: ssl.TLSVersion) -> None:
    """As keys are changed: the new one opens first, then seals, then the old one goes."""
    ports = {}
    with ExitStack() as stack:
        for name, keys in (
            ("old", [FIRST]),
            ("also", [FIRST]),
            ("ready", [FIRST, SECOND]),
            ("new", [SECOND, FIRST]),
            ("late", [SECOND]),
            ("other", [THIRD]),
        ):
            ports[name] = free_port()
            tls = downstream_tls(SERVER, **keys_of(*keys))
            stack.enter_context(kind(listening(upstream, ports[name], tls)))
        visitor = Visitor(version)
        assert not visitor.visit(ports["old"])
        of_first = visitor.session
        resumed = {name: visitor.visit(ports[name], of_first) for name in ports}
        assert resumed == {name: name not in ("late", "other") for name in ports}
        assert not visitor.visit(ports["new"])
        of_second = visitor.session
        resumed = {name: visitor.visit(ports[name], of_second) for name in ports}
        assert resumed == {name: name in ("ready", "new", "late") for name in ports}
        # a ticket of before is exchanged for one of now
        assert visitor.visit(ports["new"], of_first)
        assert visitor.visit(ports["late"], visitor.session)


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_the_chain_of_a_client_that_resumes_its_session(
    upstream: Upstream, tmp_path: Path, kind: Kind, version: ssl.TLSVersion
) -> None:
    port, middle = free_port(), Authority("Middle CA", CA)
    told = {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"chain": True},
    }
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=told)
    listener = secured(listener, downstream_tls(SERVER, roots=CA.pem, require_client_certificate=True))
    visitor = Visitor(version, tmp_path, middle.signs("client").under(middle))
    with running([listener], [cluster("up", upstream.port)], kind):
        assert not visitor.visit(port)
        assert visitor.visit(port, visitor.session)
    first, second = (request.one("x-forwarded-client-cert") for request in upstream.requests)
    assert first == second and first is not None and first.count("BEGIN%20CERTIFICATE") == 2


@pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])
def test_keys_do_not_help_past_a_check(
    upstream: Upstream, tmp_path: Path, kind: Kind, version: ssl.TLSVersion
) -> None:
    """Listeners that share keys and certificate: one asks clients for a certificate, and a session of the other is none."""
    open_port, mutual_port, also_port = free_port(), free_port(), free_port()
    keys = keys_of(FIRST)
    mutual = downstream_tls(SERVER, roots=CA.pem, require_client_certificate=True, **keys)
    listeners = [
        secured(http_listener(port, [virtual_host([route_to("up")])], stat_prefix=str(port)), each)
        | {"name": str(port)}
        for port, each in (
            (open_port, downstream_tls(SERVER, **keys)),
            (mutual_port, mutual),
            (also_port, mutual),
        )
    ]
    with running(listeners, [cluster("up", upstream.port)], kind) as proxy:
        stranger = Visitor(version)
        assert not stranger.visit(open_port)
        assert stranger.visit(open_port, stranger.session)
        with pytest.raises((OSError, AssertionError)):  # in TLS 1.3 the client learns it by its first read
            stranger.visit(mutual_port, stranger.session)
        assert proxy.stats()[f"listener.127.0.0.1_{mutual_port}.ssl.fail_verify_no_cert"] == 1
        friend = Visitor(version, tmp_path)
        assert not friend.visit(open_port)
        assert not friend.visit(mutual_port, friend.session)
        assert friend.visit(also_port, friend.session)
        assert proxy.stats()[f"listener.127.0.0.1_{also_port}.ssl.no_certificate"] == 0


def test_keys_by_sds(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    """Before they are there the listener is not ready; then they are changed, and what is no key changes nothing."""
    source, port = tmp_path / "keys.yaml", free_port()

    def publish(*keys: bytes) -> None:
        swap(source, secrets({"name": "tickets", **keys_of(*keys)}))

    swap(source, secrets())
    config = {"name": "tickets", "sds_config": file_source(source)}
    tls = downstream_tls(SERVER, session_ticket_keys_sds_secret_config=config)
    with kind(listening(upstream, port, tls)) as proxy:
        visitor = Visitor(ssl.TLSVersion.TLSv1_3)
        with pytest.raises(OSError):
            visitor.visit(port)
        factory = f"listener.127.0.0.1_{port}.server_ssl_socket_factory"
        proxy.wait_for_stat(f"{factory}.downstream_context_secrets_not_ready", 1)
        for count, keys in enumerate(([FIRST], [SECOND, FIRST]), start=1):
            publish(*keys)
            proxy.wait_for_stat(f"{factory}.ssl_context_update_by_sds", count)
            assert visitor.visit(port, visitor.session) is (count > 1)
        publish(FIRST[1:])
        proxy.wait_for_stat("sds.tickets.update_rejected", 2)
        assert visitor.visit(port, visitor.session)
        publish(THIRD)
        proxy.wait_for_stat(f"{factory}.ssl_context_update_by_sds", 3)
        assert not visitor.visit(port, visitor.session)
        page = proxy.admin("/config_dump")[1]
        hidden = b64encode(b"[redacted]").decode()
        (dump,) = (
            each for each in json.loads(page)["configs"] if each["@type"].endswith("SecretsConfigDump")
        )
        (shown,) = dump["dynamic_active_secrets"]
        assert shown["secret"]["session_ticket_keys"] == {"keys": [{"inline_bytes": hidden}]}


def test_keys_of_static_secrets_and_files_are_hidden(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    inline, named, file = free_port(), free_port(), tmp_path / "ticket.key"
    file.write_bytes(FIRST)
    listeners = [
        secured(http_listener(port, [virtual_host([route_to("up")])]), downstream_tls(SERVER, **more))
        | {"name": str(port)}
        for port, more in (
            (inline, keys_of(FIRST, SECOND)),
            (named, {"session_ticket_keys_sds_secret_config": {"name": "tickets"}}),
        )
    ]
    config = bootstrap(free_port(), listeners, [cluster("up", upstream.port)])
    keys = {"session_ticket_keys": {"keys": [{"filename": str(file)}]}}
    config["static_resources"]["secrets"] = [{"name": "tickets", **keys}]
    with kind(config) as proxy:
        visitor = Visitor(ssl.TLSVersion.TLSv1_3)
        assert not visitor.visit(inline)
        assert visitor.visit(named, visitor.session)
        page = proxy.admin("/config_dump")[1]
    text = page if isinstance(page, str) else page.decode()
    assert all(b64encode(key).decode() not in text for key in (FIRST, SECOND))
    assert text.count(b64encode(b"[redacted]").decode()) >= 2


@pytest.mark.parametrize(
    "more",
    [
        keys_of(FIRST[1:]),
        keys_of(FIRST, FIRST + b"x"),
        {"session_ticket_keys": {"keys": []}},
        {"session_ticket_keys": {"keys": [{"filename": "/nowhere/at/all"}]}},
        {"session_ticket_keys_sds_secret_config": {"name": "nobody"}},
        {"session_timeout": "4294967296s"},
        {"session_timeout": "-1s"},
        {"common": {"key_log": {"path": "/nowhere/at/all"}}},
        {"common": {"key_log": {}}},
    ],
)
def test_what_neither_takes(upstream: Upstream, tmp_path: Path, kind: Kind, more: Config) -> None:
    with pytest.raises(ProxyFailed):
        kind(listening(upstream, free_port(), downstream_tls(SERVER, **more)), folder=tmp_path).start()


@pytest.mark.parametrize(
    ("timeout", "hint"), [("5s", 5), ("3600.7s", 3600), ("604801s", 604801), ("0s", 7200), (None, 7200)]
)
def test_how_long_clients_are_told(upstream: Upstream, kind: Kind, timeout: str | None, hint: int) -> None:
    """In TLS 1.3 Envoy says two days whatever is configured (docs/differences.md, tls-sessions)."""
    port = free_port()
    tls = downstream_tls(SERVER, **({"session_timeout": timeout} if timeout is not None else {}))
    told = []
    with kind(listening(upstream, port, tls)):
        for version in VERSIONS:
            visitor = Visitor(version)
            visitor.visit(port)
            told.append(visitor.session.ticket_lifetime_hint)
    week, two_days = 604800, 172800
    assert told == [hint, min(hint, week) if kind is Outrider else two_days]


def test_a_session_that_is_too_old(upstream: Upstream, kind: Kind) -> None:
    port = free_port()
    with kind(listening(upstream, port, downstream_tls(SERVER, session_timeout="2s"))):
        visitor = Visitor(ssl.TLSVersion.TLSv1_2)
        visitor.visit(port)
        session = visitor.session
        until(lambda: not visitor.visit(port, session), "the session is too old")


def logged(file: Path) -> list[str]:
    """Lines of NSS's format, without comments, in the order of the alphabet."""
    lines = file.read_text().splitlines() if file.exists() else []
    return sorted(line for line in lines if not line.startswith("#"))


def labels(file: Path) -> list[str]:
    """What is logged; a line that is not whole yet is none."""
    return [line.split()[0] for line in logged(file) if len(line.split()) == 3]


def test_keys_are_written_to_a_file(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    """Of both sides, one line for TLS 1.2 and five for 1.3, with the client's random and what only the two of them know."""
    port, front, back = free_port(), tmp_path / "front.keys", tmp_path / "back.keys"
    near = upstream_tls(CA.pem, sni="front.example", common={"key_log": {"path": str(back)}})
    listeners = [
        secured(
            http_listener(port, [virtual_host([route_to("up")])]),
            downstream_tls(SERVER, common={"key_log": {"path": str(front)}}),
        ),
        http_listener(plain := free_port(), [virtual_host([route_to("inner")])]) | {"name": "plain"},
    ]
    clusters = [cluster("up", upstream.port), cluster("inner", port, transport_socket=near)]
    with running(listeners, clusters, kind):
        assert plain_get(plain)[0] == 200
        until(lambda: labels(back) == labels(front) == ["CLIENT_RANDOM"], "the keys of TLS 1.2")
        assert logged(back) == logged(front)
        Visitor(ssl.TLSVersion.TLSv1_3).visit(port)
        secrets_of_1_3 = [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_RANDOM",
            "CLIENT_TRAFFIC_SECRET_0",
            "EXPORTER_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_TRAFFIC_SECRET_0",
        ]
        until(lambda: labels(front) == secrets_of_1_3, "the secrets of TLS 1.3")


@pytest.mark.parametrize("name", ["required", "not"])
def test_names_that_are_required(upstream: Upstream, tmp_path: Path, kind: Kind, name: str) -> None:
    """Envoy takes ``require_sni`` and asks nothing by it, so we refuse it."""
    port = free_port()
    config = listening(upstream, port, downstream_tls(SERVER, require_sni=name == "required"))
    if kind is Outrider and name == "required":
        with pytest.raises(ProxyFailed, match="require_sni"):
            kind(config, folder=tmp_path).start()
        return
    with kind(config), socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        context = client_context()
        context.check_hostname = False
        with context.wrap_socket(raw) as secure:
            assert secure.version() == "TLSv1.3"
