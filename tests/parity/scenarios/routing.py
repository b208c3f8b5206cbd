"""Where requests go and what is written into them on the way."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.client import request
from tests.support.config import Config, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Steps, reply


def name_script(name: str) -> Callable[[Request], Steps]:
    def script(got: Request) -> Steps:
        return [reply(200, f"{name} saw {got.path}".encode(), [("x-served-by", name)])]

    return script


def redirects(world: World) -> Config:
    def to(path: str, **redirect: object) -> Config:
        return {"match": {"path": path}, "redirect": redirect}

    def answer(path: str, status: int, body: str | None = None) -> Config:
        direct: Config = {"status": status}
        if body is not None:
            direct["body"] = {"inline_string": body}
        return {"match": {"path": path}, "direct_response": direct}

    routes = [
        to("/moved", path_redirect="/new?x=1"),
        to("/host", host_redirect="other.example"),
        to("/https", https_redirect=True),
        to("/port", port_redirect=8443, scheme_redirect="https", response_code="TEMPORARY_REDIRECT"),
        to("/strip", strip_query=True, path_redirect="/stripped", response_code="PERMANENT_REDIRECT"),
        {"match": {"prefix": "/old/"}, "redirect": {"prefix_rewrite": "/new/", "response_code": "FOUND"}},
        answer("/teapot", 418, "short and stout"),
        answer("/created", 201, "made"),
        answer("/nothing", 204),
        answer("/unavailable", 503, "down for repairs"),
        {**answer("/json", 200, "{}"), "response_headers_to_add": [add("content-type", "application/json")]},
        {
            **answer("/bare", 200),
            "response_headers_to_add": [add("content-type", "text/css"), add("content-length", "5")],
        },
        {**answer("/length", 200, "{}"), "response_headers_to_add": [add("content-length", "5")]},
        route_to("up"),
    ]
    return world.bootstrap([virtual_host(routes)])


def follow(world: World) -> None:
    paths = ["/moved?q=2", "/host?q=2", "/https", "/port?a=b", "/strip?gone=1", "/old/page?q=1"]
    paths += ["/teapot", "/created", "/nothing", "/unavailable", "/json", "/bare", "/length", "/else"]
    world.talk(*(request("GET", path, host="example.com:8080") for path in paths))
    world.talk(request("HEAD", "/teapot"), heads=(0,))


def add(key: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD") -> Config:
    return {"header": {"key": key, "value": value}, "append_action": action}


def rewrites(world: World) -> Config:
    formatted = [
        add("x-client", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
        add("x-both", "[%REQ(X-IN?:AUTHORITY)%] %PROTOCOL% 100%%"),
        add("x-none", "%REQ(not-there)%"),
        add("x-cut", "%REQ(user-agent):4%"),
    ]
    routes = [
        route_to("up", prefix="/cut/", prefix_rewrite="/", host_rewrite_literal="inner.example"),
        route_to(
            "up",
            prefix="/keep",
            prefix_rewrite="/kept",
            append_x_forwarded_host=True,
            host_rewrite_literal="b",
        ),
        route_to(
            "up",
            match={"safe_regex": {"regex": "/re/[0-9]+/.*"}},
            regex_rewrite={"pattern": {"regex": "^/re/([0-9]+)/(.*)$"}, "substitution": "/\\2/\\1"},
        ),
        route_to("up"),
    ]
    routes[0]["name"] = "cut"
    routes[0]["request_headers_to_add"] = [
        *formatted,
        add("x-order", "route"),
        add("x-over", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
        add("x-keep", "new", "ADD_IF_ABSENT"),
        add("x-only", "new", "OVERWRITE_IF_EXISTS"),
    ]
    routes[0]["request_headers_to_remove"] = ["x-secret", "user-agent"]
    routes[0]["response_headers_to_add"] = [
        add("x-code", "%RESPONSE_CODE% %RESPONSE_FLAGS%"),
        add("x-from", "%UPSTREAM_CLUSTER%"),
        add("x-served-by", "route"),
        add("x-route", "%ROUTE_NAME%"),
        add("x-copy", "%RESP(x-served-by)% %RESP(x-private)%"),
    ]
    routes[0]["response_headers_to_remove"] = ["x-private"]
    host = virtual_host(
        routes,
        request_headers_to_add=[add("x-order", "virtual host")],
        response_headers_to_add=[add("x-level", "virtual host")],
        include_request_attempt_count=True,
    )
    table = {
        "name": "table",
        "virtual_hosts": [host],
        "request_headers_to_add": [add("x-order", "table")],
        "response_headers_to_add": [add("x-level", "table")],
        "response_headers_to_remove": ["x-secret-answer"],
    }
    return world.bootstrap([], hcm={"route_config": table})


def rewrite(world: World) -> None:
    sent = [
        ("X-In", "in"),
        ("X-Over", "old"),
        ("X-Keep", "old"),
        ("X-Only", "old"),
        ("X-Secret", "s"),
        ("x-order", "client"),
    ]
    world.talk(
        request("GET", "/cut/page?q=1", [*sent, ("User-Agent", "tester/9")]),
        request("GET", "/cut/"),
        request("GET", "/keeper/x", [("x-envoy-original-path", "/forged"), ("X-Forwarded-Host", "first")]),
        request("GET", "/re/42/name?q=%20"),
        request("GET", "/plain", sent),
    )


def rewrite_answers(got: Request) -> Steps:
    return [
        reply(200, got.path.encode(), [("x-served-by", "up"), ("X-Private", "1"), ("x-secret-answer", "1")])
    ]


def matches(world: World) -> Config:
    def when(cluster: str, *headers: Config, **match: object) -> Config:
        return route_to(cluster, match={"prefix": "/", "headers": list(headers), **match})

    def header(name: str, **how: object) -> Config:
        return {"name": name, **how}

    weighted: Config = {"clusters": [{"name": "a", "weight": 0}, {"name": "b", "weight": 100}]}
    weighted["clusters"][1]["request_headers_to_add"] = [add("x-weighted", "b")]
    routes = [
        {"match": {"path": "/weighted"}, "route": {"weighted_clusters": weighted}},
        when("a", header("x-exact", string_match={"exact": "One"})),
        when(
            "a",
            header("x-prefix", string_match={"prefix": "pre"}),
            header("x-suffix", string_match={"suffix": "fix"}),
        ),
        when("a", header("x-regex", string_match={"safe_regex": {"regex": "a+b"}})),
        when("a", header("x-range", range_match={"start": 10, "end": 20})),
        when(
            "a", header("x-there", present_match=True), header("x-not", present_match=True, invert_match=True)
        ),
        when("a", header(":method", string_match={"exact": "DELETE"})),
        when("a", header("x-contains", string_match={"contains": "MID", "ignore_case": True})),
        route_to("a", match={"path": "/Exact", "case_sensitive": False}),
        route_to("b"),
    ]
    return world.bootstrap([virtual_host(routes)])


def match_all(world: World) -> None:
    cases: list[list[tuple[str, str]]] = [
        [("x-exact", "One")],
        [("x-exact", "one")],
        [("x-exact", "One"), ("x-exact", "Two")],
        [("x-prefix", "prefix"), ("x-suffix", "suffix")],
        [("x-prefix", "prefix")],
        [("x-regex", "aab")],
        [("x-regex", "aabc")],
        [("x-range", "10")],
        [("x-range", "20")],
        [("x-range", "nan")],
        [("x-there", "")],
        [("x-there", "1"), ("x-not", "1")],
        [("x-contains", "a mid b")],
        [],
    ]
    world.talk(
        *(request("GET", "/m", headers) for headers in cases),
        request("DELETE", "/m"),
        request("GET", "/exact?query"),
        request("GET", "/exact/deeper"),
        request("GET", "/weighted"),
        request("GET", "/weighted?x"),
    )


SCENARIOS = [
    Scenario(
        name="redirects",
        title="redirects and direct responses",
        config=redirects,
        drive=follow,
        upstreams={"up": name_script("up")},
        lines=15,
        expect=told(301, 301, 301, 307, 308, 302, 418, 201, 204, 503, 200, 200, 200, 200, 418),
    ),
    Scenario(
        name="rewrites",
        title="path and host rewrites; headers added, overwritten, removed; the formatter",
        config=rewrites,
        drive=rewrite,
        upstreams={"up": rewrite_answers},
        lines=5,
        expect=told(200, 200, 200, 200, 200),
    ),
    Scenario(
        name="matches",
        title="header matches and weighted clusters",
        config=matches,
        drive=match_all,
        upstreams={"a": name_script("a"), "b": name_script("b")},
        lines=19,
        expect=told(*[200] * 19),
    ),
]
