"""The admin interface: its pages after the same traffic, its commands, its own access log and what it allows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.support.client import request
from tests.support.config import Config, cluster, file_log, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Steps, reply

LOG = (
    "METHOD=%REQ(:METHOD)% | PATH=%REQ(:PATH)% | PROTOCOL=%PROTOCOL% | CODE=%RESPONSE_CODE% | FLAGS=%RESPONSE_FLAGS%"
    " | BYTES_RECEIVED=%BYTES_RECEIVED% | AUTHORITY=%REQ(:AUTHORITY)% | UPSTREAM_HOST=%UPSTREAM_HOST%"
    " | TYPE=%RESP(content-type)% | CLIENT=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% | SERVER=%RESP(server)%\n"
)


def plain(world: World) -> Config:
    return world.bootstrap([virtual_host([route_to("up")])], clusters=[cluster("other", world.nobody)])


def by_path(got: Request) -> Steps:
    word = got.path.strip("/")
    return [reply(int(word) if word.isdigit() else 200)]


def some_traffic(world: World) -> None:
    """Over when it is logged: Envoy's admin is a thread of its own, and could count what is not quite over."""
    world.talk(*(request("GET", path) for path in ("/200", "/404", "/503")))
    world.wait_for_lines(3)


def visit(*paths: str) -> Callable[[World], None]:
    """Some traffic, then the pages."""

    def drive(world: World) -> None:
        some_traffic(world)
        for path in paths:
            method, _, target = path.rpartition(" ")
            world.note(path, world.ask_admin(target, method or "GET"))

    return drive


def clusters_page(world: World) -> None:
    """Every line of the text page; its counters; the same as JSON."""
    some_traffic(world)
    lines = world.ask_admin("/clusters").partition(" ")[2].splitlines()
    world.note("text", "\n".join(sorted(lines)))
    page = json.loads(world.ask_admin("/clusters?format=json").partition(" ")[2])
    for one in page["cluster_statuses"]:
        name = one.get("name", "")
        world.note(f"json {name}", json.dumps(one, sort_keys=True, indent=1))


def stats_pages(world: World) -> None:
    some_traffic(world)
    pattern = "filter=^cluster\\.up\\.(upstream_rq_[0-9]|external\\.upstream_rq_[0-9]|membership)"
    for query in (
        pattern,
        pattern + "&usedonly",
        pattern + "&type=Counters",
        pattern + "&type=Gauges",
        "filter=^nothing$",
    ):
        world.note(query, "\n".join(sorted(world.ask_admin("/stats?" + query).splitlines())))
    page = json.loads(world.ask_admin(f"/stats?{pattern}&format=json&type=Counters").partition(" ")[2])
    world.note("json", json.dumps(sorted(page["stats"], key=lambda one: str(one["name"]))))
    text = world.ask_admin("/stats/prometheus?filter=cluster.up.upstream_rq_(2|4|5)xx")
    world.note("prometheus", "\n".join(sorted(text.splitlines())))


def logging_levels(world: World) -> None:
    """/logging answers alike; names of loggers differ."""
    for path in ("/logging?level=nonsense", "/logging?paths=a:b:c"):
        world.note(path, world.ask_admin(path, "POST").partition("\n")[0][:3])


def healthchecks(world: World) -> None:
    for path in ("/healthcheck/fail", "/healthcheck/ok"):
        world.note(path, world.ask_admin(path, "POST"))
        world.note(f"ready after {path}", world.ask_admin("/ready"))
        world.talk(request("GET", "/200"))


def counters_reset(world: World) -> None:
    world.talk(request("GET", "/200"))
    world.wait_for_lines(1)
    world.note("reset", world.ask_admin("/reset_counters", "POST"))
    world.note("afterwards", world.ask_admin("/stats?filter=^cluster\\.up\\.upstream_rq_200$"))
    world.talk(request("GET", "/200"))


def runtime_pages(world: World) -> None:
    def shown(name: str) -> None:
        page = json.loads(world.ask_admin("/runtime").partition(" ")[2])
        world.note(name, json.dumps(page, sort_keys=True, indent=1))

    shown("before")
    world.note("modify", world.ask_admin("/runtime_modify?a.key=5&other=text", "POST"))
    shown("after")
    world.note("remove", world.ask_admin("/runtime_modify?a.key=", "POST"))
    shown("removed")


