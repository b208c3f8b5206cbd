"""Taken apart, a route's conditions together say what the whole RouteMatch says: of the same table, for any request."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.api.pool import new_message
from proxy.explain.why import Examiner, describe, parts
from tests.parity.route_cases import GROUPS
from tests.unit.router.tables import reader_of, request

ROUTES = "envoy.config.route.v3"
MATCHES: list[dict[str, Any]] = [
    route["match"] for group in GROUPS for host in group.config["virtual_hosts"] for route in host["routes"]
]
CONDITIONS = ("headers", "query_parameters", "grpc", "runtime_fraction")
ASKS = [ask for group in GROUPS for ask in group.asks]


@st.composite
def joined(draw: st.DrawFn) -> dict[str, Any]:
    """One route's path with the conditions of some others."""
    match = dict(draw(st.sampled_from(MATCHES)))
    for other in draw(st.lists(st.sampled_from(MATCHES), max_size=3)):
        for name in CONDITIONS:
            if isinstance(other.get(name), list):
                match[name] = [*match.get(name, []), *other[name]]
            elif name in other:
                match[name] = other[name]
    if draw(st.booleans()):
        match["runtime_fraction"] = {"default_value": {"numerator": draw(st.integers(0, 100))}}
    return match


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(joined(), st.sampled_from(ASKS), st.sampled_from(ASKS), st.floats(0.0, 0.99))
def test_all_conditions_hold_exactly_when_the_route_matches(match, ask, other, random):
    message = reader_of(f"{ROUTES}.RouteMatch", match).message
    headers = request(ask.path, [*ask.fields, *other.fields], ask.host)
    examiner = Examiner(new_message(f"{ROUTES}.RouteConfiguration"), headers, random, None)
    conditions = examiner.conditions(message)
    assert all(one.holds for one in conditions) == examiner.matches(message)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(joined())
def test_the_parts_are_the_whole(match):
    """Every set field is in exactly one part, so that none is passed over in silence."""
    message = reader_of(f"{ROUTES}.RouteMatch", match).message
    rebuilt = new_message(f"{ROUTES}.RouteMatch")
    for part in reversed(parts(message)):
        assert describe(part)
        rebuilt.MergeFrom(part.match)
    for field in ("headers", "query_parameters"):
        getattr(rebuilt, field).reverse()
    assert rebuilt == message
