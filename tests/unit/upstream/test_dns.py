"""STRICT_DNS: when names are asked for, and what becomes of hosts."""

from __future__ import annotations

import pytest

from tests.support.fake_upstream import FakeRequest, World, endpoint


def addresses(cluster: object) -> list[str]:
    return [host.address for host in cluster.hosts]  # type: ignore[attr-defined]


def test_a_name_becomes_hosts_and_is_asked_for_again() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS")
    assert [(name, family) for name, family, _ in world.resolver.asked] == [("back.example", "AUTO")]
    assert not cluster.initialized
    assert cluster.choose_host(None) is None
    world.resolver.answer("10.0.0.1", "10.0.0.2")
    assert cluster.initialized
    assert addresses(cluster) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert {host.hostname for host in cluster.hosts} == {"back.example"}
    assert cluster.choose_host(None) in cluster.hosts
    world.wait(4.9)
    assert world.resolver.asked == []
    world.wait(0.2)
    assert len(world.resolver.asked) == 1
    world.wait(60)
    assert len(world.resolver.asked) == 1  # never two questions at a time
    assert world.value("update_attempt") == 2


def test_hosts_that_stay_keep_their_connections_and_those_that_go_drain() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS", dns_refresh_rate="1s")
    world.resolver.answer("10.0.0.1", "10.0.0.2")
    stays, goes = cluster.hosts
    for host in (stays, goes):
        host.pool.new_stream(FakeRequest())
        world.connector.made[-1].connected()
        world.connector.made[-1].response()
    world.wait(1.1)
    world.resolver.answer("10.0.0.3", "10.0.0.1")
    assert cluster.hosts[1] is stays
    assert addresses(cluster) == ["10.0.0.3:80", "10.0.0.1:80"]
    assert [connection.closing for connection in world.connector.made] == [False, True]
    assert world.value("membership_change") == 2
    assert world.value("membership_total") == 2


def test_an_answer_in_another_order_changes_nothing() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS")
    world.resolver.answer("10.0.0.1", "10.0.0.2", "10.0.0.1")
    before = list(cluster.hosts)
    world.wait(5.1)
    world.resolver.answer("10.0.0.2", "10.0.0.1")
    assert cluster.hosts == before
    assert (world.value("update_success"), world.value("update_no_rebuild")) == (2, 1)
    assert world.value("membership_change") == 1


def test_a_failure_keeps_the_hosts() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS")
    world.resolver.answer("10.0.0.1")
    world.wait(5.1)
    world.resolver.fail()
    assert addresses(cluster) == ["10.0.0.1:80"]
    assert world.value("update_failure") == 1
    world.wait(5.1)
    assert len(world.resolver.asked) == 1


def test_a_name_without_addresses_loses_its_hosts() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS")
    world.resolver.answer("10.0.0.1")
    world.wait(5.1)
    world.resolver.answer()
    assert cluster.hosts == []
    assert cluster.choose_host(None) is None
    assert world.value("upstream_cx_none_healthy") == 1
    assert world.value("membership_total") == 0


def test_a_name_unknown_from_the_start_counts_as_envoy_counts() -> None:
    world = World()
    cluster = world.cluster("nothere.example:80", type="STRICT_DNS")
    world.resolver.answer()
    assert cluster.initialized
    assert world.used() == {
        "max_host_weight": 1,
        "update_attempt": 1,
        "update_no_rebuild": 1,
        "update_success": 1,
    }


def test_a_first_failure_makes_the_cluster_ready_too() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS")
    world.resolver.fail()
    assert cluster.initialized


def test_two_names_have_hosts_of_their_own_even_with_the_same_address() -> None:
    world = World()
    cluster = world.cluster("one.example:80", "two.example:80", type="STRICT_DNS")
    world.resolver.answer("10.0.0.1")
    assert cluster.initialized
    world.resolver.answer("10.0.0.1")
    assert [host.hostname for host in cluster.hosts] == ["one.example", "two.example"]
    assert world.value("membership_change") == 2


def test_failures_are_followed_by_a_growing_jittered_delay() -> None:
    world = World()
    rate = {"base_interval": "1s", "max_interval": "4s"}
    cluster = world.cluster("back.example:80", type="STRICT_DNS", dns_failure_refresh_rate=rate)
    discovery = cluster.discovery
    assert discovery is not None
    discovery.random = lambda: 1.0
    waits = []
    for _ in range(5):
        world.resolver.fail()
        before = world.now
        while not world.resolver.asked:
            world.wait(0.1)
        waits.append(world.now - before)
    assert waits == pytest.approx([1, 2, 4, 4, 4], abs=0.15)
    world.resolver.answer("10.0.0.1")
    assert discovery.targets[0].failures == 0


@pytest.mark.parametrize(
    ("ttls", "expected"),
    [((30.0, 12.0), 12.0), ((0.0, 12.0), 5.0), ((), 5.0)],
)
def test_respect_dns_ttl_takes_the_shortest(ttls: tuple[float, ...], expected: float) -> None:
    world = World()
    world.cluster("back.example:80", type="STRICT_DNS", respect_dns_ttl=True)
    world.resolver.answer(*((f"10.0.0.{index}", ttl) for index, ttl in enumerate(ttls)))
    world.wait(expected - 0.1)
    assert world.resolver.asked == []
    world.wait(0.2)
    assert len(world.resolver.asked) == 1


