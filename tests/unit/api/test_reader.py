"""The Reader: typed access, marks of what was read, findings with their place."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.errors import Errors
from proxy.api.load import load_text
from proxy.api.pool import new_message
from proxy.api.reader import Reader, reads, unread
from proxy.base.errors import ConfigRefused

CLUSTER = "envoy.config.cluster.v3.Cluster"
ROUTE = "envoy.config.route.v3.Route"
TEXT = """\
name: c
connect_timeout: 1.5s
lb_policy: RANDOM
respect_dns_ttl: true
per_connection_buffer_limit_bytes: 5
common_lb_config: {healthy_panic_threshold: {value: 25}}
circuit_breakers: {thresholds: [{max_requests: 3}, {priority: HIGH}]}
metadata: {filter_metadata: {envoy.lb: {a: 1}}}
typed_extension_protocol_options:
  x: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
"""


def reader(text: str = TEXT, type_name: str = CLUSTER) -> Reader:
    loaded = load_text(type_name, text, "c.yaml")
    loaded.errors.raise_if_any()
    return loaded.reader()


def test_scalars_and_values() -> None:
    cluster = reader()
    assert cluster.type_name == CLUSTER
    assert cluster.text("name") == "c"
    assert cluster.flag("respect_dns_ttl") is True
    assert cluster.enum("lb_policy") == "RANDOM"
    assert cluster.seconds("connect_timeout") == 1.5
    assert cluster.seconds("dns_refresh_rate", 5.0) == 5.0
    assert cluster.wrapped("per_connection_buffer_limit_bytes", 7) == 5
    assert cluster.wrapped("upstream_config", "no") == "no"


def test_children_are_the_same_objects_every_time() -> None:
    cluster = reader()
    breakers = cluster.sub("circuit_breakers")
    assert breakers is not None
    assert breakers is cluster.sub("circuit_breakers")
    first, second = breakers.each("thresholds")
    assert [first, second] == breakers.each("thresholds")
    assert second.path == "circuit_breakers.thresholds[1]"
    assert second.enum("priority") == "HIGH"
    assert cluster.sub("outlier_detection") is None


def test_maps_any_and_structs() -> None:
    cluster = reader()
    metadata = cluster.sub("metadata")
    assert metadata is not None
    [(key, value)] = metadata.entries("filter_metadata").items()
    assert (key, value.path) == ("envoy.lb", 'metadata.filter_metadata["envoy.lb"]')
    [inner] = cluster.entries("typed_extension_protocol_options").values()
    assert inner.type_name == "envoy.extensions.filters.http.router.v3.Router"
    assert inner.flag("suppress_envoy_headers")
    node = reader("metadata: {a: {b: [1, ~]}}", "envoy.config.core.v3.Node")
    assert node.struct("metadata") == {"a": {"b": [1, None]}}
    assert reader("id: x", "envoy.config.core.v3.Node").struct("metadata") == {}


def test_percent_and_fraction() -> None:
    lb = reader().sub("common_lb_config")
    assert lb is not None
    assert lb.percent("healthy_panic_threshold", 50) == 25
    match = "{prefix: /, runtime_fraction: {runtime_key: k, default_value: {numerator: 5, denominator: TEN_THOUSAND}}}"
    route = reader(f"match: {match}\nredirect: {{}}", ROUTE).sub("match")
    assert route is not None
    assert route.fraction("runtime_fraction", 1.0) == 0.0005
    [warning] = route.errors.warnings
    assert warning.path == "match.runtime_fraction"
    assert '"k" has no effect' in warning.message


def test_oneofs() -> None:
    route = reader("match: {prefix: /}\nredirect: {}", ROUTE)
    assert route.which("action") == "redirect"
    assert route.has("redirect")
    assert not route.has("route")
    assert {finding.path for finding in unread(route)} == {"match", "redirect"}, "asking is not reading"


def test_unread_names_each_set_field_once_with_its_place() -> None:
    cluster = reader()
    cluster.text("name")
    breakers = cluster.sub("circuit_breakers")
    assert breakers is not None
    breakers.each("thresholds")[0].wrapped("max_requests", 0)
    [inner] = cluster.entries("typed_extension_protocol_options").values()
    found = {(finding.path, finding.line) for finding in unread(cluster)}
    assert found == {
        ("connect_timeout", 2),
        ("lb_policy", 3),
        ("respect_dns_ttl", 4),
        ("per_connection_buffer_limit_bytes", 5),
        ("common_lb_config", 6),
        ("circuit_breakers.thresholds[1].priority", 7),
        ("metadata", 8),
        (f"{inner.path}.suppress_envoy_headers", 10),
    }
    assert {finding.kind for finding in unread(cluster)} == {"unsupported"}


def test_a_scalar_at_its_default_counts_as_unset() -> None:
    cluster = reader(
        "name: c\nlb_policy: ROUND_ROBIN\nrespect_dns_ttl: false\nclose_connections_on_host_health_failure: no"
    )
    cluster.text("name")
    assert unread(cluster) == []


def test_nothing_is_unread_when_all_is_read() -> None:
    cluster = reader("name: c\nconnect_timeout: 1s")
    cluster.text("name")
    cluster.seconds("connect_timeout")
    assert unread(cluster) == []


def test_findings() -> None:
    cluster = reader()
    cluster.ignore("lb_policy", "alt_stat_name", why="one host only")
    cluster.unsupported("metadata", "no subsets here")
    cluster.unsupported("outlier_detection")
    cluster.fail("name", "is taken")
    cluster.fail("", "is odd")
    errors = cluster.errors
    assert [str(finding) for finding in errors.findings] == [
        "c.yaml:8:1: metadata: no subsets here",
        "c.yaml:1:1: name: is taken",
        "c.yaml:1:1: is odd",
    ]
    assert [finding.kind for finding in errors.findings] == ["unsupported", "invalid", "invalid"]
    assert "c.yaml:3:1: lb_policy: has no effect here: one host only" in [str(one) for one in errors.warnings]
    assert not any(warning.path == "alt_stat_name" for warning in errors.warnings), "it is not set"
    assert "lb_policy" not in {finding.path for finding in unread(cluster)}
    with pytest.raises(ConfigRefused) as caught:
        errors.raise_if_any()
    assert len(caught.value.findings) == 3


def test_a_finding_speaks_for_what_is_below() -> None:
    cluster = reader()
    for field in ("name", "connect_timeout", "lb_policy", "respect_dns_ttl", "metadata"):
        cluster.ignore(field, why="it does not matter here")
    cluster.sub("circuit_breakers")
    cluster.unsupported("circuit_breakers", "breakers are not supported")
    for entry in cluster.entries("typed_extension_protocol_options").values():
        entry.unsupported("", "is not known")
    cluster.settle("common_lb_config")
    assert cluster.is_settled("common_lb_config")
    assert [finding.path for finding in unread(cluster)] == ["per_connection_buffer_limit_bytes"]


def test_a_finding_may_leave_what_is_below_to_others() -> None:
    cluster = reader()
    breakers = cluster.sub("circuit_breakers")
    assert breakers is not None
    breakers.each("thresholds")
    cluster.unsupported("circuit_breakers", "breakers are not supported", whole=False)
    assert "circuit_breakers.thresholds[0].max_requests" in {finding.path for finding in unread(cluster)}


def test_a_negative_duration_is_a_finding() -> None:
    message: Any = new_message("envoy.config.route.v3.RouteAction")
    message.timeout.seconds = -1
    route = Reader(message)
    assert route.seconds("timeout", 5.0) == 5.0
    assert [str(one) for one in route.errors.findings] == ["timeout: must not be negative"]
    loaded = load_text("envoy.config.route.v3.RouteAction", "cluster: a\ntimeout: -1s", "c.yaml")
    assert [str(one) for one in loaded.errors.findings] == ["c.yaml:2:1: timeout: must not be negative"]


def settled(first: list[tuple[str, str]], later: list[tuple[str, str, str]]) -> list[str]:
    errors = Errors()
    for path, message in first:
        errors.at(None, path, message)
    known = len(errors.findings)
    for path, message, kind in later:
        errors.at(None, path, message, kind)
    errors.settle(known)
    return [one.path for one in errors.findings[known:]] + [f"!{one.path}" for one in errors.warnings]


def test_what_only_follows_is_left_out() -> None:
    first = [("listeners[0].filters[0].stat_prefx", "is no field of X")]
    assert settled(
        first,
        [
            ("listeners[0].filters[0].stat_prefix", "is missing", "invalid"),
            ("listeners[0].filters[0].routes[1].cluster", "unknown cluster", "invalid"),
            ("listeners[0].filters", "there are none", "unsupported"),
            ("listeners[0].filters[0].upgrades", "is not supported", "unsupported"),
            ("listeners[1].filters[0].routes", "is missing", "invalid"),
        ],
    ) == ["listeners[0].filters[0].upgrades", "listeners[1].filters[0].routes"]


def test_clusters_that_could_not_be_read_are_not_missed() -> None:
    unknown = [("listeners[0].route.cluster", "unknown cluster 'a'", "invalid")]
    assert settled([("static_resources.clusters[0].nam", "is no field of Cluster")], unknown) == []
    assert settled([("static_resources.clusters[0].type", "has no value X")], unknown) == [unknown[0][0]]


def test_no_warnings_about_parts_of_what_is_refused() -> None:
    later = [
        ("a.b", "is not supported", "unsupported"),
        ("a.b.c", "is deprecated", "warning"),
        ("a.bc", "is deprecated", "warning"),
    ]
    assert settled([], later) == ["a.b", "!a.bc"]


def test_the_same_finding_is_kept_once() -> None:
    errors = Errors()
    for _ in range(2):
        errors.at(None, "a.b", "is wrong")
    assert len(errors.findings) == 1
    assert errors


FOREIGN = """\
name: f
typed_config:
  "@type": type.googleapis.com/{package}.TypedStruct
  type_url: type.googleapis.com/stats.PluginConfig
  value: {{a: [1, b]}}
