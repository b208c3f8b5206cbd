"""The decision: x-request-id's nibble, rates, forced and client traces (contract/envoy.md 2.3), as tables."""

from __future__ import annotations

import pytest

from proxy.base.headers import Field
from proxy.tracing.route_tracing import RouteTracing
from proxy.tracing.runtime_rates import follow_runtime
from proxy.tracing.sampler import Rates
from tests.support.runtime import runtime_of
from tests.unit.tracing.world import REQUEST_ID, World, request_id_of, travel, zipkin

CLIENT = (b"x-client-trace-id", b"me")
FORCE = (b"x-envoy-force-trace", b"1")
B3_YES = (b"x-b3-sampled", b"1")
B3_NO = (b"x-b3-sampled", b"0")


def with_nibble(nibble: bytes) -> bytes:
    return REQUEST_ID[:14] + nibble + REQUEST_ID[15:]


RATES = {
    "random 0": {"random_sampling": {"value": 0}},
    "client and random 0": {"random_sampling": {"value": 0}, "client_sampling": {"value": 0}},
    "overall 0": {"overall_sampling": {"value": 0}},
    "all": {},
}

#: headers, nibble that came, then per column of RATES: nibble that goes and whether the trace is kept
TABLE: list[tuple[list[Field], bytes, list[tuple[bytes, bool]]]] = [
    ([], b"4", [(b"4", False), (b"4", False), (b"4", False), (b"9", True)]),
    ([CLIENT], b"4", [(b"b", True), (b"4", False), (b"4", False), (b"b", True)]),
    ([FORCE], b"4", [(b"a", True), (b"a", True), (b"4", False), (b"a", True)]),
    ([], b"9", [(b"9", True), (b"9", True), (b"4", False), (b"9", True)]),
    ([], b"a", [(b"a", True), (b"a", True), (b"4", False), (b"a", True)]),
    ([], b"b", [(b"b", True), (b"b", True), (b"4", False), (b"b", True)]),
    ([], b"7", [(b"7", False), (b"7", False), (b"7", False), (b"9", True)]),
    ([B3_YES], b"4", [(b"4", True), (b"4", True), (b"4", True), (b"9", True)]),
    ([B3_NO], b"4", [(b"4", False), (b"4", False), (b"4", False), (b"9", False)]),
    ([B3_NO, FORCE], b"4", [(b"a", True), (b"a", True), (b"4", False), (b"a", True)]),
    ([B3_NO, CLIENT], b"4", [(b"b", False), (b"4", False), (b"4", False), (b"b", False)]),
]


@pytest.mark.parametrize("column", range(len(RATES)), ids=list(RATES))
@pytest.mark.parametrize(("fields", "came", "columns"), TABLE)
def test_decision(fields: list[Field], came: bytes, columns: list[tuple[bytes, bool]], column: int) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), **list(RATES.values())[column]})
    stream = world.stream(*fields, request_id=with_nibble(came))
    sent = travel(tracing, stream)
    goes, kept = columns[column]
    assert request_id_of(stream) == with_nibble(goes)
    assert sent[b"x-b3-sampled"] == (b"1" if kept else b"0")
    assert (stream.span is not None) is kept


@pytest.mark.parametrize(
    ("fields", "nibble", "counter"),
    [
        ([], b"4", "random_sampling"),
        ([], b"9", "random_sampling"),
        ([FORCE], b"4", "service_forced"),
        ([], b"a", "service_forced"),
        ([CLIENT], b"4", "client_enabled"),
        ([], b"b", "client_enabled"),
    ],
)
def test_counters(fields: list[Field], nibble: bytes, counter: str) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin()})
    tracing.start(world.stream(*fields, request_id=with_nibble(nibble)))
    names = ("random_sampling", "service_forced", "client_enabled", "not_traceable", "health_check")
    assert {name: world.counter(f"http.in.tracing.{name}") for name in names} == {
        name: int(name == counter) for name in names
    }


def test_not_traceable_is_counted() -> None:
    world = World()
    world.compile({"provider": zipkin(), "random_sampling": {"value": 0}}).start(world.stream())
    assert world.counter("http.in.tracing.not_traceable") == 1


def test_without_a_provider_the_decision_is_still_made() -> None:
    world = World()
    stream = world.stream()
    world.compile({}).start(stream)
    assert request_id_of(stream) == with_nibble(b"9")
    assert stream.trace is None
    assert stream.span is None


