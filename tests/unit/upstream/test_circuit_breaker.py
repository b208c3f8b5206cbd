"""Circuit breakers: limits, gauges, and which of several entries counts."""

from __future__ import annotations

from typing import Any

from proxy.stats.store import Store
from proxy.upstream.circuit_breaker import ResourceManager, RetryBudget, Thresholds, compile_circuit_breakers
from tests.support.fake_upstream import World
from tests.support.runtime import runtime_of

MESSAGE = "envoy.config.cluster.v3.CircuitBreakers"


def compiled(world: World, *thresholds: dict[str, Any]) -> tuple[Thresholds, Thresholds]:
    return compile_circuit_breakers(world.reader(MESSAGE, thresholds=list(thresholds)))


def test_unset_limits_keep_their_defaults() -> None:
    world = World()
    default, high = compiled(world, {"max_requests": 5}, {"priority": "HIGH", "max_retries": 0})
    assert default == Thresholds(1024, 1024, 5, 3)
    assert high == Thresholds(1024, 1024, 1024, 0)
    assert compile_circuit_breakers(None) == (Thresholds(), Thresholds())


def test_the_first_entry_of_a_priority_counts() -> None:
    world = World()
    default, _ = compiled(world, {"max_requests": 5}, {"max_requests": 6})
    assert default.max_requests == 5
    assert [finding.path for finding in world.errors.warnings] == ["thresholds[1].priority"]


def test_gauges_open_at_the_limit_and_close_below_it() -> None:
    store = Store()
    breakers = ResourceManager(Thresholds(max_connections=1, max_retries=2), store.scope("b"))
    gauges = store.gauges
    assert breakers.can_connect()
    breakers.add_connection()
    assert not breakers.can_connect()
    assert gauges["b.cx_open"].value == 1
    breakers.add_connection()  # one beyond the limit
    breakers.remove_connection()
    assert gauges["b.cx_open"].value == 1
    breakers.remove_connection()
    assert gauges["b.cx_open"].value == 0
    breakers.add_retry()
    assert (breakers.can_retry(), gauges["b.rq_retry_open"].value) == (True, 0)
    breakers.add_retry()
    assert (breakers.can_retry(), gauges["b.rq_retry_open"].value) == (False, 1)
    breakers.remove_retry()
    assert (breakers.can_retry(), gauges["b.rq_retry_open"].value) == (True, 0)


def test_remaining_only_when_asked_for() -> None:
    store = Store()
    ResourceManager(Thresholds(), store.scope("without"))
    breakers = ResourceManager(Thresholds(max_connections=1, track_remaining=True), store.scope("with"))
    assert not any(name.startswith("without.remaining") for name in store.gauges)
    breakers.add_connection()
    breakers.add_connection()
    assert store.gauges["with.remaining_cx"].value == 0
    breakers.add_pending()
    assert store.gauges["with.remaining_pending"].value == 1023


def test_zero_lets_nothing_through() -> None:
    breakers = ResourceManager(Thresholds(0, 0, 0, 0), Store().scope("b"))
    assert not (breakers.can_connect() or breakers.can_wait() or breakers.can_retry())


def test_the_runtime_moves_the_limits() -> None:
    world = World()
    runtime, change = runtime_of(circuit_breakers__back__default__max_requests="7")
    world.context = world.context._replace(runtime=runtime)
    thresholds = [{"max_requests": 5, "max_connections": 6}, {"priority": "HIGH", "max_retries": 1}]
    cluster = world.cluster("127.0.0.1:1", circuit_breakers={"thresholds": thresholds}, alt_stat_name="other")
    default, high = cluster.resources
    assert (default.max_requests, default.max_connections, default.max_pending_requests) == (7, 6, 1024)
    change(
        circuit_breakers__back__default__max_requests="",
        circuit_breakers__back__default__max_connections="0",
        circuit_breakers__back__default__max_pending_requests="2",
        circuit_breakers__back__high__max_retries="9",
    )
    assert (default.max_requests, default.max_connections, default.max_pending_requests) == (5, 0, 2)
    assert (high.max_retries, high.max_requests) == (9, 1024)
    assert not default.can_connect()
    change(
        circuit_breakers__back__default__max_connections="",
        circuit_breakers__back__default__max_pending_requests="",
        circuit_breakers__back__high__max_retries="",
    )
    assert (default.max_connections, default.max_pending_requests, high.max_retries) == (6, 1024, 1)