"""


@pytest.mark.parametrize("package", ["xds.type.v3", "udpa.type.v1"])
def test_a_typed_struct_of_a_type_outside_the_schema_is_the_extension_s_to_read(package: str) -> None:
    extension = reader(FOREIGN.format(package=package), "envoy.config.core.v3.TypedExtensionConfig")
    config = extension.any("typed_config")
    assert config is not None and config is extension.any("typed_config")
    assert config.type_name == "stats.PluginConfig"
    extension.text("name")
    assert [finding.path for finding in unread(extension)] == ["typed_config.value"], "nobody read it yet"
    assert config.struct("value") == {"a": [1, "b"]}
    assert unread(extension) == []
    config.fail("value", "is no good")
    assert [(one.path, one.line) for one in extension.errors.findings] == [("typed_config.value", 5)]


def test_elsewhere_a_type_outside_the_schema_is_a_finding() -> None:
    extension = reader(FOREIGN.format(package="xds.type.v3"), "envoy.config.core.v3.TypedExtensionConfig")
    assert extension.sub("typed_config") is None
    [finding] = extension.errors.findings
    assert (finding.path, finding.line, finding.kind) == ("typed_config.value", 5, "unsupported")
    assert "stats.PluginConfig" in finding.message


def test_mistakes_of_the_caller_raise() -> None:
    cluster = reader()
    with pytest.raises(KeyError, match="has no field nmae"):
        cluster.text("nmae")
    with pytest.raises(TypeError):
        cluster.number("name")
    with pytest.raises(TypeError):
        cluster.struct("metadata")


def test_reads_changes_nothing() -> None:
    def compile_it(one: Reader) -> str:
        return one.text("name")

    assert reads(CLUSTER)(compile_it) is compile_it


HOST = "envoy.config.route.v3.VirtualHost"
ROUTES = """\
name: h
domains: ["*"]
routes:
- {match: {prefix: /a}, route: {cluster: c}}
- {match: {prefix: /b}, route: {cluster: c}, name: second}
- {match: {prefix: /c}, route: {cluster: c}}
"""


def read_route(route: Reader) -> None:
    match, forward = route.sub("match"), route.sub("route")
    assert match is not None and forward is not None
    match.text("prefix")
    forward.text("cluster")


def test_what_is_read_in_turn_is_let_go_once_all_of_it_is_read() -> None:
    host = reader(ROUTES, HOST)
    for route in host.in_turn("routes"):
        read_route(route)
    assert host.unread() == ["name", "domains", "routes[1].name"]
    assert [left.path for left in host._read["routes"].children] == ["routes[1]"]


def test_a_finding_about_a_child_read_in_turn_has_its_place() -> None:
    host = reader(ROUTES, HOST)
    for route in host.in_turn("routes"):
        read_route(route)
        route.fail("match", "no")
    places = [(finding.path, finding.line) for finding in host.errors.findings]
    assert places == [("routes[0].match", 4), ("routes[1].match", 5), ("routes[2].match", 6)]


def test_who_stops_in_the_middle_has_not_read_the_field() -> None:
    host = reader(ROUTES, HOST)
    for route in host.in_turn("routes"):
        read_route(route)
        break
    assert "routes" in host.unread()


def test_what_is_read_in_turn_is_read_once() -> None:
    host = reader(ROUTES, HOST)
    assert len(list(host.in_turn("routes"))) == 3
    with pytest.raises(TypeError, match=r"VirtualHost\.routes is read in turn, and was read already"):
        list(host.in_turn("routes"))
    with pytest.raises(TypeError, match="read already"):
        host.each("routes")
    assert list(host.in_turn("virtual_clusters")) == []
    with pytest.raises(KeyError, match="no field route"):
        list(host.in_turn("route"))