@pytest.mark.parametrize(
    ("number", "rate", "kept"),
    [(1233, 12.34, True), (1234, 12.34, False), (11233, 12.34, True), (9999, 99.99, False), (0, 0.01, True)],
)
def test_the_id_itself_is_drawn_from(number: int, rate: float, kept: bool) -> None:
    """Every hop with the same rate decides alike: the first 32 bits modulo 10,000, as Envoy."""
    world = World()
    stream = world.stream(request_id=b"%08x" % number + REQUEST_ID[8:])
    world.compile({"provider": zipkin(), "random_sampling": {"value": rate}}).start(stream)
    assert (stream.span is not None) is kept


@pytest.mark.parametrize("request_id", [b"abc", b"0x000001", b"1_000001", b" 0000001", b"+0000001"])
def test_an_id_that_is_no_uuid_is_sampled_all_the_same(request_id: bytes) -> None:
    """Also one that int(text, 16) would take."""
    world = World()
    tracing = world.compile({"provider": zipkin(), "random_sampling": {"value": 50}})
    kept = 0
    for _ in range(400):
        stream = world.stream(request_id=request_id)
        tracing.start(stream)
        kept += stream.span is not None
        assert request_id_of(stream) == request_id
    assert 140 < kept < 260
    assert world.counter("tracing.context.request_id_not_uuid") == 400


def test_no_request_id_at_all() -> None:
    world = World()
    stream = world.stream(request_id=None)
    world.compile({"provider": zipkin()}).start(stream)
    assert stream.span is not None


def own(**rates: float) -> RouteTracing:
    return RouteTracing(Rates(**rates))


class Route:
    """What tracing looks at in a route."""

    decorator_operation = None

    def __init__(self, rates: Rates | None) -> None:
        self.tracing = rates


@pytest.mark.parametrize(
    ("route", "kept"),
    [(Route(own(random=0.0)), False), (Route(own()), True), (Route(own(overall=0.0)), False)],
)
def test_a_route_overrides_the_rates(route: Route, kept: bool) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "random_sampling": {"value": 0 if kept else 100}})
    stream = world.stream()
    stream.route = route
    tracing.start(stream)
    assert (stream.span is not None) is kept


@pytest.mark.parametrize("by_route", [False, True])
def test_the_runtime_goes_before_what_is_configured(by_route: bool) -> None:
    runtime, change = runtime_of()
    world = World(runtime=runtime)
    none = {} if by_route else {"random_sampling": {"value": 0}}
    tracing = world.compile({"provider": zipkin(), **none})
    route = Route(RouteTracing(follow_runtime(Rates(random=0.0), runtime)) if by_route else None)

    def kept(*fields: Field) -> bool:
        stream = world.stream(*fields)
        stream.route = route
        tracing.start(stream)
        return stream.span is not None

    client = (b"x-client-trace-id", b"c")
    assert (kept(), kept(client)) == (False, True)
    change(tracing__random_sampling="100")
    assert kept()
    change(tracing__global_enabled="{numerator: 0, denominator: MILLION}")
    assert (kept(), kept(client)) == (False, False)
    change(tracing__random_sampling="", tracing__global_enabled="", tracing__client_enabled="0")
    assert (kept(), kept(client)) == (False, False)
    change(tracing__client_enabled="nonsense")
    assert kept(client)


def test_a_route_without_overrides() -> None:
    world = World()
    stream = world.stream()
    stream.route = Route(None)
    world.compile({"provider": zipkin(), "random_sampling": {"value": 0}}).start(stream)
    assert stream.span is None


def test_a_millionth_is_a_millionth() -> None:
    """Finer than Envoy, which draws in steps of 1/10000 whatever the denominator."""
    world = World()
    tracing = world.compile({"provider": zipkin()})
    for number, kept in ((4, True), (5, False), (10_004, False)):
        stream = world.stream(request_id=b"%08x" % number + REQUEST_ID[8:])
        tracing.rates = Rates(random=5e-6)
        tracing.start(stream)
        assert (stream.span is not None) is kept, number


@pytest.mark.parametrize(("rates", "kept"), [({"random_sampling": {"value": 0}}, False), ({}, True)])
def test_request_ids_that_do_not_carry_the_decision(rates: dict[str, object], kept: bool) -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), **rates})
    tracing.sampler.packs = False
    stream = world.stream(request_id=with_nibble(b"9"))
    travel(tracing, stream)
    assert ((stream.span is not None), request_id_of(stream)) == (kept, with_nibble(b"9"))


def test_nobody_but_the_tracer_decides() -> None:
    world = World()
    tracing = world.compile({"provider": zipkin(), "overall_sampling": {"value": 0}})
    tracing.sampler.asks = False
    stream = world.stream(request_id=with_nibble(b"4"))
    travel(tracing, stream)
    assert ((stream.span is not None), request_id_of(stream)) == (True, with_nibble(b"4"))
