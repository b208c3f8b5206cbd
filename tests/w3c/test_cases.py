"""The W3C trace-context suite's 41 cases in our own words, with a proxy on both sides of an app that copies headers.

request → inbound proxy → app → outbound proxy → what is looked at. ``make w3c`` runs the real suite against real
processes; this one needs neither sockets nor the suite.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.base.headers import Field
from proxy.tracing.context import TRACE_NAMES
from tests.support.config import opentelemetry
from tests.unit.tracing.world import BOTH, World, zipkin

TRACERS: dict[str, dict[str, Any]] = {
    "zipkin": {"provider": zipkin(trace_context_option=BOTH)},
    "opentelemetry": opentelemetry("zipkin"),
}
ID = b"12345678901234567890123456789012"
SPAN = b"1234567890123456"
GOOD = b"00-%b-%b-01" % (ID, SPAN)
UNSAMPLED = b"00-%b-%b-00" % (ID, SPAN)
FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class Seen:
    """What arrived behind both proxies."""

    trace_id: bytes
    span_id: bytes
    flags: int
    state: list[tuple[bytes, bytes]]


def through(*fields: Field, calls: int = 1, tracer: str) -> list[Seen]:
    """Send one request; the app makes ``calls`` calls of its own, each with the headers it received."""
    world = World()
    config = TRACERS[tracer]
    inbound, outbound = world.compile(config), world.compile(config, "OUTBOUND")
    first = world.stream(*((name.lower(), value) for name, value in fields))
    inbound.start(first)
    assert first.request_headers is not None
    inbound.inject(first, first.request_headers)
    copied = [field for field in first.request_headers.fields if field[0] in TRACE_NAMES]
    seen = []
    for _ in range(calls):
        again = world.stream(*copied)
        outbound.start(again)
        assert again.request_headers is not None
        outbound.inject(again, again.request_headers)
        seen.append(look(again.request_headers.fields))
    return seen


def look(fields: list[Field]) -> Seen:
    parents = [value for name, value in fields if name == b"traceparent"]
    assert len(parents) == 1, parents
    match = FORM.fullmatch(parents[0])
    assert match is not None, parents[0]
    assert match[1] != b"0" * 32
    assert match[2] != b"0" * 16
    lines = [value for name, value in fields if name == b"tracestate"]
    assert len(lines) <= 1
    members = [member.partition(b"=") for line in lines for member in line.split(b",")]
    return Seen(match[1], match[2], int(match[3], 16), [(key, value) for key, _, value in members])


Check = Callable[[Seen], bool]


def same_trace(seen: Seen) -> bool:
    return seen.trace_id == ID and seen.span_id != SPAN


def new_trace(seen: Seen) -> bool:
    return ID not in seen.trace_id and seen.trace_id not in (b"12345678901234567890123456789011",)


def no_state(seen: Seen) -> bool:
    return seen.state == []


def state(*members: tuple[bytes, bytes]) -> Check:
    return lambda seen: seen.trace_id == ID and seen.state == list(members)


def parent(value: bytes) -> Field:
    return (b"traceparent", value)


def states(*values: bytes) -> list[Field]:
    return [parent(UNSAMPLED), *((b"tracestate", value) for value in values)]


BAR = [b"bar%02d=%02d" % (n, n) for n in range(1, 34)]
LINES = [b",".join(BAR[:10]), b",".join(BAR[10:20]), b",".join(BAR[20:30])]
EVERY_VALUE = bytes(code for code in range(0x20, 0x7F) if code not in b",=")
EVERY_KEY = b"abcdefghijklmnopqrstuvwxyz0123456789_-*/"
Z = b"z" * 256
FOO = (b"foo", b"1")
DUPLICATES: Check = lambda seen: bool(seen.state) and {key for key, _ in seen.state} == {b"foo"}  # noqa: E731

#: case → requests, each with what must be true of it
CASES: dict[str, list[tuple[list[Field], Check]]] = {
    "neither header": [([], new_trace)],
    "traceparent alone": [([parent(GOOD)], same_trace)],
    "two traceparents": [
        ([parent(b"00-12345678901234567890123456789011-%b-01" % SPAN), parent(GOOD)], new_trace)
    ],
    "other names": [([(b"trace-parent", GOOD)], new_trace), ([(b"trace.parent", GOOD)], new_trace)],
    "any case of the name": [
        ([(name, GOOD)], same_trace) for name in (b"TraceParent", b"TrAcEpArEnT", b"TRACEPARENT")
    ],
    "version 00 with more behind": [
        ([parent(GOOD + more)], new_trace) for more in (b".", b"-what-comes-later")
    ],
    "a later version": [
        ([parent(b"cc" + GOOD[2:])], same_trace),
        ([parent(b"cc" + GOOD[2:] + b"-what-comes-later")], same_trace),
        ([parent(b"cc" + GOOD[2:] + b".what-comes-later")], new_trace),
    ],
    "version ff": [([parent(b"ff" + GOOD[2:])], new_trace)],
    "version not hex": [([parent(version + GOOD[2:])], new_trace) for version in (b".0", b"0.")],
    "version too long": [([parent(version + GOOD[2:])], new_trace) for version in (b"000", b"0000")],
    "version too short": [([parent(b"0" + GOOD[2:])], new_trace)],
    "trace id zero": [([parent(b"00-%b-%b-01" % (b"0" * 32, SPAN))], new_trace)],
    "trace id not hex": [
        ([parent(b"00-%b-%b-01" % (trace_id, SPAN))], new_trace)
        for trace_id in (b"." + ID[1:], ID[:-1] + b".")
    ],
    "trace id too long": [([parent(b"00-%b3-%b-01" % (ID, SPAN))], new_trace)],
    "trace id too short": [([parent(b"00-%b-%b-01" % (ID[:-1], SPAN))], new_trace)],
    "parent id zero": [([parent(b"00-%b-%b-01" % (ID, b"0" * 16))], new_trace)],
    "parent id not hex": [
        ([parent(b"00-%b-%b-01" % (ID, span_id))], new_trace)
        for span_id in (b"." + SPAN[1:], SPAN[:-1] + b".")
    ],
    "parent id too long": [([parent(b"00-%b-%b7-01" % (ID, SPAN))], new_trace)],
    "parent id too short": [([parent(b"00-%b-%b-01" % (ID, SPAN[:-1]))], new_trace)],
    "flags not hex": [([parent(GOOD[:-2] + flags)], new_trace) for flags in (b".0", b"0.")],
    "flags too long": [([parent(GOOD[:-2] + b"001")], new_trace)],
    "flags too short": [([parent(GOOD[:-2] + b"1")], new_trace)],
    "white space around traceparent": [
        ([parent(before + GOOD + after)], same_trace)
        for before, after in ((b" ", b""), (b"\t", b""), (b"", b" "), (b"", b"\t"), (b"\t ", b" \t"))
    ],
    "tracestate without traceparent": [
        ([(b"tracestate", value)], no_state) for value in (b"foo=1", b"foo=1,bar=2")
    ],
    "tracestate with traceparent": [(states(b"foo=1,bar=2"), state(FOO, (b"bar", b"2")))],
    "tracestate under other names": [
        ([parent(UNSAMPLED), (name, b"foo=1")], no_state) for name in (b"trace-state", b"trace.state")
    ],
    "any case of tracestate": [
        ([parent(UNSAMPLED), (name, b"foo=1")], state(FOO))
        for name in (b"TraceState", b"TrAcEsTaTe", b"TRACESTATE")
    ],
    "empty tracestate": [
        (states(b""), state()),
        (states(b"foo=1", b""), state(FOO)),
        (states(b"", b"foo=1"), state(FOO)),
    ],
    "several lines": [
        (
            states(b"foo=1,bar=2", b"rojo=1,congo=2", b"baz=3"),
            state(FOO, (b"bar", b"2"), (b"rojo", b"1"), (b"congo", b"2"), (b"baz", b"3")),
        )
    ],
    "the same key twice": [
        (states(*lines), DUPLICATES)
        for lines in ((b"foo=1,foo=1",), (b"foo=1,foo=2",), (b"foo=1", b"foo=1"), (b"foo=1", b"foo=2"))
    ],
    "every legal character": [
        (states(key + b"=" + EVERY_VALUE), state((key, EVERY_VALUE)))
        for key in (EVERY_KEY, EVERY_KEY + b"@a-z0-9_-*/")
    ],
    "white space around members": [
        (states(b"foo=1 \t , \t bar=2, \t baz=3"), state(FOO, (b"bar", b"2"), (b"baz", b"3"))),
        (states(b"foo=1\t \t,\t \tbar=2,\t \tbaz=3"), state(FOO, (b"bar", b"2"), (b"baz", b"3"))),
        *(
            (states(value), state(FOO))
            for value in (b" foo=1", b"\tfoo=1", b"foo=1 ", b"foo=1\t", b"\t foo=1 \t")
        ),
    ],
    "illegal key": [(states(value), no_state) for value in (b"foo =1", b"FOO=1", b"foo.bar=1")],
    "vendor keys": [
        (states(b"foo@=1,bar=2"), state((b"foo@", b"1"), (b"bar", b"2"))),
        (states(b"@foo=1,bar=2"), no_state),
        (states(b"foo@@bar=1,bar=2"), state((b"foo@@bar", b"1"), (b"bar", b"2"))),
        (states(b"foo@bar@baz=1,bar=2"), state((b"foo@bar@baz", b"1"), (b"bar", b"2"))),
    ],
    "32 and 33 members": [
        (
            states(*LINES, b",".join(BAR[30:32])),
            lambda seen: len(seen.state) == 32 and seen.state[0] == (b"bar01", b"01"),
        ),
        (states(*LINES, b",".join(BAR[30:33])), no_state),
    ],
    "length of keys": [
        (states(b"foo=1", Z + b"=1"), state(FOO, (Z, b"1"))),
        (states(b"foo=1", Z + b"z=1"), no_state),
        *(
            (states(b"foo=1", key + b"=1"), state(FOO, (key, b"1")))
            for key in (b"t" * 241 + b"@" + b"v" * 14, b"t" * 242 + b"@v", b"t@" + b"v" * 15)
        ),
    ],
    "illegal value": [(states(b"foo=bar=baz"), no_state), (states(b"foo=,bar=3"), no_state)],
    "random flag": [([parent(GOOD[:-2] + b"02")], lambda seen: same_trace(seen) and seen.flags == 2)],
}


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        pytest.param(fields, check, id=f"{name} {at}")
        for name, requests in CASES.items()
        for at, (fields, check) in enumerate(requests)
    ],
)
@pytest.mark.parametrize("tracer", TRACERS)
def test_one_request(fields: list[Field], check: Check, tracer: str) -> None:
    (seen,) = through(*fields, tracer=tracer)
    assert check(seen), seen


@pytest.mark.parametrize(
    ("fields", "expected"),
    [([parent(GOOD)], ID), ([], None), ([parent(b"00-%b-%b-01" % (b"0" * 32, SPAN))], None)],
    ids=["valid traceparent", "no traceparent", "illegal traceparent"],
)
@pytest.mark.parametrize("tracer", TRACERS)
def test_several_calls_have_ids_of_their_own(
    fields: list[Field], expected: bytes | None, tracer: str
) -> None:
    seen = through(*fields, calls=3, tracer=tracer)
    assert len({one.span_id for one in seen}) == 3
    assert {one.trace_id for one in seen} == {expected or seen[0].trace_id}


def test_all_41_cases_are_here() -> None:
    assert len(CASES) + 3 == 41
