"""Least request: the less busy of some random hosts, or of all; by weight when weights differ."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from proxy.upstream.cluster import Cluster
from tests.support.fake_upstream import World, endpoint
from tests.support.runtime import runtime_of

MESSAGE = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"


def typed(**fields: Any) -> dict[str, Any]:
    config = {"@type": f"type.googleapis.com/{MESSAGE}", **fields}
    return {
        "load_balancing_policy": {
            "policies": [{"typed_extension_config": {"name": "l", "typed_config": config}}]
        }
    }


def legacy(**fields: Any) -> dict[str, Any]:
    return {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": fields}


def make(weights: list[int], world: World | None = None, **fields: Any) -> Cluster:
    endpoints = [
        endpoint(f"127.0.0.1:{index}", load_balancing_weight=weight) for index, weight in enumerate(weights)
    ]
    fields = fields or {"lb_policy": "LEAST_REQUEST"}
    return (world or World()).cluster(load_assignment={"endpoints": [{"lb_endpoints": endpoints}]}, **fields)


def counts(cluster: Cluster, number: int = 3000) -> list[int]:
    chosen = Counter(cluster.choose_host(None) for _ in range(number))
    return [chosen[host] for host in cluster.hosts]


def test_one_host_and_none() -> None:
    assert counts(make([1]), 5) == [5]
    assert make([]).choose_host(None) is None


def test_idle_hosts_share_evenly() -> None:
    assert counts(make([1, 1, 1])) == pytest.approx([1000, 1000, 1000], abs=120)


def test_two_choices_spare_the_busiest() -> None:
    cluster = make([1, 1, 1])
    cluster.hosts[0].rq_active = 5
    # both choices must fall on it: one in nine
    assert counts(cluster) == pytest.approx([333, 1333, 1333], abs=120)


def test_more_choices_spare_it_more() -> None:
    for fields in (typed(choice_count=4), legacy(choice_count=4)):
        cluster = make([1, 1, 1], **fields)
        cluster.hosts[0].rq_active = 5
        assert counts(cluster)[0] == pytest.approx(3000 / 81, abs=30)


def test_full_scan_never_takes_a_busier_one() -> None:
    cluster = make([1, 1, 1], **typed(selection_method="FULL_SCAN"))
    cluster.hosts[0].rq_active = 1
    busiest, *others = counts(cluster)
    assert busiest == 0
    assert others == pytest.approx([1500, 1500], abs=120)


def test_different_weights_share_by_weight() -> None:
    assert counts(make([1, 2, 3]), 600) == pytest.approx([100, 200, 300], abs=1)


@pytest.mark.parametrize(("bias", "share"), [(None, 0.4), (0.0, 2 / 3), (2.0, 2 / 11)])
def test_active_requests_take_weight_away(bias: float | None, share: float) -> None:
    fields = {} if bias is None else {"active_request_bias": {"default_value": bias, "runtime_key": "key"}}
    world = World()
    cluster = make([1, 2], world, **legacy(**fields))
    cluster.hosts[1].rq_active = 2
    assert counts(cluster, 3000)[1] / 3000 == pytest.approx(share, abs=0.01)
    assert not world.errors.warnings


def test_the_runtime_moves_the_bias_at_the_next_change_of_hosts() -> None:
    world = World()
    runtime, change = runtime_of(key="2")
    world.context = world.context._replace(runtime=runtime)
    cluster = make([1, 2], world, **legacy(active_request_bias={"default_value": 0.0, "runtime_key": "key"}))
    cluster.hosts[1].rq_active = 2
    for text, share in (("0", 2 / 3), ("-5", 0.4), ("", 2 / 3)):  # a negative one counts as 1, as in Envoy
        change(key=text)
        cluster.update_hosts(cluster.hosts)
        assert counts(cluster, 3000)[1] / 3000 == pytest.approx(share, abs=0.01), text


def test_an_absurd_bias_does_not_break_the_arithmetic() -> None:
    cluster = make([1, 2], **legacy(active_request_bias={"default_value": 1e9, "runtime_key": "key"}))
    cluster.hosts[1].rq_active = 1000
    assert counts(cluster, 100)[1] <= 1
