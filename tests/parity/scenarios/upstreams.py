"""Clusters: how hosts are found, chosen, connected to and limited."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import Client, request
from tests.support.config import Config, address, cluster, file_log, route_to, virtual_host
from tests.support.parity.scenario import LOGGED, SEPARATOR, Scenario, World, told
from tests.support.upstream import Close, Hold, Request, Steps, Upstream, reply

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
BALANCERS = "envoy.extensions.load_balancing_policies"
CARES = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
DNS_CLUSTER = "envoy.extensions.clusters.dns.v3.DnsCluster"


def of_type(name: str, **fields: Any) -> Config:
    return {"@type": f"type.googleapis.com/{name}", **fields}


#: without the host, where chance decides which one it is
ANY_HOST = SEPARATOR.join(
    f"{operator}=%{operator}%"
    for operator in LOGGED
    if operator not in ("UPSTREAM_HOST", "UPSTREAM_REMOTE_ADDRESS", "REQ(X-REQUEST-ID)")
)


def any_host(world: World) -> Config:
    return {"access_log": [file_log(str(world.log), ANY_HOST + "\n")]}


def endpoints(world: World, *hosts: dict[str, Any]) -> Config:
    """A ClusterLoadAssignment; each host: name of an upstream (or a port), priority, what joins its LbEndpoint."""
    groups: list[Config] = []
    for host in hosts:
        fields = dict(host)
        at, priority = fields.pop("at"), fields.pop("priority", 0)
        port = at if isinstance(at, int) else world.upstreams[at].port
        one = {"endpoint": {"address": address(port)}, **fields}
        groups.append({"priority": priority, "lb_endpoints": [one]})
    return {"cluster_name": "c", "endpoints": groups}


# -- choosing ------------------------------------------------------------------------------------------------------


def weighted(world: World) -> Config:
    hosts = endpoints(
        world,
        *({"at": name, "load_balancing_weight": weight} for name, weight in (("a", 1), ("b", 2), ("d", 3))),
    )
    # one locality: Envoy chooses among its hosts by their weights
    one = [{"lb_endpoints": [group["lb_endpoints"][0] for group in hosts["endpoints"]]}]
    hosted = cluster("c", load_assignment={"cluster_name": "c", "endpoints": one})
    return world.bootstrap([virtual_host([route_to("c")])], clusters=[hosted], hcm=any_host(world))


def twelve(world: World) -> None:
    world.talk(*[request("GET", "/same")] * 12)


def by_weight(world: World) -> None:
    told(*[200] * 12)(world)
    assert [len(world.upstreams[name].requests) for name in "abd"] == [2, 4, 6]


def typed(name: str, **fields: Any) -> Config:
    policy = of_type(f"{BALANCERS}.{name}", **fields)
    return {"policies": [{"typed_extension_config": {"name": name, "typed_config": policy}}]}


POLICIES: dict[str, Config] = {
    "round_robin": {"lb_policy": "ROUND_ROBIN"},
    "least_request": {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {"choice_count": 3}},
    "random": {"lb_policy": "RANDOM"},
    "round_robin_typed": {"load_balancing_policy": typed("round_robin.v3.RoundRobin")},
    "least_request_typed": {
        "load_balancing_policy": typed(
            "least_request.v3.LeastRequest",
            choice_count=2,
            active_request_bias={"default_value": 2.0, "runtime_key": "bias"},
        )
    },
    "random_typed": {"load_balancing_policy": typed("random.v3.Random")},
}


def policies(world: World) -> Config:
    """A cluster and a route for each form; every cluster has one host that is up and one that is not to be used."""
    clusters, routes = [], []
    for name, policy in POLICIES.items():
        hosts = endpoints(world, {"at": "up"}, {"at": world.nobody, "health_status": "UNHEALTHY"})
        clusters.append(cluster(name, load_assignment=hosts, **policy))
        routes.append(route_to(name, match={"path": f"/{name}"}))
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def ask_policies(world: World) -> None:
    world.talk(*[request("GET", f"/{name}") for name in POLICIES for _ in range(3)])


HEALTH: dict[str, tuple[dict[str, Any], ...]] = {
    # all healthy hosts of the first priority
    "first": ({"at": "up"}, {"at": "other", "priority": 1}),
    # its only host is down, so the next priority has it all
    "next": ({"at": 1, "health_status": "UNHEALTHY"}, {"at": "up", "priority": 1}),
    "drained": ({"at": 1, "health_status": "DRAINING"}, {"at": "up", "priority": 1}),
    "timed_out": ({"at": 1, "health_status": "TIMEOUT"}, {"at": "up", "priority": 1}),
    # a gap in the priorities
    "gap": ({"at": "up", "priority": 2},),
    # nobody is healthy: a degraded host is better than none
    "degraded": ({"at": "up", "health_status": "DEGRADED"}, {"at": 1, "health_status": "UNHEALTHY"}),
    # nobody at all: panic, any host
    "panic": ({"at": "up", "health_status": "UNHEALTHY"},),
}


def healths(world: World) -> Config:
    clusters = [cluster(name, load_assignment=endpoints(world, *hosts)) for name, hosts in HEALTH.items()]
    panic = endpoints(world, {"at": "up", "health_status": "UNHEALTHY"})
    for name, common in {
        "no_panic": {"healthy_panic_threshold": {"value": 0}},
        "failing_panic": {"zone_aware_lb_config": {"fail_traffic_on_panic": True}},
    }.items():
        clusters.append(cluster(name, load_assignment=panic, common_lb_config=common))
    routes = [route_to(each["name"], match={"path": f"/{each['name']}"}) for each in clusters]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def ask_healths(world: World) -> None:
    for name in (*HEALTH, "no_panic", "failing_panic"):
        world.talk(*[request("GET", f"/{name}")] * 2)


# -- connecting ----------------------------------------------------------------------------------------------------


def options(**common: Any) -> Config:
    explicit: Config = {"http_protocol_options": {}}
    fields = of_type(HTTP_OPTIONS, explicit_http_config=explicit, common_http_protocol_options=common)
    return {"typed_extension_protocol_options": {HTTP_OPTIONS: fields}}


def pools(world: World) -> Config:
    port = world.upstreams["up"].port
    same = of_type(HTTP_OPTIONS, use_downstream_protocol_config={"http_protocol_options": {}})
    clusters = [
        cluster("two", port, **options(max_requests_per_connection=2)),
        cluster("older", port, max_requests_per_connection=1),
        cluster("short", port, **options(max_connection_duration="0.4s")),
        cluster("idle", port, **options(idle_timeout="0.2s")),
        cluster("same", port, typed_extension_protocol_options={HTTP_OPTIONS: same}, alt_stat_name="renamed"),
        cluster(
            "alive",
            port,
            upstream_connection_options={
                "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 5, "keepalive_probes": 3}
            },
        ),
    ]
    routes = [route_to(each["name"], prefix=f"/{each['name']}") for each in clusters]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def use_pools(world: World) -> None:
    assert world.proxy is not None
    for path, times in {"/two": 5, "/older": 3, "/same": 2, "/alive": 2}.items():
        world.talk(*[request("GET", path)] * times)
    world.talk(request("GET", "/short"), request("GET", "/idle"))
    world.proxy.wait_for_stat("cluster.short.upstream_cx_destroy", 1)
    world.proxy.wait_for_stat("cluster.idle.upstream_cx_destroy", 1)
    world.talk(request("GET", "/short"), request("GET", "/idle"))
    world.proxy.wait_for_stat("cluster.short.upstream_cx_destroy", 2)
    world.proxy.wait_for_stat("cluster.idle.upstream_cx_destroy", 2)


def unix(world: World) -> Config:
    hosts = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in (str(world.folder / "up.sock"),)]
    nobody = [{"endpoint": {"address": {"pipe": {"path": "/nowhere/outrider-test.sock"}}}}]
    clusters = [
        cluster("c", load_assignment={"cluster_name": "c", "endpoints": [{"lb_endpoints": hosts}]}),
        cluster("none", load_assignment={"cluster_name": "c", "endpoints": [{"lb_endpoints": nobody}]}),
    ]
    return world.bootstrap(
        [virtual_host([route_to("none", prefix="/none"), route_to("c")])], clusters=clusters
    )


def ask_unix(world: World) -> None:
    path = world.folder / "up.sock"
    path.unlink(missing_ok=True)
    with Upstream([reply(200, b"unix")], path=str(path)):
        world.talk(request("GET", "/1"), request("GET", "/2"), request("GET", "/none"))


BOUND = ("ours", "theirs", "family", "extra", "option", "no_option", "nothing")


def bound(world: World) -> Config:
    binds: dict[str, Config] = {
        "ours": {"source_address": {"address": "127.0.0.7", "port_value": 0}},
        "theirs": {"source_address": {"address": "192.0.2.1", "port_value": 0}},
        "family": {"source_address": {"address": "::1", "port_value": 0}},
        "extra": {
            "source_address": {"address": "::1", "port_value": 0},
            "extra_source_addresses": [{"address": {"address": "127.0.0.8", "port_value": 0}}],
        },
        "option": {"socket_options": [{"level": 1, "name": 2, "int_value": 1}]},
        "no_option": {"socket_options": [{"level": 1, "name": 9999, "int_value": 1}]},
        "nothing": {},
    }
    clusters = [
        cluster(name, world.upstreams[name].port, upstream_bind_config=bind) for name, bind in binds.items()
    ]
    routes = [route_to(name, match={"path": f"/{name}"}) for name in binds]
    log_format = SEPARATOR.join((ANY_HOST, "L=%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%"))
    hcm = {"access_log": [file_log(str(world.log), log_format + "\n")]}
    return world.bootstrap([virtual_host(routes)], clusters=clusters, hcm=hcm)


def ask_bound(world: World) -> None:
    world.talk(*[request("GET", f"/{name}") for name in BOUND])


def unsafe(world: World) -> Config:
    return world.bootstrap([virtual_host([route_to("up")])])


def use_dead_connections(world: World) -> None:
    """Requests that must not be sent twice, on connections that die of them."""
    world.talk(request("GET", "/1"), request("POST", "/dies"))
    world.talk(request("GET", "/1"), request("PUT", "/dies", body=b"body"))
    world.talk(request("GET", "/dies"))


def dying(got: Request) -> Steps:
    return [Close()] if got.path == "/dies" else [reply()]


# -- limits --------------------------------------------------------------------------------------------------------


def limited(world: World) -> Config:
    def limits(*thresholds: Config, **more: Any) -> Config:
        return {"circuit_breakers": {"thresholds": list(thresholds), **more}}

    up = world.upstreams["up"].port
    clusters = [
        cluster("pool", up, **limits({"max_connection_pools": 1, "track_remaining": True})),
        cluster("pools", up, **limits({"max_connection_pools": 0, "track_remaining": True})),
        cluster("high", up, **limits({"priority": "HIGH", "max_requests": 1, "track_remaining": True})),
        cluster("none", up, **limits({"max_connections": 0, "max_pending_requests": 0})),
        cluster("host", up, **limits(per_host_thresholds=[{"max_connections": 1}])),
    ]
    routes = [
        route_to("pools", prefix="/pools"),
        route_to("pool", prefix="/pool"),
        route_to("high", prefix="/high", priority="HIGH"),
        route_to("high", prefix="/default"),
        route_to("none", prefix="/none"),
        route_to("host", prefix="/host"),
    ]
    return world.bootstrap([virtual_host(routes)], clusters=clusters, hcm=any_host(world))


def meet_limits(world: World) -> None:
    world.talk(*[request("GET", path) for path in ("/pool", "/pool", "/pools", "/none")])
    assert world.proxy is not None
    with Client(world.front) as first:
        first.send(request("GET", "/high/slow"))
        world.upstreams["up"].wait_for(3)
        world.talk(request("GET", "/high"))
        world.talk(request("GET", "/default"))
        world.upstreams["up"].let_go()
        world.listen(first)
    with Client(world.front) as first, Client(world.front) as second:
        first.send(request("GET", "/host/slow"))
        world.upstreams["up"].wait_for(5)
        second.send(request("GET", "/host"))
        world.proxy.wait_for_stat("cluster.host.upstream_rq_pending_active", 1)
        world.upstreams["up"].let_go()
        world.listen(second)
        world.listen(first)


def slow_by_path(got: Request) -> Steps:
    return [Hold(), reply()] if got.path.endswith("/slow") else [reply()]


def budgets(world: World) -> Config:
    port = world.upstreams["up"].port

    def budget(**fields: Any) -> Config:
        return {"circuit_breakers": {"thresholds": [{"retry_budget": fields}]}}

    clusters = [
        cluster("default", port, **budget()),
        cluster("none", port, **budget(budget_percent={"value": 0.0}, min_retry_concurrency=0)),
        cluster("half", port, **budget(budget_percent={"value": 50.0}, min_retry_concurrency=0)),
        cluster("whole", port, **budget(budget_percent={"value": 100.0}, min_retry_concurrency=0)),
    ]
    retry = {"retry_on": "5xx", "num_retries": 2}
    names = ("default", "none", "half", "whole")
    routes = [route_to(name, match={"path": f"/{name}"}, retry_policy=retry) for name in names]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def spend(world: World) -> None:
    world.talk(*[request("GET", f"/{name}") for name in ("default", "none", "half", "whole")])


# -- names ---------------------------------------------------------------------------------------------------------


def names(world: World) -> Config:
    """Names with one address, two (only the second host is there), none, and one that nobody can tell."""
    world.dns.asked.clear()
    world.dns.answers = {
        "one.example": [("127.0.0.1", 60)],
        "two.example": [("127.0.0.9", 60), ("127.0.0.1", 60)],
        "six.example": [("::9", 60)],
        "both.example": [("::9", 60), ("127.0.0.1", 60)],
        "empty.example": [],
    }
    world.dns.failing = {"broken.example"}
    clusters = []
    for name, (host, fields) in NAMES.items():
        hosts = [{"endpoint": {"address": address(world.upstreams["up"].port, host)}}]
        clusters.append(
            {
                "name": name,
                "connect_timeout": "1s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
                **fields(world),
            }
        )
    routes = [route_to(name, match={"path": f"/{name}"}) for name in NAMES]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def resolver(world: World) -> Config:
    config = of_type(CARES, resolvers=[address(world.dns.port)], query_tries=1, query_timeout_seconds=1)
    return {"typed_dns_resolver_config": {"name": "cares", "typed_config": config}}


def strict(**more: Any) -> Callable[[World], Config]:
    return lambda world: {"type": "STRICT_DNS", "dns_lookup_family": "V4_ONLY", **resolver(world), **more}


def logical(**more: Any) -> Callable[[World], Config]:
    return lambda world: {"type": "LOGICAL_DNS", "dns_lookup_family": "V4_ONLY", **resolver(world), **more}


def dns_cluster(**more: Any) -> Callable[[World], Config]:
    def fields(world: World) -> Config:
        config = of_type(DNS_CLUSTER, dns_lookup_family="V4_ONLY", **resolver(world), **more)
        return {"cluster_type": {"name": "envoy.cluster.dns", "typed_config": config}}

    return fields


NAMES: dict[str, tuple[str, Callable[[World], Config]]] = {
    "strict": ("one.example", strict()),
    "strict_auto": ("one.example", strict(dns_lookup_family="AUTO")),
    "strict_preferred": ("both.example", strict(dns_lookup_family="V4_PREFERRED")),
    "strict_six": ("one.example", strict(dns_lookup_family="V6_ONLY")),
    "strict_empty": ("empty.example", strict()),
    "strict_unknown": ("unknown.example", strict()),
    "strict_broken": ("broken.example", strict()),
    "logical": ("one.example", logical()),
    "logical_two": ("two.example", logical()),
    "logical_unknown": ("unknown.example", logical()),
    "logical_broken": ("broken.example", logical()),
    "typed": ("one.example", dns_cluster()),
    "typed_logical": ("two.example", dns_cluster(all_addresses_in_single_endpoint=True)),
}


def ask_names(world: World) -> None:
    for name in NAMES:
        world.talk(request("GET", f"/{name}"))


def changing(world: World) -> Config:
    world.dns.failing = set()
    world.dns.answers = {"back.example": [("127.0.0.1", 3600)]}
    clusters = []
    for name, kind in (("strict", "STRICT_DNS"), ("logical", "LOGICAL_DNS")):
        hosts = [{"endpoint": {"address": address(world.upstreams["up"].port, "back.example")}}]
        clusters.append(
            {
                "name": name,
                "type": kind,
                "connect_timeout": "1s",
                "dns_lookup_family": "V4_ONLY",
                "dns_refresh_rate": "0.2s",
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
                **resolver(world),
            }
        )
    routes = [route_to(name, match={"path": f"/{name}"}) for name in ("strict", "logical")]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def change(world: World) -> None:
    """The address changes, then the name server fails, then it says that there is no such name."""
    assert world.proxy is not None
    both = [request("GET", "/strict"), request("GET", "/logical")]
    world.talk(*both)
    world.dns.answers["back.example"] = [("127.0.0.9", 3600)]
    _wait(world, "membership_change", 2, 2)
    world.talk(*both)
    world.dns.answers["back.example"] = [("127.0.0.1", 3600)]
    _wait(world, "membership_change", 3, 3)
    world.talk(*both)
    world.dns.failing = {"back.example"}
    _wait(world, "update_failure", 2, 2)
    world.talk(*both)
    failed = world.proxy.stats()["cluster.logical.update_failure"]
    world.dns.answers, world.dns.failing = {}, set()
    _wait(world, "membership_change", 4, 3)
    _wait(world, "update_failure", 2, failed + 2)
    world.talk(*both)


def _wait(world: World, stat: str, of_strict: int, of_logical: int) -> None:
    assert world.proxy is not None
    world.proxy.wait_for_stat(f"cluster.strict.{stat}", of_strict)
    world.proxy.wait_for_stat(f"cluster.logical.{stat}", of_logical)


SCENARIOS = [
    Scenario(
        name="weights",
        title="round robin by weight",
        config=weighted,
        drive=twelve,
        upstreams={name: [reply()] for name in "abd"},
        lines=12,
        expect=by_weight,
    ),
    Scenario(
        name="policies",
        title="ROUND_ROBIN, LEAST_REQUEST, RANDOM in both forms never take an unhealthy host",
        config=policies,
        drive=ask_policies,
        upstreams={"up": [reply()]},
        lines=18,
        expect=told(*[200] * 18),
    ),
    Scenario(
        name="health",
        title="priorities, degraded hosts, panic, no panic, a panic that fails",
        config=healths,
        drive=ask_healths,
        upstreams={"up": [reply()], "other": [reply(200, b"other")]},
        lines=18,
        expect=told(*[200] * 14, 503, 503, 503, 503),
    ),
    Scenario(
        name="pools",
        title="requests per connection, connection duration and idle time; the client's protocol; alt_stat_name",
        config=pools,
        drive=use_pools,
        upstreams={"up": [reply()]},
        lines=16,
        expect=told(*[200] * 16),
    ),
    Scenario(
        name="unix_socket",
        title="a unix socket as a host, there and not there",
        config=unix,
        drive=ask_unix,
        lines=3,
        expect=told(200, 200, 503),
    ),
    Scenario(
        name="bind_config",
        title="source addresses: ours, not ours, of another family, a second one; socket options",
        config=bound,
        drive=ask_bound,
        upstreams={name: [reply()] for name in BOUND},
        lines=7,
        expect=told(200, 503, 503, 200, 200, 503, 200),
    ),
    Scenario(
        name="dead_connections",
        title="a request that is not safe to repeat is not repeated when its kept-alive connection dies",
        config=unsafe,
        drive=use_dead_connections,
        upstreams={"up": dying},
        lines=5,
        expect=told(200, 503, 200, 503, 503),
    ),
    Scenario(
        name="limits",
        title="limits of pools, of the HIGH priority, of a host's connections, limits of 0; what remains",
        config=limited,
        drive=meet_limits,
        upstreams={"up": slow_by_path},
        lines=9,
        expect=told(200, 200, 503, 503, 503, 200, 200, 200, 200),
    ),
    Scenario(
        name="retry_budgets",
        title="retry budgets: default, none, half and the whole of one request",
        config=budgets,
        drive=spend,
        upstreams={"up": [reply(503, b"busy", reason="Service Unavailable")]},
        lines=4,
        expect=told(503, 503, 503, 503),
    ),
    Scenario(
        name="names",
        title="STRICT_DNS, LOGICAL_DNS, envoy.cluster.dns by a name server: families, no address, no answer",
        config=names,
        drive=ask_names,
        upstreams={"up": [reply()]},
        lines=len(NAMES),
        allow={"addresses-in-turn": r"stats cluster\.(logical_two|typed_logical)\.upstream_cx_total"},
        expect=told(200, 200, 200, 503, 503, 503, 503, 200, 200, 503, 503, 200, 200),
    ),
    Scenario(
        name="names_change",
        title="an address changes, the name server fails, the name goes",
        config=changing,
        drive=change,
        upstreams={"up": [reply()]},
        lines=10,
        expect=told(200, 200, 503, 503, 200, 200, 200, 200, 503, 200),
    ),
]
