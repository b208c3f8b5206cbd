"""The B3 table of the contract, row by row, and what else becomes of trace headers on their way through."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from proxy.base.headers import TRACE, Field
from tests.unit.tracing.world import BOTH, World, names, travel, zipkin

T64 = b"1234567890abcdef"
T128 = b"fedcba09876543211234567890abcdef"
SPAN = b"aaaaaaaaaaaaaaaa"
PARENT = b"bbbbbbbbbbbbbbbb"
TRACEPARENT = b"00-12345678901234567890123456789012-cccccccccccccccc-01"


def multi(*, trace: bytes = T64, span: bytes = SPAN, **more: bytes) -> list[Field]:
    extra = [(b"x-b3-" + name.encode(), value) for name, value in more.items()]
    return [(b"x-b3-traceid", trace), (b"x-b3-spanid", span), *extra]


@dataclass(frozen=True)
class Row:
    """sent: what an OUTBOUND proxy with B3 and W3C must send; "new" is any id that was not received.

    A row is also checked at 0 % sampling when ``decided``: what was received must win over the rate.
    """

    name: str
    got: list[Field]
    trace: bytes
    parent: bytes | None
    sampled: bytes | None = b"1"
    flags: bytes | None = None
    single: bytes | None = None
    reported: bool = True
    debug: bool = False
    decided: bool = True
    counters: list[str] = field(default_factory=list)


ROWS = [
    Row("64-bit trace id", multi(sampled=b"1"), T64, SPAN, counters=["b3_multi.accepted"]),
    Row("128-bit trace id", multi(trace=T128, sampled=b"1"), T128, SPAN),
    Row("no parent", multi(sampled=b"1"), T64, SPAN),
    Row("deny alone, single", [(b"b3", b"0")], b"new", None, None, None, b"0", reported=False),
    Row("deny alone, multi", [(b"x-b3-sampled", b"0")], b"new", None, b"0", reported=False),
    Row("debug alone, single", [(b"b3", b"d")], b"new", None, None, None, b"d", debug=True),
    Row("debug, single", [(b"b3", T64 + b"-" + SPAN + b"-d")], T64, SPAN, None, None, b"d", debug=True),
    Row("debug, multi", multi(flags=b"1"), T64, SPAN, None, b"1", debug=True),
    Row("debug beside sampled", multi(flags=b"1", sampled=b"1"), T64, SPAN, None, b"1", debug=True),
    Row("debug wins over deny", multi(flags=b"1", sampled=b"0"), T64, SPAN, None, b"1", debug=True),
    Row("flags 0 is no debug", multi(flags=b"0", sampled=b"1"), T64, SPAN),
    Row("sampled true", multi(sampled=b"true"), T64, SPAN),
    Row("sampled false", multi(sampled=b"false"), T64, SPAN, b"0", reported=False),
    Row("empty sampled is absent", multi(sampled=b""), T64, SPAN, decided=False),
    Row(
        "sampled d is debug",
        multi(sampled=b"d"),
        *(T64, SPAN, None, b"1"),
        debug=True,
        counters=["b3_multi.repaired"],
    ),
    Row(
        "sampled nonsense is absent",
        multi(sampled=b"2"),
        T64,
        SPAN,
        decided=False,
        counters=["b3_multi.repaired"],
    ),
    Row("ids without a decision", multi(), T64, SPAN, decided=False),
    Row(
        "trace id all zeros",
        multi(trace=b"0" * 16),
        *(b"new", None),
        decided=False,
        counters=["b3_multi.restarted"],
    ),
    Row("wide trace id all zeros", multi(trace=b"0" * 32), b"new", None, decided=False),
    Row("span id all zeros", multi(span=b"0" * 16), b"new", None, decided=False),
    Row("short id", multi(trace=b"abc"), b"new", None, decided=False),
    Row("id of 33 digits", multi(trace=b"1" * 33), b"new", None, decided=False),
    Row("id of 24 digits", multi(trace=b"1" * 24), b"new", None, decided=False),
    Row("no hex", multi(trace=b"zzz"), b"new", None, decided=False),
    Row("garbage keeps its denial", multi(trace=b"zzz", sampled=b"0"), b"new", None, b"0", reported=False),
    Row(
        "parent is a dash, single",
        [(b"b3", T64 + b"-" + SPAN + b"-1--")],
        *(T64, SPAN, None, None, b"1"),
        counters=["b3_single.repaired"],
    ),
    Row(
        "parent is a dash, multi",
        multi(sampled=b"1", parentspanid=b"-"),
        T64,
        SPAN,
        counters=["b3_multi.repaired"],
    ),
    Row("trace id without span id", [(b"x-b3-traceid", T64)], b"new", None, decided=False),
    Row("span id without trace id", [(b"x-b3-spanid", SPAN)], b"new", None, decided=False),
    Row("upper-case hex", multi(trace=T64.upper(), span=SPAN.upper(), sampled=b"1"), T64, SPAN),
    Row(
        "single and multi",
        [(b"b3", T64 + b"-" + SPAN + b"-1"), *multi(trace=b"9" * 16, span=b"8" * 16, sampled=b"0")],
        *(T64, SPAN, None, None, b"1"),
        counters=["b3_single.accepted"],
    ),
    Row(
        "bad single and good multi",
        [(b"b3", b"garbage"), *multi(sampled=b"1")],
        *(T64, SPAN, None, None, b"1"),
        counters=["b3_single.restarted", "b3_multi.accepted"],
    ),
    Row(
        "B3 and traceparent: a valid traceparent wins",
        [*multi(sampled=b"0"), (b"traceparent", TRACEPARENT)],
        *(TRACEPARENT[3:35], b"c" * 16),
        counters=["w3c.accepted"],
    ),
    Row(
        "B3 and a bad traceparent",
        [*multi(sampled=b"1"), (b"traceparent", TRACEPARENT + b"."), (b"tracestate", b"a=1")],
        *(T64, SPAN),
        counters=["w3c.restarted", "w3c.tracestate_dropped", "b3_multi.accepted"],
    ),
    Row(
        "duplicate header: first wins",
        [*multi(sampled=b"1"), *multi(trace=b"9" * 16, span=b"8" * 16)],
        T64,
        SPAN,
    ),
    Row("deny keeps the ids", multi(sampled=b"0"), T64, SPAN, b"0", reported=False),
    Row(
        "deny keeps the ids, single",
        [(b"b3", T64 + b"-" + SPAN + b"-0")],
        T64,
        SPAN,
        None,
        None,
        b"0",
        reported=False,
    ),
    Row("nothing at all", [], b"new", None, decided=False, counters=["absent"]),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("rate", [100, 0])
def test_b3_table(row: Row, rate: int) -> None:
    world = World()
    tracing = world.compile(
        {"provider": zipkin(trace_context_option=BOTH), "random_sampling": {"value": rate}}, "OUTBOUND"
    )
    stream = world.stream(*row.got)
    sent = travel(tracing, stream)
    kept = row.reported if row.decided else rate == 100
    decision = b"1" if kept else b"0"
    received = b" ".join(value for _, value in row.got)

    if row.single is not None:
        assert not [name for name in sent if name.startswith(b"x-b3")]
        trace_id, span_id, last, *parent = sent[b"b3"].split(b"-")
        assert last == (row.single if row.decided else decision)
    else:
        assert b"b3" not in sent
        trace_id, span_id = sent[b"x-b3-traceid"], sent[b"x-b3-spanid"]
        parent = [sent[b"x-b3-parentspanid"]] if b"x-b3-parentspanid" in sent else []
        assert sent.get(b"x-b3-flags") == row.flags
        assert sent.get(b"x-b3-sampled") == (row.sampled if row.decided or row.sampled is None else decision)
    assert (trace_id not in received) if row.trace == b"new" else (trace_id == row.trace)
    assert parent == ([row.parent] if row.parent else [])
    assert span_id not in received
    assert sent[b"traceparent"][:53] == b"00-%b-%b-" % (trace_id.rjust(32, b"0"), span_id)
    assert sent[b"traceparent"][53:] in ((b"01", b"03") if kept else (b"00", b"02"))
    assert (stream.span is not None) is kept
    assert bool(stream.trace.flags & 1) is row.debug
    for name in row.counters:
        assert world.counter(f"tracing.context.{name}") == 1, name


def test_a_shared_span_travels_unchanged() -> None:
    """INBOUND: the server's half of the client's span has the client's ids (B3), its parent included."""
    world = World()
    stream = world.stream(*multi(parentspanid=PARENT, sampled=b"1"))
    before = dict(stream.request_headers.fields)  # type: ignore[union-attr]
    sent = travel(world.compile({"provider": zipkin()}), stream)
    assert sent == {name: value for name, value in before.items() if name.startswith(b"x-b3")}


