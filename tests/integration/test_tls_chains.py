"""Which chains of certificates are believed, and what is shown of them: how long they may be, how old, where they may end,
what is revoked, whose certificates clients are asked for. What holds for us holds for Envoy.
"""

from __future__ import annotations

import socket
import ssl
from io import BytesIO
from pathlib import Path

import pytest

from proxy.network.openssl import reach
from tests.integration.test_tls import (
    CA,
    CLIENT,
    EXPIRED,
    OTHER_CA,
    SECOND,
    SERVER,
    client_context,
    downstream_tls,
    plain_get,
    running,
    secured,
    two_hops,
    upstream_tls,
)
from tests.integration.test_tls_names import revoking
from tests.support.certs import Authority, Pair
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyFailed
from tests.support.upstream import Upstream

Kind = type[Outrider] | type[Envoy]
MIDDLE = Authority("Middle CA", CA)
LOW = Authority("Low CA", MIDDLE)
#: client certificates by how many stand between them and the root
CLIENTS = [CLIENT, MIDDLE.signs("client").under(MIDDLE), LOW.signs("client").under(LOW, MIDDLE)]
YOUNG = CA.signs("young", dns=("front.example",), days=(0.5, 1))
needs_openssl = pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")


def status_of(upstream: Upstream, tmp_path: Path, kind: Kind, near: Config, far: Config) -> tuple[int, float]:
    """(status of a request over both, chains that were not believed)"""
    listeners, clusters, port = two_hops(upstream, tmp_path, near, far)
    with running(listeners, clusters, kind) as proxy:
        status = plain_get(port)[0]
        stats = proxy.stats()
    return status, sum(stats[name] for name in stats if name.endswith(".ssl.fail_verify_error"))


@needs_openssl
@pytest.mark.parametrize("deepest", [0, 1, 2, 3])
def test_how_long_a_client_s_chain_may_be(upstream: Upstream, kind: Kind, deepest: int) -> None:
    """0 and 1: none may stand between; each further one lets another in."""
    far = downstream_tls(
        SERVER, roots=CA.pem, validation={"max_verify_depth": deepest}, require_client_certificate=True
    )
    inner, listeners, clusters, ports = free_port(), [], [cluster("up", upstream.port)], []
    listeners.append(secured(http_listener(inner, [virtual_host([route_to("up")])], stat_prefix="far"), far))
    for index, pair in enumerate(CLIENTS):
        port, name = free_port(), f"with-{index}"
        ports.append(port)
        listeners.append(
            http_listener(port, [virtual_host([route_to(name)])], stat_prefix=name) | {"name": name}
        )
        clusters.append(cluster(name, inner, transport_socket=upstream_tls("", pair)))
    with running(listeners, clusters, kind) as proxy:
        statuses = [plain_get(port)[0] for port in ports]
        refused = proxy.stats()[f"listener.127.0.0.1_{inner}.ssl.fail_verify_error"]
    taken = max(deepest, 1)
    assert statuses == [200] * taken + [503] * (3 - taken)
    assert refused == 3 - taken


