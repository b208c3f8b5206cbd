"""Plain values into messages: Envoy's leniency, every finding with its path."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.convert import Converter
from proxy.api.json_text import Repeated, read_json
from proxy.api.pool import new_message

CLUSTER = "envoy.config.cluster.v3.Cluster"
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def fill(value: Any, type_name: str = CLUSTER, **options: Any) -> tuple[Any, list[tuple[str, str, str]]]:
    findings: list[tuple[str, str, str]] = []
    message = new_message(type_name)
    Converter(lambda *finding: findings.append(finding), **options).fill(message, value)
    return message, findings


def good(value: Any, type_name: str = CLUSTER) -> Any:
    message, findings = fill(value, type_name)
    assert findings == []
    return message


def test_either_spelling_of_a_name() -> None:
    assert good({"lbPolicy": "random", "alt_stat_name": "a"}).lb_policy == 3


def test_one_element_where_a_list_is_expected_and_lists_in_lists() -> None:
    one = good({"static_resources": {"clusters": {"name": "a"}}}, BOOTSTRAP)
    assert [cluster.name for cluster in one.static_resources.clusters] == ["a"]
    nested = good(
        {"static_resources": {"clusters": [[{"name": "a"}, [{"name": "b"}]], {"name": "c"}]}}, BOOTSTRAP
    )
    assert [cluster.name for cluster in nested.static_resources.clusters] == ["a", "b", "c"]


def test_null_leaves_unset_but_makes_an_element() -> None:
    cluster = good({"name": None, "metadata": None})
    assert not cluster.HasField("metadata")
    assert len(good({"static_resources": {"clusters": [None]}}, BOOTSTRAP).static_resources.clusters) == 1


def test_empty_objects_are_set() -> None:
    assert good({"http_protocol_options": {}}).HasField("http_protocol_options")
    assert good({"per_connection_buffer_limit_bytes": 0}).HasField("per_connection_buffer_limit_bytes")


def test_well_known_types_in_both_forms() -> None:
    cluster = good(
        {
            "connect_timeout": {"seconds": "1", "nanos": 5},
            "dns_refresh_rate": "2.5s",
            "per_connection_buffer_limit_bytes": {"value": 7},
        }
    )
    assert (cluster.connect_timeout.seconds, cluster.connect_timeout.nanos) == (1, 5)
    assert cluster.dns_refresh_rate.nanos == 500_000_000
    assert cluster.per_connection_buffer_limit_bytes.value == 7


def test_structs() -> None:
    node = good({"metadata": {"a": [1, {"b": None}]}}, "envoy.config.core.v3.Node")
    assert node.metadata["a"][0] == 1
    _, findings = fill({"metadata": [1]}, "envoy.config.core.v3.Node")
    assert findings == [("metadata", "expects an object, not a list", "invalid")]
    _, findings = fill({"metadata": {"a": Repeated([("b", 1), ("b", 2)])}}, "envoy.config.core.v3.Node")
    assert findings == [("metadata", 'has the key "b" more than once', "invalid")]


def test_repeated_keys_follow_the_cpp_parser() -> None:
    twice = Repeated([("alt_stat_name", "a"), ("alt_stat_name", "b")])
    assert good(twice).alt_stat_name == "b"
    lists = Repeated([("clusters", [{"name": "a"}]), ("clusters", [{"name": "b"}])])
    assert len(good({"static_resources": lists}, BOOTSTRAP).static_resources.clusters) == 2
    _, findings = fill(Repeated([("type", "STATIC"), ("type", "STATIC")]))
    assert [path for path, _, _ in findings] == ["type"]


def test_members_of_a_oneof_exclude_each_other() -> None:
    _, findings = fill({"type": "STATIC", "clusterType": {"name": "a"}})
    assert findings == [
        (
            "cluster_type",
            "cannot be set together with another member of its oneof cluster_discovery_type",
            "invalid",
        )
    ]
    assert good({"type": "STATIC", "cluster_type": None}).type == 0


def test_any() -> None:
    value = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http_protocol_options": {}}}
    cluster = good({"typed_extension_protocol_options": {OPTIONS: value, "empty": {}}})
    inner = new_message(OPTIONS)
    inner.ParseFromString(cluster.typed_extension_protocol_options[OPTIONS].value)
    assert inner.WhichOneof("upstream_protocol_options") == "explicit_http_config"
    assert cluster.typed_extension_protocol_options["empty"].type_url == ""


def test_any_of_a_well_known_type() -> None:
    extension = {"name": "x", "typed_config": {"@type": "a/google.protobuf.Duration", "value": "1.5s"}}
    message = good(extension, "envoy.config.core.v3.TypedExtensionConfig")
    duration: Any = new_message("google.protobuf.Duration")
    duration.ParseFromString(message.typed_config.value)
    assert (duration.seconds, duration.nanos) == (1, 500_000_000)
    extension["typed_config"]["seconds"] = 1  # type: ignore[index]
    _, findings = fill(extension, "envoy.config.core.v3.TypedExtensionConfig")
    assert [path for path, _, _ in findings] == ["typed_config.seconds"]


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"nmae": "a"}, "nmae", 'is no field of envoy.config.cluster.v3.Cluster (did you mean "name"?)'),
        ({"a b": 1}, '["a b"]', "is no field of"),
        ({"<<": {}}, '["<<"]', "merge key"),
        ({"name": 5}, "name", "expects a text, not 5: put it in quotes"),
        ({"connect_timeout": "1"}, "connect_timeout", "expects a duration"),
        ({"connect_timeout": {"second": 1}}, "connect_timeout.second", 'did you mean "seconds"?'),
        ({"lb_policy": "RANDM"}, "lb_policy", 'did you mean "RANDOM"?'),
        ({"metadata": ""}, "metadata", "expects an object"),
        ({"metadata": []}, "metadata", "expects an object"),
        (
            {"circuit_breakers": {"thresholds": [{}, {"max_requests": "x"}]}},
            "circuit_breakers.thresholds[1].max_requests",
            "whole number",
        ),
        (
            {"typed_extension_protocol_options": {"a.b": {"x": 1}}},
            'typed_extension_protocol_options["a.b"]',
            '"@type"',
        ),
        (
            {"typed_extension_protocol_options": {"a": {"@type": "x/y.Z"}}},
            'typed_extension_protocol_options["a"]["@type"]',
            '"y.Z"',
        ),
        (
            {"typed_extension_protocol_options": {"a": {"@type": OPTIONS}}},
            'typed_extension_protocol_options["a"]["@type"]',
            "did you mean",
        ),
        (
            {"typed_extension_protocol_options": {"a": {"@type": f"x/{OPTIONS}", "foo": 1}}},
            'typed_extension_protocol_options["a"].foo',
            "is no field",
        ),
        ({"typed_extension_protocol_options": []}, "typed_extension_protocol_options", "expects an object"),
        ([], "", "expects an object, not a list"),
        ("x", "", 'expects an object, not "x"'),
    ],
)
def test_findings_name_their_place(value: Any, path: str, said: str) -> None:
    _, findings = fill(value)
    assert [finding[0] for finding in findings] == [path]
    assert said in findings[0][1]


def test_all_findings_come_at_once_and_the_rest_is_read() -> None:
    cluster, findings = fill({"nmae": "a", "connect_timeout": "x", "alt_stat_name": "fine", "lb_policy": "y"})
    assert {path for path, _, _ in findings} == {"nmae", "connect_timeout", "lb_policy"}
    assert cluster.alt_stat_name == "fine"


def test_unknown_fields_can_be_warnings() -> None:
    _, findings = fill({"foo": 1}, allow_unknown=True)
    assert [kind for _, _, kind in findings] == ["warning"]


def test_a_path_can_be_given() -> None:
    _, findings = fill({"foo": 1}, path="resources[2]")
    assert findings[0][0] == "resources[2].foo"


ROUTER = "envoy.extensions.filters.http.router.v3.Router"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("x/envoy.extensions.filters.http.router.v3.Ruter", ROUTER),
        ("x/envoy.extensions.filters.http.router.v2.Router", ROUTER),
        ("x/envoy.config.filter.http.router.v2.Router", ROUTER),
        (ROUTER, ROUTER),
        ("envoy.extensions.filters.http.ruoter.v3.Router", ROUTER),
        ("x/envoy.config.trace.v2.ZipkinConfig", "envoy.config.trace.v3.ZipkinConfig"),
        ("x/envoy.extensions.filters.http.golang.v3alpha.Config", ""),
        ("x/y.Z", ""),
        ("x/" + "y" * 5000, ""),
        ("x/", ""),
    ],
)
def test_a_type_that_is_not_there_gets_the_nearest(url: str, meant: str) -> None:
    _, [(_, message, _)] = fill({"typed_extension_protocol_options": {"a": {"@type": url}}})
    hint = f' (did you mean "type.googleapis.com/{meant}"?)'
    assert message.endswith(hint) if meant else "did you mean" not in message


def test_near_types_are_looked_for_a_few_times_only() -> None:
    wrong = {str(at): {"@type": f"x/{ROUTER[:-1]}{at}"} for at in range(50)}
    _, findings = fill({"typed_extension_protocol_options": wrong})
    assert len(findings) == 50
    assert sum("did you mean" in message for _, message, _ in findings) == 10


@pytest.mark.parametrize(
    ("second", "priorities"),
    [
        ('}, "load_assignment": {"endpoints": [{"priority": 2}]', [2]),
        ('}, "loadAssignment": {"endpoints": []', [1, 0]),
        (', "endpoints": [{"priority": 2}]', [1, 0, 2]),
    ],
)
def test_what_is_given_twice_is_merged_as_by_envoy(second: str, priorities: list[int]) -> None:
    """Seen in /config_dump: messages merge, lists of the later replace, lists within one object are joined."""
    first = '"cluster_name": "x", "endpoints": [{"priority": 1}, {}]'
    assignment = good(read_json(f'{{"load_assignment": {{{first}{second}}}}}')).load_assignment
    assert [one.priority for one in assignment.endpoints] == priorities
    assert assignment.cluster_name == "x"


def test_maps_given_twice() -> None:
    text = '{"metadata": {"filter_metadata": {"a": {}}}, "metadata": {"filter_metadata": {"b": {}}}}'
    assert set(good(read_json(text)).metadata.filter_metadata) == {"b"}
    text = '{"metadata": {"filter_metadata": {"a": {}}, "filter_metadata": {"b": {}}}}'
    assert set(good(read_json(text)).metadata.filter_metadata) == {"a", "b"}


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({"hosts": []}, '(of the v2 API: now "load_assignment")'),
        ({"tls_context": {}}, '(of the v2 API: now "transport_socket")'),
        ({"config": {}}, "is no field of envoy.config.cluster.v3.Cluster"),
    ],
)
def test_fields_of_the_v2_api_are_told_their_new_name_where_it_is(value: Any, hint: str) -> None:
    _, [(_, message, _)] = fill(value)
    assert message.endswith(hint)