@pytest.mark.parametrize("spawn", [False, True])
def test_not_shared_when_the_configuration_says_so(spawn: bool) -> None:
    world = World()
    config = {"provider": zipkin(shared_span_context=False), "spawn_upstream_span": spawn}
    stream = world.stream(*multi(sampled=b"1"))
    world.compile(config).start(stream)
    assert stream.trace.parent_id_hex == SPAN
    assert stream.trace.span_id_hex != SPAN


def test_a_traceparent_id_is_never_shared() -> None:
    world = World()
    sent = travel(
        world.compile({"provider": zipkin(trace_context_option=BOTH)}),
        world.stream((b"traceparent", TRACEPARENT)),
    )
    assert sent[b"x-b3-parentspanid"] == b"c" * 16
    assert sent[b"traceparent"][36:52] == sent[b"x-b3-spanid"] != b"c" * 16


def test_plain_b3_answers_a_traceparent_with_both() -> None:
    """The caller's trace goes on, and whoever reads only W3C behind us still sees it."""
    world = World()
    stream = world.stream((b"traceparent", TRACEPARENT), (b"tracestate", b"foo=1"))
    sent = travel(world.compile({"provider": zipkin()}), stream)
    assert sent[b"x-b3-traceid"] == TRACEPARENT[3:35]
    assert sent[b"traceparent"] == TRACEPARENT[:36] + sent[b"x-b3-spanid"] + b"-01"
    assert sent[b"tracestate"] == b"foo=1"


