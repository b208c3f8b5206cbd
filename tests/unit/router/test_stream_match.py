"""Conditions on cookies, dynamic metadata and the client's certificate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.base.headers import RequestHeaders
from proxy.router.stream_match import read_cookies
from tests.support.transcript import Transcript, to
from tests.unit.router.tables import routes, stream_of, table_of


def head(*cookies: bytes) -> RequestHeaders:
    return RequestHeaders(b"GET", b"/", b"a", b"http", [(b"cookie", one) for one in cookies])


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ([], {}),
        ([b"a=1; b=2"], {b"a": b"1", b"b": b"2"}),
        ([b"a=1", b"b=2;"], {b"a": b"1", b"b": b"2"}),
        ([b"a=1; a=2"], {b"a": b"1"}),
        ([b'a="1"; b="'], {b"a": b"1", b"b": b'"'}),
        ([b"a; b="], {b"b": b""}),
        ([b"a=b=c"], {b"a": b"b=c"}),
    ],
)
def test_cookies(cookies: list[bytes], found: dict[bytes, bytes]) -> None:
    assert read_cookies(head(*cookies)) == found


def named(name: str, match: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "match": {"prefix": "/", **match}, "direct_response": {"status": 200}}


def chosen(config: dict[str, Any], headers: RequestHeaders, **facts: Any) -> bytes | None:
    table = table_of(config)
    stream = stream_of(headers)
    for name, value in facts.items():
        setattr(stream if name == "metadata" else stream.info, name, value)
    route = table.find(headers, stream)
    assert table.asked is None or table.asked.stream is None, "nothing is kept of a stream"
    return None if route is None else route.name


def test_dynamic_metadata() -> None:
    matcher = {"filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}}
    config = routes(named("marked", {"dynamic_metadata": [matcher]}), named("other", {}))
    assert chosen(config, head()) == b"other"
    assert chosen(config, head(), metadata={"f": {"k": "v"}}) == b"marked"


def test_the_clients_certificate() -> None:
    config = routes(
        named("validated", {"tls_context": {"validated": True}}),
        named("presented", {"tls_context": {"presented": True}}),
        named("none", {}),
    )
    shown: Any = SimpleNamespace(peer=object(), verified=False)
    assert chosen(config, head()) == b"none"
    assert chosen(config, head(), tls=shown) == b"presented"
    shown.verified = True
    assert chosen(config, head(), tls=shown) == b"validated"


def test_a_cookie_decides() -> None:
    cookie = {"name": "a", "string_match": {"exact": "1"}}
    config = routes(
        named("with", {"cookies": [cookie]}),
        named("without", {"cookies": [{**cookie, "invert_match": True}]}),
    )
    assert [chosen(config, head(*one)) for one in ([b"a=1"], [b"a=2"], [])] == [
        b"with",
        b"without",
        b"without",
    ]


def test_internal_only_headers() -> None:
    private = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    table = {
        "name": "t",
        "internal_only_headers": ["X-Secret"],
        "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [to("a")]}],
    }
    talk = Transcript(hcm={**private, "route_config": table})
    for forwarded, value in (("1.2.3.4", None), ("10.1.1.1", "1")):
        talk.client(
            f"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {forwarded}\r\nx-secret: 1\r\n\r\n".encode()
        )
        assert talk.upstream(0).request.one("x-secret") == value
        talk.upstream(0).replies()


def test_a_routes_buffer_for_retries() -> None:
    route = {**to("a", retry_policy={"retry_on": "5xx"}), "per_request_buffer_limit_bytes": 4}
    for body, tries in ((b"1234", 2), (b"12345", 1)):
        talk = Transcript(route)
        talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        talk.upstream(0).replies(503)
        talk.waits(0.1)
        if tries == 2:
            talk.upstream(1).replies(200)
        assert talk.finished.streams[-1]["attempts"] == tries


def test_connect_asks_the_stream_too() -> None:
    matcher = {"filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}}
    marked: dict[str, Any] = named("marked", {"dynamic_metadata": [matcher]})
    other: dict[str, Any] = named("other", {})
    for route in (marked, other):
        del route["match"]["prefix"]
        route["match"]["connect_matcher"] = {}
    table = table_of(routes(marked, other))
    headers = RequestHeaders(b"CONNECT", b"", b"a", b"http", [])
    stream = stream_of(headers)
    for metadata, name in ((None, b"other"), ({"f": {"k": "v"}}, b"marked")):
        stream.metadata = metadata
        route = table.find_connect(headers, stream)
        assert route is not None and route.name == name
    assert table.asked is not None and table.asked.stream is None
