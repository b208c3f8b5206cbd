"""retry_priority: retries leave the priorities that have been tried (previous_priorities)."""

from __future__ import annotations

from tests.support.client import request
from tests.support.config import Config, address, cluster, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

PREVIOUS = (
    "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
)


def leaving(prefix: str, name: str, frequency: int | None, retries: int) -> Config:
    policy: Config = {
        "retry_on": "5xx",
        "num_retries": retries,
        "retry_back_off": {"base_interval": "0.001s"},
    }
    if frequency is not None:
        typed = {"@type": PREVIOUS, "update_frequency": frequency}
        policy["retry_priority"] = {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": typed,
        }
    return route_to(name, prefix=prefix, retry_policy=policy)


def in_order(world: World, name: str, *peers: str) -> Config:
    """Each peer is a priority of its own."""
    made = cluster(name, world.upstreams[peers[0]].port)
    made["load_assignment"]["endpoints"] = [
        {"priority": at, "lb_endpoints": [{"endpoint": {"address": address(world.upstreams[peer].port)}}]}
        for at, peer in enumerate(peers)
    ]
    return made


def config(world: World) -> Config:
    routes = [
        leaving("/stays", "three", None, 2),
        leaving("/each", "three", 1, 2),
        leaving("/second", "three", 2, 4),
        leaving("/all", "bad", 1, 3),
        leaving("/alone", "alone", 1, 2),
    ]
    clusters = [
        in_order(world, "three", "one", "two", "good"),
        in_order(world, "bad", "one", "two"),
        in_order(world, "alone", "one"),
    ]
    return world.bootstrap(
        [virtual_host(routes, include_request_attempt_count=True)],
        clusters=[*clusters, *(cluster(name, world.upstreams[name].port) for name in ("one", "two", "good"))],
    )


def drive(world: World) -> None:
    for path in ("/stays", "/each", "/second", "/all", "/alone"):
        world.talk(request("GET", path))


SCENARIOS = [
    Scenario(
        name="retry_priorities",
        title="retry_priority: at every try, at every second one, when all were tried, where there is one",
        config=config,
        drive=drive,
        upstreams={"one": [reply(503, b"one")], "two": [reply(503, b"two")], "good": [reply(200, b"good")]},
        lines=5,
        expect=told(503, 200, 200, 503, 503),
    ),
]
