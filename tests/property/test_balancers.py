"""Laws of the three basic balancers: who gets how much, whatever the weights and the hosts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.cluster import Cluster
from proxy.upstream.host import Host
from tests.support.fake_upstream import World, endpoint

weights = st.lists(st.integers(1, 20), min_size=1, max_size=6)
policies = st.sampled_from(["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"])


def make(weights: list[int], seed: int, **fields: Any) -> Cluster:
    endpoints = [
        endpoint(f"127.0.0.1:{port}", load_balancing_weight=weight) for port, weight in enumerate(weights)
    ]
    return World(seed=seed).cluster(load_assignment={"endpoints": [{"lb_endpoints": endpoints}]}, **fields)


def choose(cluster: Cluster) -> Host:
    host = cluster.choose_host(None)
    assert host is not None
    return host


@settings(deadline=None, max_examples=60)
@given(weights=weights, seed=st.integers(0, 1000), rounds=st.integers(1, 5))
def test_round_robin_is_exact_over_whole_rounds(weights: list[int], seed: int, rounds: int) -> None:
    """In as many turns as the weights add up to, each host has its weight, give or take the one at either end."""
    cluster = make(weights, seed)
    chosen = Counter(choose(cluster).port for _ in range(sum(weights) * rounds))
    for port, weight in enumerate(weights):
        assert abs(chosen[port] - weight * rounds) <= 1


@settings(deadline=None, max_examples=60)
@given(weights=weights, seed=st.integers(0, 1000), policy=policies)
def test_only_hosts_of_the_cluster_and_all_of_them(weights: list[int], seed: int, policy: str) -> None:
    cluster = make(weights, seed, lb_policy=policy)
    chosen = {choose(cluster) for _ in range(60 * sum(weights))}
    assert chosen == set(cluster.hosts)


@settings(deadline=None, max_examples=40)
@given(weights=weights, seed=st.integers(0, 1000), policy=policies, left=st.integers(0, 5))
def test_a_host_that_has_left_is_never_chosen(weights: list[int], seed: int, policy: str, left: int) -> None:
    cluster = make(weights, seed, lb_policy=policy)
    choose(cluster)
    gone = cluster.hosts[left % len(weights)]
    cluster.update_hosts([host for host in cluster.hosts if host is not gone])
    for _ in range(50):
        assert cluster.choose_host(None) is not gone


@settings(deadline=None, max_examples=40)
@given(
    active=st.lists(st.integers(0, 50), min_size=2, max_size=6),
    choices=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
def test_least_request_follows_the_law_of_choices(active: list[int], choices: int, seed: int) -> None:
    """Of n hosts the busiest is only taken when all of the choices fell on it, or on ones as busy: (k/n)**choices."""
    cluster = make(
        [1] * len(active),
        seed,
        lb_policy="LEAST_REQUEST",
        least_request_lb_config={"choice_count": choices},
    )
    for host, count in zip(cluster.hosts, active, strict=True):
        host.rq_active = count
    tries = 3000
    busiest = max(active)
    taken = sum(choose(cluster).rq_active == busiest for _ in range(tries))
    expected = (active.count(busiest) / len(active)) ** choices
    assert abs(taken / tries - expected) < 0.05


@settings(deadline=None, max_examples=30)
@given(
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=4).filter(lambda each: len(set(each)) > 1),
    active=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_weighted_least_request_shares_by_weight_and_load(weights: list[int], active: int, seed: int) -> None:
    """weight / (active requests + 1), the load being the first host's only."""
    cluster = make(weights, seed, lb_policy="LEAST_REQUEST")
    cluster.hosts[0].rq_active = active
    cluster.update_hosts(list(cluster.hosts))
    effective = [weight / (active + 1 if port == 0 else 1) for port, weight in enumerate(weights)]
    tries = 4000
    chosen = Counter(choose(cluster).port for _ in range(tries))
    for port, weight in enumerate(effective):
        assert abs(chosen[port] / tries - weight / sum(effective)) < 0.02
