"""Laws of propagation: what one proxy writes the next one reads; garbage in, one valid context out."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.base.headers import Field
from proxy.ext.propagators.b3_multi import B3Multi
from proxy.ext.propagators.b3_single import B3Single
from proxy.ext.propagators.w3c import W3CTraceContext, join_tracestate
from proxy.stats.store import Store
from proxy.tracing.context import DEBUG, RANDOM, TRACE_NAMES, W3C, TraceContext
from tests.unit.tracing.world import BOTH, World, request_id_of, travel, zipkin

ids = st.integers(1, 2**64 - 1).map(lambda number: b"%016x" % number)
wide = st.integers(2**64, 2**128 - 1).map(lambda number: b"%032x" % number)
keys = st.from_regex(rb"\A[a-z0-9][a-z0-9_\-*/@]{0,20}\Z")
state_values = st.from_regex(rb"\A[ -+\--<>-~]{0,20}[!-+\--<>-~]\Z")
states = st.lists(st.builds(lambda key, value: key + b"=" + value, keys, state_values), max_size=32)
header_bytes = st.binary(max_size=80) | st.text("0123456789abcdefABCDEF-d ,=\t", max_size=80).map(str.encode)
trace_headers = st.lists(st.tuples(st.sampled_from(sorted(TRACE_NAMES)), header_bytes), max_size=10)
LAWS = settings(max_examples=150, deadline=None)


@LAWS
@given(ids | wide, ids, ids | st.just(b""), st.booleans(), st.booleans())
def test_b3_round_trips(
    trace_id: bytes, span_id: bytes, parent_id: bytes, sampled: bool, debug: bool
) -> None:
    context = TraceContext(trace_id, span_id, parent_id, sampled or debug, DEBUG if debug else 0)
    for propagator in (B3Single(Store().scope("c")), B3Multi(Store().scope("c"))):
        written: list[Field] = []
        propagator.inject(context, written)
        assert propagator.extract(dict(written), written) == context


@LAWS
@given(ids | wide, ids, st.booleans(), st.booleans(), states)
def test_w3c_round_trips(
    trace_id: bytes, span_id: bytes, sampled: bool, random: bool, members: list[bytes]
) -> None:
    flags = W3C | RANDOM if random else W3C
    context = TraceContext(trace_id, span_id, b"", sampled, flags, b",".join(members))
    propagator = W3CTraceContext(Store().scope("c"))
    written: list[Field] = []
    propagator.inject(context, written)
    assert propagator.extract(dict(written), written) == context


@LAWS
@given(st.lists(states, max_size=3), st.sampled_from([b",", b" , ", b"\t,\t", b",,"]))
def test_tracestate_joins_in_order(lines: list[list[bytes]], comma: bytes) -> None:
    members = [member for line in lines for member in line]
    joined = join_tracestate([comma.join(line) for line in lines])
    assert joined == (b",".join(members) if len(members) <= 32 else None)


@LAWS
@given(
    trace_headers, st.sampled_from(["INBOUND", "OUTBOUND"]), st.sampled_from(["USE_B3", BOTH]), st.booleans()
)
def test_whatever_comes_one_context_goes_on(
    got: list[Field], direction: str, option: str, spawn: bool
) -> None:
    """Never a crash, never a stale or contradictory header; and the next proxy takes what this one wrote."""
    world = World()
    config = {"provider": zipkin(trace_context_option=option), "spawn_upstream_span": spawn}
    tracing = world.compile(config, direction)
    stream = world.stream(*got)
    headers = stream.request_headers
    assert headers is not None
    tracing.start(stream)
    tracing.inject(stream, headers)
    tracing.start_upstream(stream, headers)
    sent = {name: value for name, value in headers.fields if name in TRACE_NAMES}
    assert len(sent) == sum(name in TRACE_NAMES for name, _ in headers.fields)

    if b"b3" in sent:
        single = re.fullmatch(rb"([0-9a-f]{16,32})-([0-9a-f]{16})-([01d])(?:-[0-9a-f]{16})?", sent[b"b3"])
        assert single is not None
        trace_id, span_id = single[1], single[2]
        assert not any(name.startswith(b"x-b3") for name in sent)
    else:
        trace_id, span_id = sent[b"x-b3-traceid"], sent[b"x-b3-spanid"]
        assert (b"x-b3-sampled" in sent) != (b"x-b3-flags" in sent)
    assert option != BOTH or b"traceparent" in sent
    if b"traceparent" in sent:
        assert sent[b"traceparent"][3:52] == trace_id.rjust(32, b"0") + b"-" + span_id
    assert b"tracestate" not in sent or b"traceparent" in sent

    following = World()
    onward = following.stream(*sent.items())
    following.compile({"provider": zipkin()}, "OUTBOUND").start(onward)
    assert onward.trace.trace_id_hex == trace_id
    assert onward.trace.parent_id_hex == span_id
    assert onward.trace.sampled is stream.trace.sampled


@LAWS
@given(st.binary(max_size=60), st.floats(0, 100))
def test_any_request_id(request_id: bytes, rate: float) -> None:
    """Only the 15th character ever changes, and only in ids of a UUID's length."""
    world = World()
    tracing = world.compile({"provider": zipkin(), "random_sampling": {"value": rate}})
    stream = world.stream(request_id=request_id)
    travel(tracing, stream)
    after = request_id_of(stream)
    if len(request_id) == 36:
        assert after[:14] + after[15:] == request_id[:14] + request_id[15:]
    else:
        assert after == request_id
