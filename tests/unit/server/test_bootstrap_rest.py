"""What of a bootstrap is accepted without an effect, and what of it is not."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.server.bootstrap import Parts
from proxy.server.options import Options
from tests.support.config import address, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.unit.server.test_bootstrap import compiled

TYPES = "type.googleapis.com/envoy"
INTERNAL = {"@type": f"{TYPES}.extensions.bootstrap.internal_listener.v3.InternalListener"}
ZIPKIN = {
    "@type": f"{TYPES}.config.trace.v3.ZipkinConfig",
    "collector_cluster": "zipkin",
    "collector_endpoint": "/api/v2/spans",
    "collector_endpoint_version": "HTTP_JSON",
}


def typed_struct(name: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": f"x/{name}",
        "value": {"a": 1},
    }


def findings(parts: Parts) -> list[tuple[str, str]]:
    return [(one.path, one.kind) for one in parts.errors.findings]


def warned(parts: Parts) -> set[str]:
    return {one.path for one in parts.errors.warnings}


#: an extension of nobody, whose configuration has a type
EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fatal_actions", [{"config": {"name": "a", "typed_config": EMPTY}}]),
        ("memory_allocator_manager", {"bytes_to_release": 5}),
        ("enable_dispatcher_stats", True),
        ("perf_tracing_file_path", "/x"),
        ("flags_path", "/x"),
        ("hds_config", {"api_type": "GRPC"}),
        ("certificate_provider_instances", {"a": {"name": "a", "typed_config": EMPTY}}),
        ("xds_delegate_extension", {"name": "a", "typed_config": EMPTY}),
        ("xds_config_tracker_extension", {"name": "a", "typed_config": EMPTY}),
        ("node_context_params", ["a"]),
    ],
)
def test_what_has_no_effect_is_warned_of(field: str, value: Any) -> None:
    parts = compiled({field: value})
    assert findings(parts) == []
    assert warned(parts) == {field}


def test_parts_that_have_no_effect() -> None:
    parts = compiled(
        {
            "cluster_manager": {
                "outlier_detection": {"event_log_path": "/dev/stdout"},
                "enable_deferred_cluster_creation": True,
            },
            "deferred_stat_options": {"enable_deferred_creation_stats": True},
        }
    )
    assert findings(parts) == []
    assert warned(parts) == {
        "cluster_manager.outlier_detection.event_log_path",
        "cluster_manager.enable_deferred_cluster_creation",
        "deferred_stat_options.enable_deferred_creation_stats",
    }


@pytest.mark.parametrize("field", ["local_cluster_name", "upstream_bind_config", "load_stats_config"])
def test_what_a_cluster_manager_would_change_is_refused(field: str) -> None:
    value: Any = "a" if field == "local_cluster_name" else {"source_address": address(0)["socket_address"]}
    value = {"api_type": "GRPC"} if field == "load_stats_config" else value
    assert findings(compiled({"cluster_manager": {field: value}})) == [
        (f"cluster_manager.{field}", "unsupported")
    ]


def test_bootstrap_extensions() -> None:
    known = [INTERNAL, typed_struct(INTERNAL["@type"].rpartition("/")[2].replace("envoy", "envoy", 1))]
    known[1]["value"] = {"buffer_size_kb": 64}
    known.append(typed_struct("istio.workload.BootstrapExtension"))
    parts = compiled({"bootstrap_extensions": [{"name": "a", "typed_config": one} for one in known]})
    assert findings(parts) == []
    assert warned(parts) == {f"bootstrap_extensions[{at}].typed_config" for at in range(3)}
    parts = compiled({"bootstrap_extensions": [{"name": "a", "typed_config": typed_struct("a.B")}]})
    assert findings(parts) == [("bootstrap_extensions[0]", "unsupported")]


def test_the_regex_engine_is_re2() -> None:
    engine = {"name": "a", "typed_config": {"@type": f"{TYPES}.extensions.regex_engines.v3.GoogleRE2"}}
    parts = compiled({"default_regex_engine": engine})
    assert (findings(parts), warned(parts)) == ([], set())
    engine["typed_config"] = INTERNAL
    assert findings(compiled({"default_regex_engine": engine})) == [("default_regex_engine", "unsupported")]


def test_the_log_format() -> None:
    assert compiled({}).log_format == Options().log_format
    chosen = {"application_log_config": {"log_format": {"text_format": "%v!"}}}
    parts = compiled(chosen)
    assert (parts.log_format, findings(parts)) == ("%v!", [])
    assert findings(compiled(chosen, Options(log_format="%v"))) == [
        ("application_log_config.log_format", "invalid")
    ]
    json = {"application_log_config": {"log_format": {"json_format": {"a": "%v"}}}}
    assert findings(compiled(json)) == [("application_log_config.log_format.json_format", "unsupported")]


def tracing(provider: dict[str, Any], hcm: dict[str, Any] | None) -> Parts:
    listener = http_listener(0, [virtual_host([route_to("up")])], hcm=hcm)
    clusters = [cluster("up", 1), cluster("zipkin", 2)]
    return compiled(bootstrap(9901, [listener], clusters, tracing={"http": provider}))


def test_the_default_tracer_serves_who_names_none() -> None:
    parts = tracing({"name": "envoy.tracers.zipkin", "typed_config": ZIPKIN}, {"tracing": {}})
    assert findings(parts) == []
    assert "tracing" not in {one.path for one in parts.errors.warnings if "no effect" in one.message}
    [listener] = parts.listeners.listeners
    assert listener.filter.hcm.tracing.tracer is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "hcm", [None, {"tracing": {"provider": {"name": "envoy.tracers.zipkin", "typed_config": ZIPKIN}}}]
)
def test_a_default_tracer_that_nobody_needs_is_warned_of(hcm: dict[str, Any] | None) -> None:
    parts = tracing({"name": "envoy.tracers.zipkin", "typed_config": ZIPKIN}, hcm)
    assert findings(parts) == []
    assert any(one.path == "tracing" and "no effect" in one.message for one in parts.errors.warnings)


def test_a_default_tracer_must_exist_all_the_same() -> None:
    assert ("tracing.http.typed_config", "invalid") in findings(
        tracing({"name": "envoy.tracers.zipkin"}, None)
    )
    assert findings(tracing({"name": "a", "typed_config": INTERNAL}, None)) == [
        ("tracing.http", "unsupported")
    ]
