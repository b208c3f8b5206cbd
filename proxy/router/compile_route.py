"""Compiles one envoy.config.route.v3.Route into an index Entry: what it matches, and what a match gets."""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import chain
from typing import Final, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.router.compile_action import (
    WeightedPick,
    compile_action,
    compile_weighted,
)
from proxy.router.direct import DIRECT_BODY_LIMIT, compile_direct_response, compile_redirect
from proxy.router.filter_levels import FilterConfigs, Level
from proxy.router.header_ops import HeaderOps, compile_request_ops, compile_response_ops
from proxy.router.match import OTHER, PathMatch, compile_conditions, compile_path_match
from proxy.router.mirror_policy import MirrorPolicy, compile_mirrors
from proxy.router.path_index import Entry
from proxy.router.retry_policy import NO_POLICY, RetryPolicy
from proxy.router.rewrite import Matched
from proxy.router.route import NO_LIMIT, Route, VirtualHost
from proxy.router.stream_match import Asked, compile_stream_conditions
from proxy.runtime.runtime import Runtime
from proxy.tracing.compile import compile_route_tracing
from proxy.upstream.endpoints import compile_metadata

_NOWHERE: Final = PathMatch(OTHER, b"", None, Matched(None))


class Inherited(NamedTuple):
    """What a route takes from its virtual host and its route configuration.

    known_clusters: None when cluster names are not to be checked
    body_limit: bytes of a direct response's body; environ: environment variables, for bodies that stand in one
    without_policy: the tries of a request that asks for them itself, where no retry policy is
    asked: shows conditions the stream; retry_buffer_bytes: of bodies that may have to be sent again
    filters: reads typed_per_filter_config; filter_levels: those of the virtual host and the route configuration
    """

    virtual_host: VirtualHost
    environ: Mapping[str, str]
    runtime: Runtime
    filters: FilterConfigs
    asked: Asked
    known_clusters: Container[str] | None = None
    retry: RetryPolicy | None = None
    hedges: bool = False
    host_request: tuple[HeaderOps, ...] = ()
    host_response: tuple[HeaderOps, ...] = ()
    table_request: tuple[HeaderOps, ...] = ()
    table_response: tuple[HeaderOps, ...] = ()
    most_specific_wins: bool = False
    body_limit: int = DIRECT_BODY_LIMIT
    mirrors: tuple[MirrorPolicy, ...] = ()
    without_policy: RetryPolicy = NO_POLICY
    filter_levels: tuple[Level, ...] = ()
    retry_buffer_bytes: int = NO_LIMIT

    def in_order(self, *levels: tuple[HeaderOps, ...]) -> tuple[HeaderOps, ...]:
        """Levels given from the most specific, in order of evaluation: the last one wins."""
        return tuple(chain.from_iterable(reversed(levels) if self.most_specific_wins else levels))


@reads("envoy.config.route.v3.Route")
def compile_route(reader: Reader, order: int, inherited: Inherited) -> Entry:
    """envoy.config.route.v3.Route. Findings go to the reader; the Entry is usable in any case."""
    match = reader.sub("match")
    if match is None:
        reader.fail("match", "value is required")
    path_match = compile_path_match(match) if match is not None else _NOWHERE
    conditions = compile_conditions(match, inherited.runtime) if match is not None else ()
    if match is not None:
        conditions = (*conditions, *compile_stream_conditions(match, inherited.asked))
    route = Route(reader.text("name").encode(), inherited.virtual_host)
    own_request, own_response = compile_request_ops(reader), compile_response_ops(reader)
    route.request_ops = inherited.in_order(own_request, inherited.host_request, inherited.table_request)
    route.response_ops = inherited.in_order(own_response, inherited.host_response, inherited.table_response)
    _compile_tracing(reader, route, inherited)
    inherited.filters.give(route, inherited.filters.of(reader), *inherited.filter_levels)
    route.metadata = compile_metadata(reader.sub("metadata"))
    route.retry_buffer_bytes = reader.wrapped("per_request_buffer_limit_bytes", inherited.retry_buffer_bytes)
    route.stat_prefix = reader.text("stat_prefix")
    route.has_special_stats = bool(route.stat_prefix) or route.virtual_host.virtual_clusters is not None
    if route.stat_prefix:
        route.virtual_host.counted_routes.append(route)
    weighted = _compile_action(reader, route, inherited, path_match.matched)
    if weighted is None:
        return Entry(order, path_match, conditions, route)
    if weighted.watch is not None:
        conditions = (*conditions, weighted.has_weight)
    return Entry(order, path_match, conditions, route, weighted.pick)


@reads("envoy.config.route.v3.Route")
def _compile_action(
    reader: Reader, route: Route, inherited: Inherited, matched: Matched
) -> WeightedPick | None:
    redirect = reader.sub("redirect")
    if redirect is not None:
        route.redirect = compile_redirect(redirect, matched)
        return None
    direct = reader.sub("direct_response")
    if direct is not None:
        route.direct_response = compile_direct_response(direct, inherited.environ, inherited.body_limit)
        return None
    forward = reader.sub("route")
    if forward is None:
        if reader.which("action") is None:
            reader.fail("", "one of route, redirect, direct_response is required")
        return None
    route.forward = compile_action(
        forward,
        inherited.retry,
        inherited.hedges,
        inherited.known_clusters,
        matched,
        inherited.without_policy,
    )
    own_mirrors = compile_mirrors(forward, inherited.known_clusters, inherited.runtime)
    route.forward.mirrors = own_mirrors or inherited.mirrors
    route.forward.set_request_ops(route.request_ops)
    weighted = forward.sub("weighted_clusters")
    if weighted is None:
        return None
    return compile_weighted(weighted, route, inherited.known_clusters, inherited.runtime, inherited.filters)


@reads("envoy.config.route.v3.Route")
def _compile_tracing(reader: Reader, route: Route, inherited: Inherited) -> None:
    """decorator and tracing."""
    decorator = reader.sub("decorator")
    if decorator is not None:
        route.decorator_operation = decorator.text("operation").encode()
        route.decorator_propagate = decorator.wrapped("propagate", True)
    tracing = reader.sub("tracing")
    if tracing is not None:
        route.tracing = compile_route_tracing(tracing, inherited.environ, inherited.runtime)
