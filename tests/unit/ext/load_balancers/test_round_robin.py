"""Round robin: in turn, or by weight; the weighted order is that of Envoy 1.40.0."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_upstream import World, endpoint


def ports(weights: list[int], count: int, seed: int = 1) -> list[int]:
    world = World(seed=seed)
    endpoints = [
        endpoint(f"127.0.0.1:{index}", load_balancing_weight=weight) for index, weight in enumerate(weights)
    ]
    cluster = world.cluster(load_assignment={"endpoints": [{"lb_endpoints": endpoints}]})
    chosen = [cluster.choose_host(None) for _ in range(count)]
    return [host.port for host in chosen if host is not None]


def test_equal_weights_take_turns() -> None:
    chosen = ports([1, 1, 1], 7)
    assert sorted(chosen[:3]) == [0, 1, 2]
    assert chosen[3:6] == chosen[:3]


def test_the_start_is_random() -> None:
    assert {ports([1, 1, 1], 1, seed)[0] for seed in range(20)} == {0, 1, 2}


def test_weights_in_the_order_of_envoy() -> None:
    text = "".join(str(port) for port in ports([1, 2, 3], 18))
    assert "120122120122" in text or "201221201221" in text or "212012212012" in text


def test_hosts_may_change_between_turns() -> None:
    world = World()
    cluster = world.cluster("127.0.0.1:0", "127.0.0.1:1", "127.0.0.1:2")
    everyone = list(cluster.hosts)
    for _ in range(2):
        cluster.choose_host(None)
    cluster.update_hosts(everyone[:1])
    assert [cluster.choose_host(None) for _ in range(3)] == everyone[:1] * 3
    cluster.update_hosts(everyone)
    assert {cluster.choose_host(None) for _ in range(3)} == set(everyone)
    cluster.update_hosts([])
    assert cluster.choose_host(None) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 1000))
def test_shares_follow_the_weights(weights: list[int], seed: int) -> None:
    rounds = 3
    chosen = Counter(ports(weights, rounds * sum(weights), seed))
    same = len(set(weights)) == 1
    for index, weight in enumerate(weights):
        share = rounds * (sum(weights) / len(weights) if same else weight)
        assert abs(chosen[index] - share) <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 1000))
def test_no_host_gets_all_its_turns_at_once(weights: list[int], seed: int) -> None:
    """Between two turns of a host no other gets more than its weight's part, and one for rounding."""
    chosen = ports(weights, 4 * sum(weights), seed)
    if len(set(weights)) == 1:
        return
    for index, weight in enumerate(weights):
        turns = [at for at, port in enumerate(chosen) if port == index]
        for start, end in pairwise(turns):
            between = Counter(chosen[start + 1 : end])
            for other, count in between.items():
                assert count <= weights[other] / weight + 1
