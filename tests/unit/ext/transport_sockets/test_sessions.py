"""Keys of session tickets and how long sessions live: what is read, what is refused, and where a session is none."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.ext.transport_sockets import sessions
from proxy.ext.transport_sockets.tls import DownstreamTls
from proxy.network.openssl import ByMethods, OpenSsl, reach
from proxy.network.tls import TlsSide
from proxy.stats.store import Store
from tests.support.certs import Authority
from tests.support.tls_memory import resumed
from tests.unit.ext.transport_sockets.test_tls_context import CA, PAIR, ROOTS, findings, read, serving

KEY, OTHER = {"inline_string": "k" * 80}, {"inline_string": "o" * 80}
SAME_NAMES = CA.signs("a", dns=("a.example",))
NAMED_OTHERWISE = CA.signs("a", dns=("b.example",))
ELSEWHERE = Authority("Another CA").signs("a", dns=("a.example",))

needs_openssl = pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")


def keyed(*keys: dict[str, str]) -> dict[str, Any]:
    return {"session_ticket_keys": {"keys": list(keys)}}


@needs_openssl
@pytest.mark.parametrize(
    ("more", "path"),
    [
        (keyed(KEY), []),
        (keyed(KEY, OTHER), []),
        (keyed(KEY, {"inline_string": "k" * 79}), ["session_ticket_keys.keys[1]"]),
        (keyed({"inline_string": "k" * 81}, KEY), ["session_ticket_keys.keys[0]"]),
        (keyed({"environment_variable": "NONE"}), ["session_ticket_keys.keys[0].environment_variable"]),
        ({"session_ticket_keys": {}}, ["session_ticket_keys.keys"]),
        (
            {"session_ticket_keys_sds_secret_config": {"name": "x"}},
            ["session_ticket_keys_sds_secret_config.name"],
        ),
        ({"session_timeout": "3600s"}, []),
        ({"session_timeout": "0s"}, []),
        ({"session_timeout": "4294967296s"}, ["session_timeout"]),
        ({"session_timeout": "-1s"}, ["session_timeout"]),
        ({"require_sni": False}, []),
        ({"require_sni": True}, ["require_sni"]),
    ],
)
def test_what_is_taken(more: dict[str, Any], path: list[str]) -> None:
    assert findings(DownstreamTls, serving(), **more) == path


@pytest.mark.parametrize("found", [None, ByMethods()], ids=["built-in", "3.15"])
@pytest.mark.parametrize(
    ("more", "path"),
    [
        (keyed(KEY), "session_ticket_keys.keys"),
        (
            {"session_ticket_keys_sds_secret_config": {"name": "x"}},
            "session_ticket_keys_sds_secret_config",
        ),
        ({"session_timeout": "5s"}, "session_timeout"),
    ],
)
def test_where_openssl_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, found: OpenSsl | None, more: dict[str, Any], path: str
) -> None:
    monkeypatch.setattr(sessions, "reach", lambda: found)
    assert findings(DownstreamTls, serving()) == []
    assert findings(DownstreamTls, serving(), **more) == [path]


@needs_openssl
def test_before_openssl_3_one_key_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older:
        def set_ticket_keys(self, contexts: list[ssl.SSLContext], keys: list[bytes]) -> bool:
            return len(keys) == 1

    older = Older()
    monkeypatch.setattr(sessions, "reach", lambda: older)
    assert sessions.unsayable(1) == ""
    _, reader = read(DownstreamTls, serving(), Store(), session_ticket_keys={"keys": [KEY, OTHER]})
    (finding,) = reader.errors.findings
    assert finding.path == "session_ticket_keys.keys"
    assert finding.message == f"{ssl.OPENSSL_VERSION} takes one key alone"


def side_of(common: dict[str, Any], **more: Any) -> TlsSide:
    made, reader = read(DownstreamTls, common, Store(), **keyed(KEY), **more)
    assert made.side is not None, reader.errors.findings
    return made.side


def visit(side: TlsSide, session: Any, context: ssl.SSLContext, name: str = "") -> tuple[bool, Any]:
    """(was it resumed, the session). name: the SNI"""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = side.begin(there, back, "")
    theirs = context.wrap_bio(back, there, server_hostname=name or None, session=session)
    return resumed(ours, theirs)


@pytest.fixture
def client() -> Iterator[ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    yield context


def rooted(**more: Any) -> dict[str, Any]:
    return serving(validation_context={**ROOTS, **more})


@needs_openssl
@pytest.mark.parametrize(
    ("first", "second", "resumed"),
    [
        (serving(), serving(), True),
        (serving(), {"tls_certificates": [SAME_NAMES.config()]}, True),
        (serving(), {"tls_certificates": [NAMED_OTHERWISE.config()]}, False),
        (serving(), {"tls_certificates": [ELSEWHERE.config()]}, False),
        (serving(), {"tls_certificates": [PAIR.config(), SAME_NAMES.config()]}, False),
        (rooted(), rooted(), True),
        (serving(), rooted(), False),
        (rooted(), rooted(allow_expired_certificate=True), False),
        (rooted(max_verify_depth=2), rooted(max_verify_depth=3), False),
        (rooted(), rooted(verify_certificate_hash=[]), True),
    ],
)
def test_where_a_session_is_resumed(
    client: ssl.SSLContext, first: dict[str, Any], second: dict[str, Any], resumed: bool
) -> None:
    """Where names and checks are the same."""
    was_resumed, session = visit(side_of(first), None, client)
    assert not was_resumed
    assert visit(side_of(second), session, client)[0] is resumed


@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_where_a_certificate_is_required(client: ssl.SSLContext, version: ssl.TLSVersion) -> None:
    """Envoy resumes a session without one there, if it knows the ticket's key (docs/differences.md, tls-sessions)."""
    client.maximum_version = version
    _, session = visit(side_of(rooted()), None, client)
    with pytest.raises(ssl.SSLError, match=r"(?i)peer did not return a certificate"):
        visit(side_of(rooted(), require_client_certificate=True), session, client)


@needs_openssl
def test_sessions_of_one_listener_with_several_certificates(client: ssl.SSLContext) -> None:
    """The ticket is opened by the first context, whichever answers."""
    several = {"tls_certificates": [PAIR.config(), NAMED_OTHERWISE.config()]}
    side = side_of(several)
    _, session = visit(side, None, client)
    assert visit(side_of(several), session, client)[0]


@needs_openssl
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("alike", [True, False])
def test_the_place_goes_along_to_another_certificate(
    client: ssl.SSLContext, version: ssl.TLSVersion, alike: bool
) -> None:
    """Which a name has chosen."""
    client.maximum_version = version
    several = {"tls_certificates": [PAIR.config(), NAMED_OTHERWISE.config()]}
    other = several if alike else {**several, "validation_context": ROOTS}
    _, session = visit(side_of(several), None, client, "b.example")
    assert visit(side_of(other), session, client, "b.example")[0] is alike
