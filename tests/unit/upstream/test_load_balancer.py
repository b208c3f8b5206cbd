"""Priorities, panic and degraded hosts; the shares are those seen from Envoy 1.40.0 with the same endpoints."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.load_balancer import BalancingPolicy, HostLists, priority_loads
from tests.support.fake_upstream import World, endpoint
from tests.support.runtime import runtime_of


def hosts(*priorities: str) -> dict[str, Any]:
    """Letters: h healthy, u unhealthy, d degraded, x draining; a text per priority."""
    statuses = {"h": "UNKNOWN", "u": "UNHEALTHY", "d": "DEGRADED", "x": "DRAINING", "t": "TIMEOUT"}
    port = 0
    groups = []
    for priority, letters in enumerate(priorities):
        group: dict[str, Any] = {"priority": priority, "lb_endpoints": []}
        for letter in letters:
            group["lb_endpoints"].append(endpoint(f"127.0.0.1:{port}", health_status=statuses[letter]))
            port += 1
        groups.append(group)
    return {"endpoints": groups}


def shares(world: World, count: int = 4000, **fields: Any) -> dict[int | None, float]:
    cluster = world.cluster(**fields)
    chosen = Counter(cluster.choose_host(None) for _ in range(count))
    return {host.port if host else None: number / count for host, number in chosen.items()}


@pytest.mark.parametrize(
    ("priorities", "expected", "panics"),
    [
        (("uxu",), {0: 0.333, 1: 0.333, 2: 0.333}, True),  # panic uses every host
        (("hx",), {0: 1.0}, False),  # draining ones do not count
        (("huuu", "hh"), {0: 0.35, 4: 0.325, 5: 0.325}, False),  # overprovisioned by 140 %
        (("hd",), {0: 0.7, 1: 0.3}, False),
        (("huu",), {0: 0.333, 1: 0.333, 2: 0.333}, True),  # 33 % is below the threshold
        (("u", "uu"), {0: 0.333, 1: 0.333, 2: 0.333}, True),  # by number of hosts
        (("td",), {1: 1.0}, False),  # 50 % is not below
        (("hh", "h"), {0: 0.5, 1: 0.5}, False),
        (("", "h"), {0: 1.0}, False),
    ],
)
def test_shares(priorities: tuple[str, ...], expected: dict[int, float], panics: bool) -> None:
    world = World()
    assert shares(world, load_assignment=hosts(*priorities)) == pytest.approx(expected, abs=0.04)
    assert world.value("lb_healthy_panic") == (4000 if panics else 0)


def test_without_panic_nobody_is_better_than_an_unhealthy_host() -> None:
    world = World()
    common = {"healthy_panic_threshold": {"value": 0}}
    assert shares(world, 10, load_assignment=hosts("u"), common_lb_config=common) == {None: 1.0}
    assert world.value("upstream_cx_none_healthy") == 10
    assert world.value("lb_healthy_panic") == 0


def test_an_empty_cluster_counts_as_envoy_counts() -> None:
    world = World()
    assert shares(world, 1) == {None: 1.0}
    assert world.used() == {"lb_healthy_panic": 1, "upstream_cx_none_healthy": 1}


def test_overprovisioning_factor() -> None:
    world = World()
    assignment = {**hosts("hu", "h"), "policy": {"overprovisioning_factor": 100}}
    assert shares(world, load_assignment=assignment) == pytest.approx({0: 0.5, 2: 0.5}, abs=0.04)


def test_the_runtime_moves_the_panic_threshold_at_the_next_change_of_hosts() -> None:
    world = World()
    runtime, change = runtime_of()
    world.context = world.context._replace(runtime=runtime)
    cluster = world.cluster(load_assignment=hosts("huu"))
    change(upstream__healthy_panic_threshold="20")
    assert len({cluster.choose_host(None) for _ in range(100)}) == 3, "as in Envoy: not yet"
    cluster.update_hosts(cluster.hosts)
    assert {host.port for host in (cluster.choose_host(None) for _ in range(100)) if host} == {0}
    change(upstream__healthy_panic_threshold="")
    cluster.update_hosts(cluster.hosts)
    assert len({cluster.choose_host(None) for _ in range(100)}) == 3


def test_membership() -> None:
    world = World()
    world.cluster(load_assignment=hosts("hhudx"))
    assert [world.value("membership_" + name) for name in ("total", "healthy", "degraded", "excluded")] == [
        5,
        2,
        1,
        1,
    ]


LISTS = st.builds(
    lambda healthy, degraded, unhealthy, excluded: HostLists(
        [None] * (healthy + degraded + unhealthy + excluded),  # type: ignore[list-item]
        [None] * healthy,  # type: ignore[list-item]
        [None] * degraded,  # type: ignore[list-item]
        healthy + degraded + unhealthy,
    ),
    *(st.integers(0, 6) for _ in range(4)),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(LISTS, min_size=1, max_size=4),
    st.integers(100, 200),
    st.sampled_from([0.0, 50.0, 100.0]),
)
def test_loads_add_up_to_100_and_go_where_hosts_are(
    priorities: list[HostLists], overprovisioning: int, panic: float
) -> None:
    loads = priority_loads(priorities, BalancingPolicy(overprovisioning, panic))
    assert sum(load.healthy + load.degraded for load in loads) == 100
    assert all(load.healthy >= 0 and load.degraded >= 0 for load in loads)
    usable = any(lists.healthy or lists.degraded for lists in priorities)
    for load, lists in zip(loads, priorities, strict=True):
        if usable and load.healthy:
            assert lists.healthy or load.panic
        if load.degraded:
            assert lists.degraded or load.panic
        if panic == 0:
            assert not load.panic


def test_a_panic_may_find_nobody() -> None:
    world = World()
    common = {"zone_aware_lb_config": {"fail_traffic_on_panic": True}}
    assert shares(world, 10, load_assignment=hosts("huu"), common_lb_config=common) == {None: 1.0}
    assert world.value("lb_healthy_panic") == 10
    assert world.value("upstream_cx_none_healthy") == 10


@pytest.mark.parametrize(
    ("priorities", "tried", "expected"),
    [
        (("hh", "h", "h"), {0}, {2: 1.0}),
        (("hh", "h", "h"), {0, 1}, {3: 1.0}),
        (("h", "huuu", "hh"), {0}, {1: 0.35, 5: 0.325, 6: 0.325}),  # as if the first one were not there
        (("h", "d"), {0}, {1: 1.0}),
        (("h", "h"), set(), {0: 1.0}),
        (("h", "u"), {0}, {None: 1.0}),  # nobody there can take anything
        (("h",), {0}, {None: 1.0}),
    ],
)
def test_a_retry_elsewhere(
    priorities: tuple[str, ...], tried: set[int], expected: dict[int | None, float]
) -> None:
    cluster = World().cluster(load_assignment=hosts(*priorities))
    chosen = Counter(cluster.choose_elsewhere(None, tried) for _ in range(4000))
    found = {host.port if host else None: number / 4000 for host, number in chosen.items()}
    assert found == pytest.approx(expected, abs=0.04)
