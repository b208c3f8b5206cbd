"""Routes compiled: actions, weighted clusters, tracing, inheritance, refusals; RouteAction's own methods."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.router.route import Route
from proxy.router.route_table import RouteTable, compile_route_table
from tests.support.runtime import runtime_of
from tests.unit.router.tables import (
    ROUTES,
    Config,
    Context,
    findings_of,
    hosts,
    reader_of,
    request,
    routes,
    stream_of,
    table_of,
)

PREFIX = {"prefix": "/"}


def the_route(config: Config, **asked: Any) -> Route:
    headers = request(**asked)
    route = table_of(config).find(headers, stream_of(headers))
    assert route is not None
    return route


def action(**fields: Any) -> Config:
    return {"match": PREFIX, "route": {"cluster": "c", **fields}}


def test_defaults() -> None:
    route = the_route(routes({"name": "n", **action()}))
    forward = route.forward
    assert forward is not None and route.redirect is None and route.direct_response is None
    assert (route.name, route.decorator_operation, route.tracing) == (b"n", None, None)
    assert (forward.timeout_s, forward.idle_timeout_s, forward.priority) == (15.0, None, 0)
    assert (forward.retry, forward.per_try_timeout_s, forward.cluster_not_found_status) == (None, 0.0, 503)
    assert forward.choose_cluster(request(), stream_of()) == "c"


def test_every_plain_field() -> None:
    config = action(
        timeout="0s",
        idle_timeout="2.5s",
        priority="HIGH",
        cluster_not_found_response_code="INTERNAL_SERVER_ERROR",
        retry_policy={"retry_on": "5xx", "per_try_timeout": "0.5s"},
        auto_host_rewrite=True,
        append_x_forwarded_host=True,
    )
    forward = the_route(routes(config)).forward
    assert forward is not None and forward.retry is not None
    assert (forward.timeout_s, forward.idle_timeout_s, forward.priority) == (0.0, 2.5, 1)
    assert (forward.per_try_timeout_s, forward.cluster_not_found_status) == (0.5, 500)
    assert forward.auto_host_rewrite and forward.append_x_forwarded_host


def test_tracing_and_decorator() -> None:
    traced = {
        "decorator": {"operation": "op", "propagate": False},
        "tracing": {"random_sampling": {"numerator": 25}},
    }
    route = the_route(routes({**action(), **traced}))
    assert (route.decorator_operation, route.decorator_propagate) == (b"op", False)
    assert route.tracing is not None
    rates = route.tracing.rates
    assert (rates.client, rates.random, rates.overall) == (1.0, 0.25, 1.0)


def test_a_route_policy_replaces_the_virtual_hosts() -> None:
    config = routes(
        {"match": {"prefix": "/own"}, "route": {"cluster": "c", "retry_policy": {"num_retries": 7}}},
        action(),
        retry_policy={"retry_on": "5xx", "num_retries": 3, "per_try_timeout": "1s"},
    )
    own, inherited = the_route(config, path="/own").forward, the_route(config, path="/").forward
    assert own is not None and own.retry is not None and inherited is not None and inherited.retry is not None
    assert (own.retry.num_retries, own.retry.retry_on, own.per_try_timeout_s) == (7, 0, 0.0)
    assert (inherited.retry.num_retries, inherited.per_try_timeout_s) == (3, 1.0)


def test_cluster_header() -> None:
    forward = the_route(routes({"match": PREFIX, "route": {"cluster_header": "X-C"}})).forward
    assert forward is not None
    assert forward.choose_cluster(request(fields=[("x-c", "a"), ("x-c", "b")]), stream_of()) == "a"
    assert forward.choose_cluster(request(fields=[("x-c", "")]), stream_of()) is None
    assert forward.choose_cluster(request(), stream_of()) is None


@pytest.mark.parametrize("name", [":authority", "Host"])
def test_the_authority_can_name_the_cluster(name: str) -> None:
    forward = the_route(routes({"match": PREFIX, "route": {"cluster_header": name}})).forward
    assert forward is not None
    head = request()
    head.authority = b"a"
    assert forward.choose_cluster(head, stream_of()) == "a"


def weighted(*clusters: Config, **more: Any) -> Config:
    return routes(
        {
            "name": "n",
            "match": PREFIX,
            "route": {"timeout": "3s", "weighted_clusters": {"clusters": list(clusters), **more}},
        }
    )


def shares(table: RouteTable, count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for _ in range(count):
        headers = request()
        route = table.find(headers, stream_of(headers))
        assert route is not None and route.forward is not None and route.name == b"n"
        assert route.forward.timeout_s == 3.0
        name = route.forward.choose_cluster(headers, stream_of(headers)) or "none"
        found[name] = found.get(name, 0) + 1
    return found


def test_weighted_clusters_share_the_requests() -> None:
    clusters = [{"name": "a", "weight": 1}, {"name": "never", "weight": 0}, {"name": "b", "weight": 3}]
    found = shares(table_of(weighted(*clusters), seed=5), 4000)
    assert set(found) == {"a", "b"} and 850 < found["a"] < 1150


def test_the_runtime_moves_the_weights() -> None:
    runtime, change = runtime_of()
    context = Context(seed=5)
    context.runtime = runtime
    clusters = [{"name": "a", "weight": 1}, {"name": "b", "weight": 3}]
    config = weighted(*clusters, runtime_key_prefix="w")
    config["virtual_hosts"][0]["routes"].append({"match": PREFIX, "redirect": {}})
    table = compile_route_table(reader_of(f"{ROUTES}.RouteConfiguration", config), context)
    assert 850 < shares(table, 4000)["a"] < 1150
    change(w__a="9", other="1")
    assert 2850 < shares(table, 4000)["a"] < 3150
    change(w__b="0")
    assert shares(table, 50) == {"a": 50}
    for nothing in ({"w__a": "0"}, {"w__a": "4294967296"}):
        change(**nothing)
        found = table.find(request(), stream_of())
        assert found is not None and found.redirect is not None, "no weight: the next route is tried"
    change(w__a="", w__b="")
    assert 850 < shares(table, 4000)["a"] < 1150


def test_a_weighted_cluster_has_its_own_operations() -> None:
    added = [{"header": {"key": "x", "value": "%REQ(:authority)%"}}]
    one = {"name": "a", "weight": 1, "host_rewrite_literal": "w", "request_headers_to_add": added}
    config = weighted(one, {"cluster_header": "x-c", "weight": 1}, header_name="X-Draw")
    config["request_headers_to_add"] = added
    for draw, wanted in (("0", [(b"x", b"old"), (b"x", b"w")]), ("1", [(b"x", b"old")])):
        headers = request(fields=[("x-draw", draw)], host="old")
        route = the_route(config, fields=[("x-draw", draw)], host="old")
        stream = stream_of(headers)
        assert route.forward is not None
        route.forward.finalize_request(headers, stream)
        assert headers.fields[1:] == wanted


def test_finalize_request_can_leave_no_trace_of_the_original() -> None:
    forward = the_route(routes(action(prefix_rewrite="/n/", host_rewrite_literal="new"))).forward
    assert forward is not None
    headers = request("/a?b")
    forward.finalize_request(headers, stream_of(headers), keep_original=False)
    assert (headers.path, headers.authority, headers.fields) == (b"/n/a?b", b"new", [])


def test_auto_host() -> None:
    forward = the_route(routes(action(auto_host_rewrite=True))).forward
    assert forward is not None
    headers = request(host="old")
    forward.rewrite_auto_host(headers, "")
    assert headers.authority == b"old" and not headers.fields
    forward.rewrite_auto_host(headers, "up")
    assert headers.authority == b"up" and headers.get(b"x-envoy-original-host") == b"old"


def test_a_route_may_ask_for_retries_by_header() -> None:
    config = routes(
        {**action(), "request_headers_to_add": [{"header": {"key": "X-Envoy-Retry-On", "value": "5xx"}}]}
    )
    forward = the_route(config).forward
    assert forward is not None and forward.asks_for_retries
    plain = the_route(routes(action())).forward
    assert plain is not None and not plain.asks_for_retries


def test_response_operations_are_most_specific_first() -> None:
    def level(value: str) -> Config:
        return {"response_headers_to_add": [{"header": {"key": "x", "value": value}}]}

    table = hosts(
        {"name": "v", "domains": ["*"], "routes": [{**action(), **level("route")}], **level("host")},
        **level("table"),
    )
    for wins, wanted in ((False, [b"route", b"host", b"table"]), (True, [b"table", b"host", b"route"])):
        route = the_route({**table, "most_specific_header_mutations_wins": wins})
        headers = request()
        route.finalize_response(headers, stream_of(headers))
        assert headers.get_all(b"x") == wanted


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ({"match": PREFIX}, "", "one of route, redirect, direct_response"),
        ({"route": {"cluster": "c"}}, ".match", "required"),
        ({"match": PREFIX, "route": {}}, ".route", "one of cluster"),
        (action(prefix_rewrite="/a", path_rewrite="/b"), ".route", "only one of prefix_rewrite"),
        (action(path_rewrite="%NOPE%"), ".route.path_rewrite", "NOPE"),
        (action(host_rewrite="%NOPE%"), ".route.host_rewrite", "NOPE"),
        (
            action(internal_redirect_action="HANDLE_INTERNAL_REDIRECT"),
            ".route.internal_redirect_action",
            "not supported",
        ),
        ({"match": PREFIX, "filter_action": {}}, ".filter_action", "not supported"),
        (
            {
                **action(),
                "typed_per_filter_config": {"f": {"@type": "type.googleapis.com/google.protobuf.Empty"}},
            },
            ".typed_per_filter_config",
            "not supported",
        ),
        (
            {
                "match": {"prefix": "/", "filter_state": [{"key": "k", "string_match": {"exact": "v"}}]},
                "route": {"cluster": "c"},
            },
            ".match.filter_state",
            "not supported",
        ),
        (
            {"match": PREFIX, "route": {"weighted_clusters": {"clusters": [{"name": "c", "weight": 0}]}}},
            ".route.weighted_clusters.clusters",
            "greater than 0",
        ),
        (
            {"match": PREFIX, "route": {"weighted_clusters": {"clusters": [{"weight": 1}]}}},
            ".route.weighted_clusters.clusters[0].name",
            "exactly one",
        ),
        (
            {
                "match": PREFIX,
                "route": {
                    "weighted_clusters": {
                        "clusters": [{"name": "c", "weight": 4294967295}, {"name": "c", "weight": 1}]
                    }
                },
            },
            ".route.weighted_clusters.clusters",
            "exceeds",
        ),
    ],
)
def test_refused_routes(route: Config, path: str, words: str) -> None:
    findings = findings_of(routes(route), {"c"})
    assert [finding.path for finding in findings] == ["virtual_hosts[0].routes[0]" + path]
    assert words in findings[0].message


def test_what_changes_nothing_is_taken_with_a_warning() -> None:
    lb = {"filter_metadata": {"envoy.lb": {"v": "1"}}}
    weighted = {"clusters": [{"name": "c", "weight": 1, "metadata_match": lb}]}
    config = routes(action(metadata_match=lb), {"match": PREFIX, "route": {"weighted_clusters": weighted}})
    reader = reader_of(f"{ROUTES}.RouteConfiguration", config)
    compile_route_table(reader, Context())
    assert not reader.errors.findings
    place = "virtual_hosts[0].routes"
    assert [warning.path for warning in reader.errors.warnings] == [
        f"{place}[0].route.metadata_match",
        f"{place}[1].route.weighted_clusters.clusters[0].metadata_match",
    ]