def test_plain_b3_removes_a_broken_traceparent() -> None:
    world = World()
    stream = world.stream((b"traceparent", b"00-broken"), (b"tracestate", b"foo=1"))
    assert set(travel(world.compile({"provider": zipkin()}), stream)) == {
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-sampled",
    }


def test_rewritten_headers_move_to_the_end() -> None:
    """As in Envoy, whatever order they came in."""
    world = World()
    stream = world.stream(
        (b"x-b3-spanid", SPAN), (b"accept", b"*/*"), (b"x-b3-traceid", T64), (b"x-last", b"1")
    )
    travel(world.compile({"provider": zipkin()}, "OUTBOUND"), stream)
    assert names(stream.request_headers.fields) == [  # type: ignore[union-attr]
        *(b"accept", b"x-last", b"x-request-id"),
        *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled"),
    ]


@pytest.mark.parametrize(("lines", "at"), [([b"a=1"], 1), ([b"a=1 "], 5), ([b"a=1", b"b=2"], 5)])
def test_an_unchanged_tracestate_stays_where_it_is(lines: list[bytes], at: int) -> None:
    world = World()
    got = [(b"x", b"1"), *((b"tracestate", line) for line in lines), (b"traceparent", TRACEPARENT)]
    stream = world.stream(*got)
    sent = travel(world.compile({"provider": zipkin(trace_context_option=BOTH)}), stream)
    assert sent[b"tracestate"] == b",".join(line.strip() for line in lines)
    order = names(stream.request_headers.fields)  # type: ignore[union-attr]
    assert order.index(b"tracestate") == (at if at == 1 else len(order) - 1)


def test_new_headers_come_in_envoys_order() -> None:
    world = World()
    stream = world.stream((b"accept", b"*/*"))
    travel(world.compile({"provider": zipkin(trace_context_option=BOTH)}), stream)
    assert names(stream.request_headers.fields)[2:] == [  # type: ignore[union-attr]
        *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-sampled", b"traceparent"),
    ]
    assert stream.request_headers.known & TRACE  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "config", [{}, {"provider": zipkin(), "no_context_propagation": True}], ids=["no provider", "told not to"]
)
def test_headers_pass_untouched(config: dict[str, object]) -> None:
    world = World()
    stream = world.stream(*multi(trace=b"garbage"), (b"b3", b"0"))
    before = list(stream.request_headers.fields)[:-1]  # type: ignore[union-attr]
    tracing = world.compile(config)
    tracing.start(stream)
    tracing.inject(stream, stream.request_headers)  # type: ignore[arg-type]
    assert stream.request_headers.fields[:-1] == before  # type: ignore[union-attr]
