"""Changes by resource and field; lists by name, by what is matched, or by place."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.explain.difference import Change, differences, render


def bootstrap(*routes: Any, **more: Any) -> dict[str, Any]:
    hosts = [{"name": "api", "domains": ["*"], "routes": list(routes)}]
    chain = {
        "filters": [
            {"name": "hcm", "typed_config": {"@type": "x/Hcm", "route_config": {"virtual_hosts": hosts}}}
        ]
    }
    return {"static_resources": {"listeners": [{"name": "in", "filter_chains": [chain]}], **more}}


def to(prefix: str, cluster: str, **more: Any) -> dict[str, Any]:
    return {"match": {"prefix": prefix}, "route": {"cluster": cluster}, **more}


HOST = "listener in / virtual host api"


def test_the_same_is_no_change():
    config = bootstrap(to("/a", "a"), clusters=[{"name": "a"}])
    assert differences(config, copy.deepcopy(config)) == []


def test_a_route_put_in_between_is_one_addition():
    old = bootstrap(to("/a", "a"), to("/", "b"))
    new = bootstrap(to("/a", "a"), to("/n", "n"), to("/", "b"))
    assert differences(old, new) == [Change(f"{HOST} / route #1", "added", "", None, to("/n", "n"))]
    assert differences(new, old) == [Change(f"{HOST} / route #1", "removed", "", to("/n", "n"), None)]


def test_what_matches_the_same_is_the_same_route():
    old = bootstrap(to("/a", "a"), to("/", "b"))
    new = bootstrap(to("/n", "n"), to("/a", "c"), to("/", "d"))
    assert differences(old, new) == [
        Change(f"{HOST} / route #0", "changed", "route.cluster", "a", "c"),
        Change(f"{HOST} / route #1", "changed", "route.cluster", "b", "d"),
        Change(f"{HOST} / route #0", "added", "", None, to("/n", "n")),
    ]


def test_named_things_belong_together_and_moves_count_where_order_does():
    one, two = to("/a", "a", name="one"), to("/b", "b", name="two")
    assert differences(bootstrap(one, two), bootstrap(two, one)) == [
        Change(HOST, "moved", "routes", ["one", "two"], ["two", "one"])
    ]
    clusters = [{"name": "a"}, {"name": "b"}]
    assert differences(bootstrap(clusters=clusters), bootstrap(clusters=clusters[::-1])) == []


def test_clusters_come_and_go_and_change():
    old = bootstrap(clusters=[{"name": "a", "connect_timeout": "1s"}, {"name": "b"}])
    new = bootstrap(clusters=[{"name": "c"}, {"name": "a", "connect_timeout": "2s", "type": "STATIC"}])
    assert differences(old, new) == [
        Change("cluster a", "changed", "connect_timeout", "1s", "2s"),
        Change("cluster a", "added", "type", None, "STATIC"),
        Change("cluster b", "removed", "", {"name": "b"}, None),
        Change("cluster c", "added", "", None, {"name": "c"}),
    ]
    assert differences({}, {"static_resources": {"clusters": [{"name": "c"}]}}) == [
        Change("cluster c", "added", "", None, {"name": "c"})
    ]


def test_secrets_are_compared_and_not_shown():
    def secret(text: str) -> dict[str, Any]:
        inner = {"private_key": {"inline_string": text}, "certificate_chain": {"filename": "c"}}
        return {"static_resources": {"secrets": [{"name": "s", "tls_certificate": inner}]}}

    (change,) = differences(secret("one"), secret("two"))
    assert (change.resource, change.old, change.new) == ("secret s", "[redacted]", "[redacted]")
    assert "one" not in render([change])
    (added,) = differences({}, secret("one"))
    assert "one" not in render([added])
    assert (
        differences(secret("one"), secret("[redacted]")) == []
    )  # a running proxy hides it: nothing to compare


def test_secrets_of_a_typed_struct_are_not_shown_in_either_spelling():
    (added,) = differences(
        {}, {"static_resources": {"secrets": [{"name": "s", "privateKey": {"inlineString": "one"}}]}}
    )
    assert "one" not in render([added])


def test_lines():
    old = bootstrap(to("/a", "a"), clusters=[{"name": "b"}])
    new = bootstrap(to("/a", "c"), clusters=[{"name": "d"}], admin={"x": 1})
    assert render(differences(old, new)).splitlines() == [
        f"  {HOST} / route #0",
        '    ~ route.cluster: "a" -> "c"',
        '- cluster b: {"name":"b"}',
        '+ cluster d: {"name":"d"}',
        "  bootstrap",
        '    + static_resources.admin: {"x":1}',
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "routes", "clusters", "match", "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON, JSON)
def test_no_change_exactly_when_the_same_but_for_the_order_of_named_things(old, new):
    changes = differences({"a": old}, {"a": new})
    if old == new:
        assert changes == []
    elif not changes:
        assert canonical(old) == canonical(new)
    assert render(changes).count("\n") >= len(changes)


def test_an_empty_list_is_none() -> None:
    for key in ("routes", "x"):
        assert differences({"a": {}}, {"a": {key: []}}) == []
        assert differences({"a": {key: []}}, {"a": {}}) == []
        assert len(differences({"a": {}}, {"a": {key: [1]}})) == 1


def canonical(value: Any) -> Any:
    """Named elements sorted: their order is told only where it counts. Empty lists are not there (proto3 JSON)."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items() if inner != []}
    if isinstance(value, list):
        inner = [canonical(one) for one in value]
        return sorted(inner, key=repr)
    return value
