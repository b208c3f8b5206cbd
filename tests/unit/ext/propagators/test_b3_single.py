"""The b3 header: what is written is read back; what was wrong is counted."""

from __future__ import annotations

import pytest

from proxy.base.headers import Field
from proxy.ext.propagators.b3_single import B3Single
from proxy.stats.store import Store
from proxy.tracing.context import DEBUG, MALFORMED, TraceContext

T64, T128, SPAN, PARENT = b"1" * 16, b"f" * 32, b"a" * 16, b"b" * 16
BAD = TraceContext(b"", b"", b"", None, MALFORMED)


@pytest.mark.parametrize(
    ("context", "value"),
    [
        (TraceContext(T64, SPAN, b"", True), T64 + b"-" + SPAN + b"-1"),
        (TraceContext(T128, SPAN, PARENT, False), T128 + b"-" + SPAN + b"-0-" + PARENT),
        (TraceContext(T64, SPAN, PARENT, True, DEBUG), T64 + b"-" + SPAN + b"-d-" + PARENT),
    ],
)
def test_reads_what_it_writes(context: TraceContext, value: bytes) -> None:
    written: list[Field] = []
    B3Single(Store().scope("c")).inject(context, written)
    assert written == [(b"b3", value)]
    assert B3Single(Store().scope("c")).extract({b"b3": value}, written) == context


@pytest.mark.parametrize(
    ("value", "context", "counters"),
    [
        (b"0", TraceContext(b"", b"", b"", False), []),
        (b"1", TraceContext(b"", b"", b"", True), []),
        (b"d", TraceContext(b"", b"", b"", True, DEBUG), []),
        (b" %b-%b " % (T64, SPAN), TraceContext(T64, SPAN), ["accepted"]),
        (b"%b-%b-1" % (T64, SPAN.upper()), TraceContext(T64, SPAN, b"", True), ["accepted"]),
        (b"%b-%b-x" % (T64, SPAN), TraceContext(T64, SPAN), ["accepted", "repaired"]),
        (b"%b-%b-1-zz" % (T64, SPAN), TraceContext(T64, SPAN, b"", True), ["accepted", "repaired"]),
        (b"%b-%b-1--" % (T64, SPAN), TraceContext(T64, SPAN, b"", True), ["accepted", "repaired"]),
        (b"", BAD, ["restarted"]),
        (b"-", BAD, ["restarted"]),
        (b"2", BAD, ["restarted"]),
        (T64, BAD, ["restarted"]),
        (b"%b-%b" % (b"0" * 16, SPAN), BAD, ["restarted"]),
        (b"%b-%b-1-%b-%b-%b" % (T64, SPAN, PARENT, PARENT, PARENT), BAD, ["restarted"]),
        (b"-" * 100_000, BAD, ["restarted"]),
    ],
)
def test_values(value: bytes, context: TraceContext, counters: list[str]) -> None:
    store = Store()
    assert B3Single(store.scope("c")).extract({b"b3": value}, [(b"b3", value)]) == context
    assert [
        name for name in ("accepted", "restarted", "repaired") if store.counters[f"c.b3_single.{name}"].value
    ] == counters


def test_absent() -> None:
    assert B3Single(Store().scope("c")).extract({b"x-b3-sampled": b"1"}, [(b"x-b3-sampled", b"1")]) is None