def test_a_host_s_chain_may_be_as_long_as_it_likes(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    near = upstream_tls(CA.pem, validation={"max_verify_depth": 1})
    far = downstream_tls(LOW.signs("server").under(LOW, MIDDLE))
    assert status_of(upstream, tmp_path, kind, near, far) == (200, 0)


@pytest.mark.parametrize("pair", [EXPIRED, YOUNG], ids=["expired", "young"])
@pytest.mark.parametrize("allowed", [False, True])
def test_certificates_out_of_their_time(
    upstream: Upstream, tmp_path: Path, kind: Kind, pair: Pair, allowed: bool
) -> None:
    near = upstream_tls(CA.pem, validation={"allow_expired_certificate": allowed})
    status, refused = status_of(upstream, tmp_path, kind, near, downstream_tls(pair))
    assert (status, refused) == ((200, 0) if allowed else (503, 1))


def test_an_expired_client_that_is_allowed(upstream: Upstream, tmp_path: Path, kind: Kind) -> None:
    far = downstream_tls(
        SERVER,
        roots=CA.pem,
        validation={"allow_expired_certificate": True},
        require_client_certificate=True,
    )
    assert status_of(upstream, tmp_path, kind, upstream_tls("", EXPIRED), far) == (200, 0)


@pytest.mark.parametrize(
    ("roots", "pair", "status"),
    [
        (MIDDLE.pem, CLIENTS[1], 200),
        (MIDDLE.pem, MIDDLE.signs("bare"), 200),
        (MIDDLE.pem, CLIENTS[2], 200),
        (LOW.pem, CLIENTS[1], 503),
        (SECOND.certificate, SECOND, 200),
        (SECOND.certificate, SERVER, 503),
    ],
    ids=["middle", "leaf-alone", "below-middle", "beside", "itself", "another"],
)
def test_a_chain_ends_where_it_is_trusted(
    upstream: Upstream, tmp_path: Path, kind: Kind, roots: str, pair: Pair, status: int
) -> None:
    """Not only at a root that has signed itself."""
    result = status_of(upstream, tmp_path, kind, upstream_tls(roots), downstream_tls(pair))
    assert result == (status, status != 200)


@pytest.mark.parametrize(("revoked", "status"), [(SERVER, 503), (SECOND, 200)], ids=["revoked", "another"])
def test_revoked_by_a_list_among_the_roots(
    upstream: Upstream, tmp_path: Path, kind: Kind, revoked: Pair, status: int
) -> None:
    near = upstream_tls(CA.pem + revoking(CA, revoked))
    assert status_of(upstream, tmp_path, kind, near, downstream_tls(SERVER)) == (status, status != 200)


def first_flight(port: int) -> bytes:
    """What a server says first, over TLS 1.2, where it can be read."""
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(coming, going, server_hostname="front.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(going.read())
        said = b""
        while not said.endswith(b"\x0e\x00\x00\x00"):  # ServerHelloDone
            more = sock.recv(65536)
            assert more, said
            said += more
    return said


def certificates(flight: bytes) -> list[bytes]:
    """DER, those of its Certificate message (RFC 5246 7.4.2)."""
    records, messages, found = BytesIO(flight), BytesIO(), list[bytes]()
    while header := records.read(5):
        messages.write(records.read(int.from_bytes(header[3:])))
    messages.seek(0)
    while kind := messages.read(1):
        body = BytesIO(messages.read(int.from_bytes(messages.read(3))))
        if kind == b"\x0b":
            body.read(3)
            while size := body.read(3):
                found.append(body.read(int.from_bytes(size)))
    return found


@needs_openssl
@pytest.mark.parametrize("suppressed", [False, True])
@pytest.mark.parametrize("required", [False, True])
def test_whose_certificates_clients_are_asked_for(
    upstream: Upstream, kind: Kind, suppressed: bool, required: bool
) -> None:
    """The names of the roots, each once."""
    roots = CA.pem + OTHER_CA.pem + OTHER_CA.pem
    validation = {"suppress_client_ca_list": suppressed}
    far = downstream_tls(SERVER, roots=roots, validation=validation, require_client_certificate=required)
    port = free_port()
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), far)
    with running([listener], [cluster("up", upstream.port)], kind):
        said = first_flight(port)
    assert said.count(OTHER_CA._name.public_bytes()) == (not suppressed)


@needs_openssl
@pytest.mark.parametrize(
    ("pair", "shown"),
    [(SERVER, 0), (SERVER.under(CA), 1), (CLIENTS[1], 1), (CLIENTS[2], 2)],
    ids=["leaf", "with-root", "with-middle", "with-both"],
)
def test_a_chain_is_shown_as_it_is_configured(upstream: Upstream, kind: Kind, pair: Pair, shown: int) -> None:
    """shown: certificates beside the leaf. None of the roots is added."""
    roots, port = CA.pem + MIDDLE.pem + LOW.pem, free_port()
    far = downstream_tls(pair, roots=roots, validation={"suppress_client_ca_list": True})
    listener = secured(http_listener(port, [virtual_host([route_to("up")])]), far)
    with running([listener], [cluster("up", upstream.port)], kind):
        said = first_flight(port)
    chain = certificates(said)
    assert len(chain) == 1 + shown
    assert "".join(ssl.DER_cert_to_PEM_cert(each) for each in chain) == pair.certificate


@pytest.mark.parametrize(
    "validation",
    [
        {"allow_expired_certificate": True},
        {"trusted_ca": {"inline_string": CA.pem}, "max_verify_depth": 101},
    ],
)
def test_what_neither_takes(kind: Kind, tmp_path: Path, validation: Config) -> None:
    near = upstream_tls(common={"validation_context": validation})
    far = downstream_tls(SERVER, common={"validation_context": validation})
    listener = secured(http_listener(free_port(), [virtual_host([route_to("up")])]), far)
    for index, config in enumerate(
        (
            bootstrap(free_port(), [listener], [cluster("up", 1)]),
            bootstrap(free_port(), [], [cluster("up", 1, transport_socket=near)]),
        )
    ):
        folder = tmp_path / str(index)
        folder.mkdir()
        with pytest.raises(ProxyFailed):
            kind(config, folder=folder).start()
