"""Redirects and direct responses; the full table of locations is in tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.api.reader import unread
from proxy.router.direct import DirectResponse, compile_direct_response, compile_redirect
from proxy.router.rewrite import Matched
from tests.unit.router.tables import ROUTES, Config, findings_of, reader_of, request, stream_of, table_of

REDIRECT, DIRECT = f"{ROUTES}.RedirectAction", f"{ROUTES}.DirectResponseAction"


@pytest.mark.parametrize(
    ("config", "host", "proto", "location"),
    [
        ({}, "h:80", "http", b"http://h:80/a/b?c"),
        ({"https_redirect": True}, "h:80", "http", b"https://h/a/b?c"),
        ({"https_redirect": True}, "h:8080", "http", b"https://h:8080/a/b?c"),
        ({"scheme_redirect": "http"}, "h:443", "https", b"http://h/a/b?c"),
        ({"port_redirect": 81}, "h:8080", "http", b"http://h:81/a/b?c"),
        ({"port_redirect": 81}, "[::1]:8080", "http", b"http://[::1]:81/a/b?c"),
        ({"port_redirect": 81}, "[::1]", "http", b"http://[::1]:81/a/b?c"),
        ({"host_redirect": "n"}, "h:80", "http", b"http://n/a/b?c"),
        ({"path_redirect": "/p"}, "h", "http", b"http://h/p?c"),
        ({"path_redirect": "/p?x"}, "h", "http", b"http://h/p?x"),
        ({"path_redirect": "/p", "strip_query": True}, "h", "http", b"http://h/p"),
        ({"strip_query": True}, "h", "http", b"http://h/a/b"),
        ({"prefix_rewrite": "/n"}, "h", "http", b"http://h/n/b?c"),
        ({"prefix_rewrite": "n"}, "h", "http", b"http://h/n/b?c"),
        ({"regex_rewrite": {"pattern": {"regex": "/a"}, "substitution": ""}}, "h", "http", b"http://h/b?c"),
        ({"path_rewrite": "v%REQ(x)%"}, "h", "http", b"http://h/v?c"),
    ],
)
def test_location(config: Config, host: str, proto: str, location: bytes) -> None:
    reader = reader_of(REDIRECT, config)
    headers = request("/a/b?c", [("x-forwarded-proto", proto)], host=host, scheme=proto)
    redirect = compile_redirect(reader, Matched(b"/a"))
    assert redirect.location(headers, stream_of(headers)) == location
    assert headers.path == b"/a/b?c" and redirect.status == 301
    assert not reader.errors.findings and not unread(reader)


@pytest.mark.parametrize(
    ("code", "status"),
    [("FOUND", 302), ("SEE_OTHER", 303), ("TEMPORARY_REDIRECT", 307), ("PERMANENT_REDIRECT", 308)],
)
def test_redirect_status(code: str, status: int) -> None:
    assert compile_redirect(reader_of(REDIRECT, {"response_code": code}), Matched(None)).status == status


def test_refused_template() -> None:
    reader = reader_of(REDIRECT, {"path_rewrite": "%NOPE%"})
    compile_redirect(reader, Matched(None))
    assert [finding.path for finding in reader.errors.findings] == ["path_rewrite"]


def test_bodies(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"\x00\xff")
    sources: list[tuple[Config, bytes]] = [
        ({"inline_string": "h\u00e9"}, b"h\xc3\xa9"),
        ({"inline_bytes": "AP8="}, b"\x00\xff"),
        ({"filename": str(file)}, b"\x00\xff"),
        ({"environment_variable": "BODY"}, b"from outside"),
    ]
    for source, body in sources:
        reader = reader_of(DIRECT, {"status": 200, "body": source})
        assert compile_direct_response(reader, environ={"BODY": "from outside"}).body == body
        assert not reader.errors.findings and not unread(reader)


def test_a_body_in_the_environment_of_the_whole_table() -> None:
    direct = {"status": 200, "body": {"environment_variable": "BODY"}}
    route = {"match": {"prefix": "/"}, "direct_response": direct}
    table = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}
    headers = request("/", host="a")
    found = table_of(table, environ={"BODY": "from outside"}).find(headers, stream_of(headers))
    assert found is not None and found.direct_response is not None
    assert found.direct_response.body == b"from outside"
    assert [finding.kind for finding in findings_of(table)] == ["invalid"]


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        ({"status": 199}, "status", "range"),
        ({"status": 600}, "status", "range"),
        ({"status": 200, "body": {"inline_string": "123456789"}}, "body", "9 bytes; maximum is 8"),
        ({"status": 200, "body": {"filename": "/nowhere/at/all"}}, "body.filename", "/nowhere/at/all"),
        ({"status": 200, "body": {"environment_variable": "NONE"}}, "body.environment_variable", "NONE"),
        ({"status": 200, "body": {}}, "body", "required"),
    ],
)
def test_refused_direct_responses(config: Config, path: str, words: str) -> None:
    reader = reader_of(DIRECT, config)
    compile_direct_response(reader, {}, 8)
    (finding,) = reader.errors.findings
    assert finding.path == path and words in finding.message


@pytest.mark.parametrize(
    ("status", "location"),
    [(200, None), (201, b"http://h/a?b"), (202, None), (302, b"http://h/a?b"), (404, None)],
)
def test_location_of_a_direct_response(status: int, location: bytes | None) -> None:
    assert DirectResponse(status).location(request("/a?b", host="h")) == location