def test_jitter_only_delays() -> None:
    world = World()
    cluster = world.cluster("back.example:80", type="STRICT_DNS", dns_jitter="2s")
    assert cluster.discovery is not None
    cluster.discovery.random = lambda: 0.5
    world.resolver.answer("10.0.0.1")
    world.wait(5.9)
    assert world.resolver.asked == []
    world.wait(0.2)
    assert len(world.resolver.asked) == 1


def test_a_cluster_that_is_not_waited_for_is_ready_at_once() -> None:
    world = World()
    assert world.cluster("back.example:80", type="STRICT_DNS", wait_for_warm_on_init=False).initialized


def test_a_stopped_cluster_asks_no_more_and_drops_late_answers() -> None:
    world = World()
    cluster = world.cluster("one.example:80", "two.example:80", type="STRICT_DNS")
    world.resolver.answer("10.0.0.1")
    cluster.stop()
    world.resolver.answer("10.0.0.2")
    world.wait(60)
    assert world.resolver.asked == []
    assert addresses(cluster) == ["10.0.0.1:80"]


def test_the_endpoint_says_weight_priority_and_hostname() -> None:
    world = World()
    group = {
        "locality": {"region": "r", "zone": "z", "sub_zone": "s"},
        "priority": 1,
        "lb_endpoints": [endpoint("back.example:80", load_balancing_weight=7)],
    }
    group["lb_endpoints"][0]["endpoint"]["hostname"] = "other.example"  # type: ignore[index]
    cluster = world.cluster(type="STRICT_DNS", load_assignment={"endpoints": [group]})
    world.resolver.answer("::1")
    host = cluster.hosts[0]
    assert (host.address, host.hostname, host.weight, host.priority) == ("[::1]:80", "other.example", 7, 1)
    assert (host.locality.region, host.locality.zone, host.locality.sub_zone) == ("r", "z", "s")
    assert world.value("max_host_weight") == 7


def logical(world: World, **fields: object):
    return world.cluster("back.example:80", type="LOGICAL_DNS", **fields)


def test_logical_dns_is_one_host_at_the_first_address() -> None:
    world = World()
    cluster = logical(world)
    world.resolver.answer("10.0.0.1", "10.0.0.2")
    assert addresses(cluster) == ["10.0.0.1:80"]
    (host,) = cluster.hosts
    assert (host.hostname, host.other_ips) == ("back.example", ("10.0.0.2",))
    assert world.value("max_host_weight") == 0
    world.wait(5.1)
    world.resolver.answer("10.0.0.1", "10.0.0.2")
    assert cluster.hosts == [host]
    assert (world.value("update_success"), world.value("update_no_rebuild")) == (2, 1)
    assert world.value("default.total_match_count") == 2


@pytest.mark.parametrize("answers", [["10.0.0.3"], ["10.0.0.2", "10.0.0.1"], ["10.0.0.1"]])
def test_logical_dns_has_a_new_host_when_any_address_changes(answers: list[str]) -> None:
    world = World()
    cluster = logical(world)
    world.resolver.answer("10.0.0.1", "10.0.0.2")
    (before,) = cluster.hosts
    before.pool.new_stream(FakeRequest())
    connection = world.connector.made[-1]
    connection.connected()
    connection.response()
    world.wait(5.1)
    world.resolver.answer(*answers)
    (after,) = cluster.hosts
    assert after is not before
    assert after.ip == answers[0]
    assert connection.closing
    assert world.value("membership_change") == 2


def test_logical_dns_keeps_its_host_when_there_is_no_address() -> None:
    world = World()
    cluster = logical(world)
    world.resolver.answer("10.0.0.1")
    before = list(cluster.hosts)
    world.wait(5.1)
    world.resolver.answer()
    world.wait(5.1)
    world.resolver.fail()
    assert cluster.hosts == before
    assert (world.value("update_failure"), world.value("update_success")) == (2, 1)


def test_a_logical_host_is_as_old_as_its_own_address() -> None:
    world = World()
    logical(world, respect_dns_ttl=True)
    world.resolver.answer(("10.0.0.1", 30.0), ("10.0.0.2", 10.0))
    world.wait(29)
    assert world.resolver.asked == []
    world.wait(2)
    assert len(world.resolver.asked) == 1


def test_a_least_time_to_live() -> None:
    world = World()
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster",
        "respect_dns_ttl": True,
        "dns_min_refresh_rate": "3s",
    }
    world.cluster("back.example:80", cluster_type={"name": "envoy.cluster.dns", "typed_config": typed})
    world.resolver.answer(("10.0.0.1", 1.0))
    world.wait(2.9)
    assert world.resolver.asked == []
    world.wait(0.2)
    world.resolver.answer(("10.0.0.1", 0.0))  # no time to live: the refresh rate
    world.wait(4.8)
    assert world.resolver.asked == []
    world.wait(0.3)
    assert len(world.resolver.asked) == 1


def test_jitter_is_for_answers_only() -> None:
    world = World()
    world.cluster("back.example:80", type="STRICT_DNS", dns_jitter="60s")
    world.resolver.fail()
    world.wait(5.1)
    assert len(world.resolver.asked) == 1
    world.resolver.answer("10.0.0.1")
    world.wait(5.1)
    assert world.resolver.asked == []
    world.wait(60)
    assert len(world.resolver.asked) == 1
