"""X-B3-* headers: what is written is read back; what was wrong is counted."""

from __future__ import annotations

import pytest

from proxy.base.headers import Field
from proxy.ext.propagators.b3_multi import B3Multi
from proxy.stats.store import Store
from proxy.tracing.context import DEBUG, MALFORMED, TraceContext

T64, T128, SPAN, PARENT = b"1" * 16, b"f" * 32, b"a" * 16, b"b" * 16
CASES = [
    (
        TraceContext(T64, SPAN, b"", True),
        [(b"x-b3-traceid", T64), (b"x-b3-spanid", SPAN), (b"x-b3-sampled", b"1")],
    ),
    (
        TraceContext(T128, SPAN, PARENT, False),
        [
            (b"x-b3-traceid", T128),
            (b"x-b3-spanid", SPAN),
            (b"x-b3-parentspanid", PARENT),
            (b"x-b3-sampled", b"0"),
        ],
    ),
    (
        TraceContext(T64, SPAN, b"", True, DEBUG),
        [(b"x-b3-traceid", T64), (b"x-b3-spanid", SPAN), (b"x-b3-flags", b"1")],
    ),
]


def extract(store: Store, found: list[Field]) -> TraceContext | None:
    return B3Multi(store.scope("c")).extract(dict(found[::-1]), found)


@pytest.mark.parametrize(("context", "headers"), CASES)
def test_reads_what_it_writes(context: TraceContext, headers: list[Field]) -> None:
    written: list[Field] = []
    B3Multi(Store().scope("c")).inject(context, written)
    assert written == headers
    assert extract(Store(), headers) == context


@pytest.mark.parametrize(
    ("found", "context", "counter"),
    [
        ([], None, None),
        ([(b"b3", b"0"), (b"traceparent", b"x")], None, None),
        ([(b"x-b3-sampled", b"")], None, None),
        ([(b"x-b3-sampled", b"0")], TraceContext(b"", b"", b"", False), None),
        ([(b"x-b3-flags", b"1")], TraceContext(b"", b"", b"", True, DEBUG), None),
        ([(b"x-b3-traceid", b"x")], TraceContext(b"", b"", b"", None, MALFORMED), "restarted"),
        (
            [(b"x-b3-traceid", T64 + b"\0"), (b"x-b3-spanid", SPAN)],
            TraceContext(b"", b"", flags=MALFORMED),
            "restarted",
        ),
        ([(b"x-b3-traceid", b" " + T64), (b"x-b3-spanid", SPAN)], TraceContext(T64, SPAN), "accepted"),
        (
            [(b"x-b3-traceid", T64), (b"x-b3-spanid", SPAN), (b"x-b3-sampled", b"2")],
            TraceContext(T64, SPAN),
            "repaired",
        ),
    ],
)
def test_what_is_not_a_whole_context(
    found: list[Field], context: TraceContext | None, counter: str | None
) -> None:
    store = Store()
    assert extract(store, found) == context
    counted = {
        name: store.counters[f"c.b3_multi.{name}"].value for name in ("accepted", "restarted", "repaired")
    }
    assert {name for name, value in counted.items() if value} - {"accepted"} == {counter} - {None, "accepted"}
    assert counted["accepted"] == int(bool(context and context.trace_id_hex))
