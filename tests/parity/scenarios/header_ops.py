"""Headers added, replaced and removed: every append action, every level, the order of levels, values of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import request
from tests.support.config import TYPES, Config, cluster, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

Make = Callable[[World], Config]
ACTIONS = ("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS")


def add(name: str, value: str, **more: Any) -> Config:
    return {"header": {"key": name, "value": value}, **more}


def one_route(**more: Any) -> Make:
    """A route to "up" that changes headers."""
    return lambda world: world.bootstrap([virtual_host([{**route_to("up"), **more}])])


def there(prefix: str) -> Headers:
    return [(f"{prefix}-{action}", "old") for action in ACTIONS]


def each_action(**more: Any) -> list[Config]:
    """Every append action on a header that is there, one that is there twice and one that is not."""
    return [
        add(f"{prefix}-{action}", "new", append_action=action, **more)
        for prefix in ("x-one", "x-two", "x-none")
        for action in ACTIONS
    ]


FIELDS: Headers = [*there("x-one"), *there("x-two"), *there("x-two")]


def leveled(most_specific: bool) -> Make:
    """All four levels write the same names, each in its own way."""

    def ops(level: str) -> Config:
        added = [
            add("x-level", level),
            add("x-over", level, append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
            add("x-first", level, append_action="ADD_IF_ABSENT"),
        ]
        gone = [f"x-gone-{level}", f"x-{level}-later"]
        return {
            "request_headers_to_add": added,
            "response_headers_to_add": added,
            "request_headers_to_remove": gone,
            "response_headers_to_remove": gone,
        }

    def make(world: World) -> Config:
        weighted = {"clusters": [{"name": "up", "weight": 1, **ops("weighted")}]}
        routes = [
            {"match": {"prefix": "/w"}, "route": {"weighted_clusters": weighted}, **ops("route")},
            {**route_to("up"), **ops("route")},
        ]
        host = virtual_host(routes, **ops("host"))
        table = {
            "name": "table",
            "virtual_hosts": [host],
            "most_specific_header_mutations_wins": most_specific,
            **ops("table"),
        }
        return world.bootstrap([], hcm={"route_config": table})

    return make


GONE: Headers = [(f"x-gone-{level}", "1") for level in ("table", "host", "route", "weighted")]


def ask_levels(world: World) -> None:
    world.talk(request("GET", "/w", GONE), request("GET", "/r", GONE))


VALUES = {
    "authority": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%|%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%|%PATH(NQ)%",
    "method": "%REQ(:METHOD):2%",
    "protocol": "%PROTOCOL%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "tls": "%DOWNSTREAM_TLS_VERSION%%DOWNSTREAM_PEER_SUBJECT%",
    "missing": "a%REQ(x-missing)%b",
    "missing-alone": "%REQ(x-missing)%",
    "fallback": "%REQ(x-missing?x-sent)%",
    "cut": "%REQ(x-sent):3%",
    "percent": "100%%",
    "empty": "",
    "metadata": "%METADATA(ROUTE:own:key)% %METADATA(CLUSTER:own:key)%",
    "query": "%QUERY_PARAM(q)% %QUERY_PARAM(missing)%",
    "environment": "%ENVIRONMENT(NO_SUCH_VARIABLE)%",
}
ANSWERS = {
    "code": "%RESPONSE_CODE% %RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "host": "%UPSTREAM_HOST%",
    "resp": "%RESP(x-up)%%RESP(x-gone?x-up)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "sent": "%REQ(x-sent)%",
}


def formatted(world: World) -> Config:
    metadata = {"filter_metadata": {"own": {"key": "of this"}}}
    adds = [add(f"x-{name}", value) for name, value in VALUES.items()]
    kept = [add(f"x-kept-{name}", VALUES[name], keep_empty_value=True) for name in ("missing-alone", "empty")]
    answers = [add(f"x-{name}", value) for name, value in {**VALUES, **ANSWERS}.items()]
    route = {
        **route_to("up"),
        "name": "its-route",
        "metadata": metadata,
        "request_headers_to_add": [*adds, *kept],
        "response_headers_to_add": [*answers, *kept],
    }
    up = cluster("up", world.upstreams["up"].port, metadata=metadata)
    return world.bootstrap([virtual_host([route], name="its-host")], clusters=[up])


def ask_formatted(world: World) -> None:
    world.talk(request("GET", "/p/q?q=1&r=2", [("x-sent", "sent-by-client"), ("User-Agent", "t")]))
    world.talk(request("POST", "/p", [("x-envoy-original-path", "/first?x")], b"12345", host="b.example:81"))


def on_local_replies(world: World) -> Config:
    """What is added to responses is added to ours too."""
    adds = [add("x-code", "%RESPONSE_CODE%"), add("server", "theirs", append_action="OVERWRITE_IF_EXISTS")]
    routes: list[Config] = [
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/x"}},
        route_to("nobody"),
    ]
    for route in routes:
        route["response_headers_to_add"] = adds
        route["response_headers_to_remove"] = ["content-type", "location"]
    return world.bootstrap([virtual_host(routes)], clusters=[cluster("nobody", world.nobody)])


def router(**fields: Any) -> Make:
    """Options of the router filter."""
    typed = {"@type": f"{TYPES}.filters.http.router.v3.Router", **fields}
    filters = [{"name": "envoy.filters.http.router", "typed_config": typed}]
    route = route_to("up", prefix_rewrite="/new", retry_policy={"retry_on": "5xx"})
    host = virtual_host([route], include_request_attempt_count=True, include_attempt_count_in_response=True)
    return lambda world: world.bootstrap([host], hcm={"http_filters": filters})


def special(world: World) -> Config:
    """Names that mean something besides."""
    added = [
        add("content-type", "text/own", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
        add("user-agent", "own", append_action="ADD_IF_ABSENT"),
        add("x-forwarded-for", "1.2.3.4"),
        add("cookie", "c=3"),
        add("X-UPPER", "Kept"),
    ]
    answered = [add("set-cookie", "c=3"), add("cache-control", "no-store"), add("date", "never")]
    return one_route(
        request_headers_to_add=added,
        response_headers_to_add=answered,
        request_headers_to_remove=["accept", "x-request-id"],
        response_headers_to_remove=["x-envoy-upstream-service-time"],
    )(world)


def ask_special(world: World) -> None:
    fields = [("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2"), ("user-agent", "theirs")]
    world.talk(request("GET", "/", fields), request("POST", "/", [("content-type", "a/b")], b"x"))


def scenario(name: str, title: str, config: Make, drive: Callable[[World], None], codes: list[int], answer: Headers | None = None) -> Scenario:  # fmt: skip
    return Scenario(
        name=f"headers_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": [reply(200, b"ok", answer or [])]},
        lines=len(codes),
        expect=told(*codes),
    )


def once(world: World) -> None:
    world.talk(request("GET", "/", FIELDS))


UP: Headers = [("x-up", "u"), ("Cache-Control", "max-age=1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")]

SCENARIOS = [
    scenario("actions_request", "each append action on requests", one_route(request_headers_to_add=each_action()), once,
             [200]),
    scenario("actions_response", "each append action on responses", one_route(response_headers_to_add=each_action()),
             once, [200], FIELDS),
    scenario("append", "append, the field before append_action", one_route(
        request_headers_to_add=[add("x-one-ADD_IF_ABSENT", "new", append=True),
                                add("x-two-ADD_IF_ABSENT", "new", append=False), add("x-none", "new", append=False)],
        response_headers_to_add=[add("x-up", "new", append=True), add("cache-control", "new", append=False)]),
        once, [200], UP),
    scenario("levels", "four levels: the least specific is last", leveled(most_specific=False), ask_levels, [200, 200],
             GONE),
    scenario("levels_specific", "four levels: most_specific_header_mutations_wins", leveled(most_specific=True),
             ask_levels, [200, 200], GONE),
    scenario("values", "values with command operators, keep_empty_value", formatted, ask_formatted, [200, 200], UP),
    scenario("special", "cookies, user agent, request id and others added or removed", special, ask_special,
             [200, 200], UP),
    scenario("local", "headers of local replies, redirects and direct responses", on_local_replies,
             lambda world: world.talk(*(request("GET", path) for path in ("/direct", "/moved", "/other"))),
             [200, 301, 503]),
    scenario("suppressed", "suppress_envoy_headers of the router", router(suppress_envoy_headers=True), once, [200], UP),
    scenario("not_suppressed", "the same without it", router(), once, [200], UP),
]  # fmt: skip