def test_the_runtime_moves_a_budget_and_the_limit_of_pools() -> None:
    world = World()
    runtime, change = runtime_of(circuit_breakers__back__default__retry_budget__min_retry_concurrency="12")
    world.context = world.context._replace(runtime=runtime)
    thresholds = [{"max_retries": 5}, {"priority": "HIGH", "retry_budget": {"budget_percent": {"value": 10}}}]
    cluster = world.cluster(
        "127.0.0.1:1", circuit_breakers={"thresholds": thresholds}
    )  # is held: the runtime does not
    default, high = cluster.resources
    high.requests = 100
    assert (default.max_retries, high.max_retries) == (12, 10)
    assert default.max_pools == 2**64 - 1
    change(
        circuit_breakers__back__default__retry_budget__min_retry_concurrency="",
        circuit_breakers__back__high__retry_budget__budget_percent="50.5",
        circuit_breakers__back__default__max_connection_pools="0",
    )
    assert (default.max_retries, high.max_retries) == (5, 50)
    assert not default.can_add_pool()


def test_gauges_follow_a_limit_that_is_moved() -> None:
    store = Store()
    breakers = ResourceManager(Thresholds(max_connections=2, track_remaining=True), store.scope("b"))
    breakers.add_connection()
    breakers.add_connection()
    assert (store.gauges["b.cx_open"].value, store.gauges["b.remaining_cx"].value) == (1, 0)
    breakers.set_limits(Thresholds(max_connections=5, track_remaining=True))
    assert (store.gauges["b.cx_open"].value, store.gauges["b.remaining_cx"].value) == (0, 3)
    breakers.set_limits(Thresholds(max_connections=1, track_remaining=True))
    assert (store.gauges["b.cx_open"].value, store.gauges["b.remaining_cx"].value) == (1, 0)


def test_a_budget_is_a_share_of_what_is_under_way() -> None:
    store = Store()
    thresholds = Thresholds(max_retries=0, budget=RetryBudget(50.0, 1), track_remaining=True)
    breakers = ResourceManager(thresholds, store.scope("b"))
    assert breakers.max_retries == 1  # never fewer than min_retry_concurrency
    breakers.requests = 5
    breakers.add_pending()
    assert breakers.max_retries == 3
    for _ in range(3):
        assert breakers.can_retry()
        breakers.add_retry()
    assert not breakers.can_retry()
    assert store.gauges["b.rq_retry_open"].value == 1
    breakers.requests = 8
    assert breakers.can_retry()
    assert store.gauges["b.remaining_retries"].value == 0


def test_budgets_and_limits_by_host_are_read() -> None:
    world = World()
    budget = {"budget_percent": {"value": 12.5}, "min_retry_concurrency": 0}
    default, high = compile_circuit_breakers(
        world.reader(
            MESSAGE,
            thresholds=[
                {"retry_budget": budget, "max_connection_pools": 3},
                {"retry_budget": {}, "priority": 1},
            ],
            per_host_thresholds=[{"max_connections": 4}],
        )
    )
    assert (default.budget, default.max_pools) == (RetryBudget(12.5, 0), 3)
    assert high.budget == RetryBudget(20.0, 3)
    assert (default.max_connections_per_host, high.max_connections_per_host) == (4, 2**32 - 1)
    assert world.errors.findings == []


def test_other_limits_by_host_are_errors_as_in_envoy() -> None:
    world = World()
    compile_circuit_breakers(world.reader(MESSAGE, per_host_thresholds=[{"max_requests": 4}]))
    assert [(each.path, each.kind) for each in world.errors.findings] == [
        ("per_host_thresholds[0].max_requests", "invalid")
    ]
