"""Header operations: order within a level, the four actions, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.reader import unread
from proxy.base.headers import TRACE, HeaderMap, ResponseHeaders
from proxy.router.header_ops import compile_addition, compile_request_ops, compile_response_ops
from tests.unit.router.tables import ROUTES, Config, reader_of, request, stream_of


def add(name: str, value: str, **more: Any) -> Config:
    return {"header": {"key": name, "value": value}, **more}


def applied(config: Config, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
    reader = reader_of(f"{ROUTES}.Route", config)
    headers = request(fields=fields)
    for ops in compile_request_ops(reader):
        ops.apply(headers, stream_of(headers))
    assert not reader.errors.findings
    return [(name.decode(), value.decode()) for name, value in headers.fields]


@pytest.mark.parametrize(
    ("addition", "present", "absent"),
    [
        (add("X", "n"), [("x", "o"), ("z", "1"), ("x", "n")], [("z", "1"), ("x", "n")]),
        (add("x", "n", append_action="ADD_IF_ABSENT"), [("x", "o"), ("z", "1")], [("z", "1"), ("x", "n")]),
        (add("x", "n", append_action="OVERWRITE_IF_EXISTS"), [("z", "1"), ("x", "n")], [("z", "1")]),
        (
            add("x", "n", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
            [("z", "1"), ("x", "n")],
            [("z", "1"), ("x", "n")],
        ),
        (add("x", "n", append=False), [("z", "1"), ("x", "n")], [("z", "1"), ("x", "n")]),
        (add("x", "n", append=True), [("x", "o"), ("z", "1"), ("x", "n")], [("z", "1"), ("x", "n")]),
        (add("x", ""), [("x", "o"), ("z", "1")], [("z", "1")]),
        (add("x", "", keep_empty_value=True), [("x", "o"), ("z", "1"), ("x", "")], [("z", "1"), ("x", "")]),
        (add("x", "%REQ(none)%"), [("x", "o"), ("z", "1")], [("z", "1")]),
        (add("x", "%REQ(z)%%%"), [("x", "o"), ("z", "1"), ("x", "1%")], [("z", "1"), ("x", "1%")]),
    ],
)
def test_actions(addition: Config, present: list[tuple[str, str]], absent: list[tuple[str, str]]) -> None:
    config = {"request_headers_to_add": [addition]}
    assert applied(config, [("x", "o"), ("z", "1")]) == present
    assert applied(config, [("z", "1")]) == absent


def test_order_within_a_level() -> None:
    config = {
        "request_headers_to_remove": ["Gone"],
        "request_headers_to_add": [
            add("a", "%REQ(over)%"),
            add("gone", "1", append_action="ADD_IF_ABSENT"),
            add("over", "new", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
        ],
    }
    fields = [("gone", "0"), ("over", "old"), ("gone", "00")]
    assert applied(config, fields) == [("over", "new"), ("a", "old"), ("gone", "1")]


def test_single_field_names_are_joined_in_place() -> None:
    config = {
        "request_headers_to_add": [
            add("user-agent", "b"),
            add("accept", "x"),
            add("x-forwarded-for", "%REQ(q)%"),
        ]
    }
    fields = [("user-agent", "a"), ("q", "9"), ("x-forwarded-for", "1")]
    assert applied(config, fields) == [
        ("user-agent", "a,b"),
        ("q", "9"),
        ("x-forwarded-for", "1,9"),
        ("accept", "x"),
    ]


def test_constants_keep_the_known_bits() -> None:
    reader = reader_of(f"{ROUTES}.Route", {"request_headers_to_add": [add("b3", "0"), add("x", "1")]})
    headers = request()
    for ops in compile_request_ops(reader):
        ops.apply(headers, stream_of(headers))
    assert headers.known & TRACE and headers.fields == [(b"b3", b"0"), (b"x", b"1")]


def test_response_side_reads_both_heads() -> None:
    config = {
        "response_headers_to_add": [add("x", "%REQ(q)%-%RESP(r)%"), add("cache-control", "b")],
        "response_headers_to_remove": ["R"],
    }
    stream = stream_of(request(fields=[("q", "1")]))
    headers = stream.response_headers = ResponseHeaders(200, [(b"cache-control", b"a"), (b"r", b"2")])
    for ops in compile_response_ops(reader_of(f"{ROUTES}.VirtualHost", config)):
        ops.apply(headers, stream)
    assert headers.fields == [(b"cache-control", b"a,b"), (b"x", b"1-")]


def test_an_operator_without_a_value_leaves_no_blank() -> None:
    """HTTP/2 hosts refuse a field that ends in one (RFC 9113 section 8.2.1)."""
    config = {"request_headers_to_add": [add("x", "a %REQ(none)%"), add("y", "%REQ(z)% b")]}
    assert applied(config, [("z", "1")]) == [("z", "1"), ("x", "a"), ("y", "1 b")]
    config = {"request_headers_to_add": [add("x", " %REQUESTED_SERVER_NAME%")]}
    assert applied(config, [("z", "1")]) == [("z", "1"), ("x", "")]
    config = {"request_headers_to_add": [add("x", "a %REQUESTED_SERVER_NAME% "), add("y", " %REQ(z)%")]}
    assert [value for _, value in applied(config, [("z", "1")])] == ["1", "a", "1"]


def test_a_formatted_value_cannot_break_the_line() -> None:
    config = {"request_headers_to_add": [add("x", "%REQ(q)%")]}
    headers = request()
    headers.fields = [(b"q", b"1\r\nevil: 1")]
    for ops in compile_request_ops(reader_of(f"{ROUTES}.Route", config)):
        ops.apply(headers, stream_of(headers))
    value = headers.get(b"x")
    assert value is not None and b"\r" not in value and b"\n" not in value


def test_nothing_to_do_is_no_level() -> None:
    assert compile_request_ops(reader_of(f"{ROUTES}.Route", {})) == ()


@pytest.mark.parametrize(
    ("config", "path", "words"),
    [
        (add("Host", "x"), "header.key", "may not be modified"),
        (add(":path", "x"), "header.key", "may not be modified"),
        (add("a b", "x"), "header.key", "is no header name"),
        (add("x", "%NOPE%"), "header.value", "NOPE"),
        (add("x", "1", append=False, append_action="ADD_IF_ABSENT"), "append", "not allowed"),
        ({"header": {"value": "1"}}, "header.key", "at least 1"),
        ({}, "header", "required"),
    ],
)
def test_refused_additions(config: Config, path: str, words: str) -> None:
    reader = reader_of("envoy.config.core.v3.HeaderValueOption", config)
    compile_addition(reader)
    (finding,) = reader.errors.findings
    assert finding.path == path and words in finding.message


@pytest.mark.parametrize("name", ["a b", "a ", " ", "a:b", "a\tb", "a\x01", "(a)", 'a"b', "aé"])
@pytest.mark.parametrize("side", ["request", "response"])
def test_a_name_that_is_no_token_is_refused(name: str, side: str) -> None:
    reader = reader_of(f"{ROUTES}.Route", {f"{side}_headers_to_add": [add(name, "v")]})
    compile_request_ops(reader)
    compile_response_ops(reader)
    (finding,) = reader.errors.findings
    assert finding.path == f"{side}_headers_to_add[0].header.key"
    assert finding.message == f'"{name}" is no header name'


@pytest.mark.parametrize("name", [":path", "Host", ":status"])
def test_refused_removals(name: str) -> None:
    reader = reader_of(f"{ROUTES}.Route", {"request_headers_to_remove": ["a", name]})
    compile_request_ops(reader)
    assert [finding.path for finding in reader.errors.findings] == ["request_headers_to_remove[1]"]
    reader = reader_of(f"{ROUTES}.Route", {"response_headers_to_remove": [name]})
    compile_response_ops(reader)
    assert [finding.path for finding in reader.errors.findings] == ["response_headers_to_remove[0]"]


def test_raw_value_is_warned_about_as_envoy_does_not_read_it() -> None:
    reader = reader_of(
        "envoy.config.core.v3.HeaderValueOption", {"header": {"key": "x", "raw_value": "MQ=="}}
    )
    addition = compile_addition(reader)
    assert addition is not None and addition.value == b"" and len(reader.errors.warnings) == 1
    assert not unread(reader) and isinstance(request(), HeaderMap)
