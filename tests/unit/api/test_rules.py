"""The API's own rules, one of each kind, and where they are told."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.convert import Converter
from proxy.api.pool import UnknownType, descriptor, new_message, pool
from proxy.api.rules import rules_of
from proxy.api.validate import validate

V3 = "envoy.config"
STATE = "envoy.config.core.v3.SocketOption"


def violations(type_name: str, value: Any) -> list[tuple[str, str]]:
    message = new_message(type_name)
    Converter(lambda *finding: pytest.fail(str(finding))).fill(message, value)
    found: list[tuple[str, str]] = []
    validate(message, lambda path, text, kind: found.append((path, text)) if kind == "invalid" else None)
    return found


CASES: list[tuple[str, Any, str, str]] = [
    # (message, value, path, sentence)
    (f"{V3}.cluster.v3.Cluster", {}, "name", "must not be empty"),
    (f"{V3}.cluster.v3.Cluster", {"name": "a", "lb_policy": 99}, "lb_policy", "has no value 99; one of ROUND_ROBIN"),
    (f"{V3}.cluster.v3.Cluster", {"name": "a", "connect_timeout": "0s"}, "connect_timeout", "must be longer than 0s"),
    (f"{V3}.core.v3.Pipe", {"path": "a", "mode": 512}, "mode", "must be at most 511, not 512"),
    (f"{V3}.core.v3.SocketAddress", {"address": "a"}, "", "needs one of port_value, named_port"),
    (f"{V3}.core.v3.Address", {}, "", "needs one of socket_address, pipe"),
    (f"{V3}.core.v3.ExtraSourceAddress", {}, "address", "must be set"),
    (f"{V3}.core.v3.BackoffStrategy", {}, "base_interval", "must be set"),
    (f"{V3}.core.v3.BackoffStrategy", {"base_interval": "0s"}, "base_interval", "must be at least 0.001s, not 0s"),
    (f"{V3}.core.v3.HeaderValue", {"key": "a\rb"}, "key", "holds a NUL, CR or LF"),
    (f"{V3}.core.v3.HeaderValue", {"key": "k", "value": "x" * 16385}, "value", "must have at most 16384 bytes"),
    (f"{V3}.core.v3.TypedExtensionConfig", {"name": "a"}, "typed_config", "must be set"),
    ("envoy.type.v3.Percent", {"value": 101}, "value", "must be at most 100, not 101"),
    ("envoy.type.v3.Percent", {"value": -1}, "value", "must be at least 0, not -1"),
    ("envoy.type.matcher.v3.ListStringMatcher", {}, "patterns", "must have at least 1 element"),
    (f"{V3}.route.v3.RouteMatch", {"path_separated_prefix": "/a?"}, "path_separated_prefix", "must match ^[^?#]+[^?#/]$"),
    (f"{V3}.accesslog.v3.ResponseFlagFilter", {"flags": ["NR", "XX"]}, "flags[1]", 'must be one of "LH", '),
    (f"{V3}.core.v3.SchemeHeaderTransformation", {"scheme_to_overwrite": "ftp"}, "scheme_to_overwrite", 'one of "http", "https"'),
    (f"{V3}.metrics.v3.HistogramBucketSettings", {"match": {"prefix": "a"}, "buckets": [1, 0]}, "buckets[1]", "greater than 0"),
    (f"{V3}.core.v3.Metadata", {"filter_metadata": {"": {}}}, 'filter_metadata[""]', "has a key that must not be empty"),
    (f"{V3}.listener.v3.ListenerFilterChainMatchPredicate", {"any_match": False}, "any_match", "must be true"),
    (f"{V3}.route.v3.InternalRedirectPolicy", {"response_headers_to_copy": ["a", "a"]}, "response_headers_to_copy", "twice"),
    (f"{V3}.core.v3.HealthCheck.HttpHealthCheck", {"path": "/", "method": "CONNECT"}, "method", "must not be CONNECT"),
    (f"{V3}.core.v3.HealthCheck.HttpHealthCheck", {"path": "/", "response_buffer_size": 0}, "", ""),
    ("envoy.extensions.filters.http.file_server.v3.FileServerConfig", {"content_types": {"A": "a"}}, 'content_types["A"]', "has a key"),
    (f"{V3}.cluster.v3.OutlierDetection", {"max_ejection_percent": 101}, "max_ejection_percent", "at most 100, not 101"),
]  # fmt: skip


@pytest.mark.parametrize(("type_name", "value", "path", "said"), CASES)
def test_each_kind(type_name: str, value: Any, path: str, said: str) -> None:
    found = violations(type_name, value)
    if not said:
        assert found == []
        return
    assert [(where, text) for where, text in found if where == path and said in text], found


def test_paths_go_through_lists_maps_and_any() -> None:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    plain = {"@type": f"x/{options}"}
    struct = {"@type": "x/xds.type.v3.TypedStruct", "type_url": f"x/{options}", "value": {}}
    cluster = {"name": "a", "typed_extension_protocol_options": {"p": plain, "s": struct}}
    found = violations("envoy.config.bootstrap.v3.Bootstrap", {"static_resources": {"clusters": [cluster]}})
    at = "static_resources.clusters[0].typed_extension_protocol_options"
    assert sorted(path for path, _ in found) == [f'{at}["p"]', f'{at}["s"].value']
    assert all(text.startswith("needs one of explicit_http_config") for _, text in found)


def test_content_of_a_typed_struct_is_read() -> None:
    struct = {
        "@type": "x/xds.type.v3.TypedStruct",
        "type_url": "x/envoy.type.v3.Percent",
        "value": {"valu": 1},
    }
    found = violations("envoy.config.core.v3.TypedExtensionConfig", {"name": "a", "typed_config": struct})
    assert [path for path, _ in found] == ["typed_config.value.valu"]


def test_types_outside_the_schema_are_left_to_the_compile_functions() -> None:
    struct = {"@type": "x/xds.type.v3.TypedStruct", "type_url": "x/stats.PluginConfig", "value": {"a": 1}}
    assert (
        violations("envoy.config.core.v3.TypedExtensionConfig", {"name": "a", "typed_config": struct}) == []
    )


def test_deprecated_fields_warn_and_removed_ones_are_refused() -> None:
    said: list[tuple[str, str, str]] = []
    message: Any = new_message("envoy.config.cluster.v3.Cluster")
    message.name = "a"
    message.respect_dns_ttl = True
    validate(message, lambda *finding: said.append(finding))
    assert said == [("respect_dns_ttl", "is deprecated", "warning")]
    action: Any = new_message("envoy.config.route.v3.RateLimit.Action")
    action.dynamic_metadata.descriptor_key = "a"
    action.dynamic_metadata.metadata_key.key = "k"
    action.dynamic_metadata.metadata_key.path.add().key = "p"
    said.clear()
    validate(action, lambda *finding: said.append(finding))
    assert [(path, kind) for path, _, kind in said if kind == "invalid"] == [("dynamic_metadata", "invalid")]


def test_rules_are_compiled_once() -> None:
    assert rules_of("envoy.type.v3.Percent") is rules_of("envoy.type.v3.Percent")
    with pytest.raises(UnknownType):
        rules_of("envoy.type.v3.Nothing")


def test_every_message_of_the_api_compiles() -> None:
    names: list[str] = []

    def walk(message: Any) -> None:
        names.append(message.full_name)
        for inner in message.nested_types:
            walk(inner)

    for file in ("envoy/config/bootstrap/v3/bootstrap.proto", "envoy/config/route/v3/route_components.proto"):
        for message in pool().FindFileByName(file).message_types_by_name.values():
            walk(message)
    for name in names:
        assert rules_of(name).type_name == name
        for known, field in rules_of(name).fields.items():
            assert descriptor(name).fields_by_number[known.number].name == field.name
    assert len(names) > 80