def runtime_config(world: World) -> Config:
    layers = [{"name": "static", "static_layer": {"a.key": 1}}, {"name": "admin", "admin_layer": {}}]
    return {**plain(world), "layered_runtime": {"layers": layers}}


def dumped(world: World) -> None:
    """Parts of /config_dump: what is configured comes back."""
    for query in (
        "resource=static_clusters&name_regex=up&mask=cluster.name,cluster.type",
        "resource=static_listeners&mask=listener.name",
        "mask=bootstrap.node.id&resource=nothing",
        "resource=static_route_configs&mask=route_config.name",
        "name_regex=(",
    ):
        page = world.ask_admin(f"/config_dump?{query}")
        world.note(query, re.sub(r'"last_updated": "[^"]*"', '"last_updated": "<time>"', page))


def informed(world: World) -> None:
    page = json.loads(world.ask_admin("/server_info").partition(" ")[2])
    world.note("state", str(page["state"]))
    world.note("keys", " ".join(sorted(page)))
    world.note("node", json.dumps({key: page["node"].get(key) for key in ("id", "cluster")}))
    world.note("memory", " ".join(sorted(json.loads(world.ask_admin("/memory").partition(" ")[2]))))


def admin_logged(world: World) -> Config:
    made = plain(world)
    polled = {"name": ":path", "string_match": {"exact": "/ready"}, "invert_match": True}
    made["admin"]["access_log"] = [
        {**file_log(str(world.log), LOG), "filter": {"header_filter": {"header": polled}}}
    ]
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["access_log"] = []
    return made


def ask_logged(world: World) -> None:
    """Not /ready, which has been asked for as often as it took."""
    for at, (path, method) in enumerate(
        (("/nothing?a=b", "GET"), ("/quitquitquit", "GET"), ("/reset_counters", "POST")), 1
    ):
        world.ask_admin(path, method)
        world.wait_for_lines(at)


def guarded(world: World) -> Config:
    made = plain(world)
    made["admin"]["allow_paths"] = [{"exact": "/ready"}, {"prefix": "/stats"}]
    return made


def scenario(name: str, title: str, drive: Callable[[World], None], config: Callable[[World], Config] = plain, lines: int = 0, codes: Any = None, **more: Any) -> Scenario:  # fmt: skip
    return Scenario(
        name=f"admin_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": by_path},
        lines=lines,
        expect=told(*codes) if codes is not None else None,
        **more,
    )


THREE = [200, 404, 503]

SCENARIOS = [
    scenario("ready", "/ready, /listeners, /hot_restart_version, /certs, commands that want POST", visit(
        "/ready", "/listeners", "/listeners?format=json", "/certs", "/quitquitquit", "/reset_counters", "/healthcheck/fail",
        "/drain_listeners", "/reopen_logs", "/runtime_modify?a=b", "/clusters?filter=^up$", "/listeners?filter=^nothing$"), codes=THREE, lines=3),
    scenario("clusters", "/clusters after traffic, as text and as JSON", clusters_page, codes=THREE, lines=3),
    scenario("stats", "/stats: filter, usedonly, types, JSON, Prometheus", stats_pages, codes=THREE, lines=3),
    scenario("logging", "/logging: what is refused", logging_levels, codes=[]),
    scenario("health", "/healthcheck/fail and /ok: what responses and /ready say", healthchecks, lines=2),
    scenario("reset", "/reset_counters", counters_reset, codes=[200, 200], lines=2),
    scenario("runtime", "/runtime, /runtime_modify", runtime_pages, runtime_config, codes=[]),
    scenario("dump", "/config_dump: resource, mask, name_regex", dumped, codes=[]),
    scenario("info", "/server_info, /memory: their shape", informed, codes=[]),
    scenario("log", "the admin interface's own access log", ask_logged, admin_logged, lines=3),
    scenario("allow", "allow_paths", visit("/stats?filter=^nothing$", "/clusters", "/", "/ready"), guarded, codes=THREE, lines=3),
]  # fmt: skip
