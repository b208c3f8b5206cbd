"""traceparent and tracestate: what is written is read back; what was wrong is counted."""

from __future__ import annotations

import pytest

from proxy.base.headers import Field
from proxy.ext.propagators.w3c import W3CTraceContext, join_tracestate, parse_traceparent
from proxy.stats.store import Store
from proxy.tracing.context import MALFORMED, RANDOM, W3C, TraceContext

TRACE, SPAN = b"1234567890abcdef1234567890abcdef", b"a" * 16


@pytest.mark.parametrize(
    ("context", "headers"),
    [
        (TraceContext(TRACE, SPAN, b"", True, W3C), [(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN))]),
        (TraceContext(TRACE, SPAN, b"", False, W3C), [(b"traceparent", b"00-%b-%b-00" % (TRACE, SPAN))]),
        (
            TraceContext(TRACE, SPAN, b"", True, W3C | RANDOM),
            [(b"traceparent", b"00-%b-%b-03" % (TRACE, SPAN))],
        ),
        (
            TraceContext(TRACE, SPAN, b"", False, W3C | RANDOM),
            [(b"traceparent", b"00-%b-%b-02" % (TRACE, SPAN))],
        ),
        (
            TraceContext(TRACE[:16], SPAN, b"", True, W3C, b"a=1,b=2"),
            [(b"traceparent", b"00-%b%b-%b-01" % (b"0" * 16, TRACE[:16], SPAN)), (b"tracestate", b"a=1,b=2")],
        ),
    ],
)
def test_reads_what_it_writes(context: TraceContext, headers: list[Field]) -> None:
    written: list[Field] = []
    W3CTraceContext(Store().scope("c")).inject(context, written)
    assert written == headers
    assert W3CTraceContext(Store().scope("c")).extract(dict(headers), headers) == context


@pytest.mark.parametrize(
    ("flags", "sampled", "random"), [(b"fe", False, True), (b"fd", True, False), (b"ab", True, True)]
)
def test_other_flag_bits_are_not_ours(flags: bytes, sampled: bool, random: bool) -> None:
    context = parse_traceparent(b"00-%b-%b-%b" % (TRACE, SPAN, flags))
    assert context is not None
    assert context.sampled is sampled
    assert bool(context.flags & RANDOM) is random


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-0A" % (TRACE, SPAN),
        b"00-%b-%b-01\0" % (TRACE, SPAN),
        b"00-%b-%b-01-" % (TRACE, SPAN),
        b"00_%b-%b-01" % (TRACE, SPAN),
        b"fe-%b-%b-01.x" % (TRACE, SPAN),
        b"0" * 100_000,
        b"\xff" * 55,
    ],
)
def test_invalid_traceparents(value: bytes) -> None:
    assert parse_traceparent(value) is None


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        ([b"a=1"], b"a=1"),
        ([b""], b""),
        ([b"a=1", b"", b" ,b=2 "], b"a=1,b=2"),
        ([b"a= 1"], b"a= 1"),
        ([b"0a=1"], b"0a=1"),
        ([b"a=1,a=2"], b"a=1,a=2"),
        ([b"a=" + b"v" * 256], b"a=" + b"v" * 256),
        ([b"a=" + b"v" * 257], None),
        ([b"a=\x7f"], None),
        ([b"a=\x80"], None),
        ([b"a=1,=2"], None),
        ([b"a=1;b=2"], None),
        ([b"=".join([b"a"] * 30_000)], None),
        ([b"a=1," * 20_000], None),
        ([b"," * 64_000], b""),
    ],
)
def test_tracestate(lines: list[bytes], joined: bytes | None) -> None:
    assert join_tracestate(lines) == joined


@pytest.mark.parametrize(
    ("found", "flags", "counters"),
    [
        ([(b"tracestate", b"a=1")], None, ["tracestate_dropped"]),
        ([(b"traceparent", b"bad")], MALFORMED, ["restarted"]),
        ([(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN))] * 2, MALFORMED, ["restarted"]),
        (
            [(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN)), (b"tracestate", b"A=1")],
            W3C,
            ["accepted", "tracestate_dropped"],
        ),
        ([(b"traceparent", b"00-%b-%b-01" % (TRACE, SPAN)), (b"b3", b"1"), (b"b3", b"1")], W3C, ["accepted"]),
    ],
)
def test_counts(found: list[Field], flags: int | None, counters: list[str]) -> None:
    store = Store()
    context = W3CTraceContext(store.scope("c")).extract(dict(found[::-1]), found)
    assert (context.flags if context is not None else None) == flags
    assert context is None or context.tracestate == b""
    names = ("accepted", "restarted", "tracestate_dropped")
    assert [name for name in names if store.counters[f"c.w3c.{name}"].value] == counters
