"""Routes in depth: retries' waits, virtual clusters, mirrors, internal redirects, matches beside the path."""

from __future__ import annotations

from tests.parity.scenarios.routing import name_script
from tests.support.client import request
from tests.support.config import Config, cluster, file_log, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Send, Stall, Steps, reply
from tests.support.wait import until

QUICK = {"base_interval": "0.001s", "max_interval": "0.001s"}


# -- retries: where to, and when ---------------------------------------------------------------------------------------


def limited(world: World) -> Config:
    retry = {
        "retry_on": "5xx",
        "num_retries": 1,
        "retry_back_off": QUICK,
        "rate_limited_retry_back_off": {
            "reset_headers": [{"name": "Retry-After"}, {"name": "x-at", "format": "UNIX_TIMESTAMP"}],
            "max_interval": "2s",
        },
    }
    return world.bootstrap([virtual_host([route_to("up", retry_policy=retry, timeout="0s")])])


def limits(got: Request) -> Steps:
    fields = {
        "/now": [("retry-after", "0")],
        "/one": [("retry-after", "1")],
        "/long": [("retry-after", "3")],
        "/words": [("retry-after", "soon")],
        "/past": [("x-at", "1000")],
        "/second": [("retry-after", "99"), ("x-at", "99999999999")],
    }
    return [reply(503, b"down", fields.get(got.path, []))]


def ask_limited(world: World) -> None:
    paths = ["/now", "/one", "/long", "/words", "/past", "/second", "/none"]
    world.talk(*(request("GET", path) for path in paths))


def idle_tries(world: World) -> Config:
    def idle(prefix: str, retry_on: str) -> Config:
        retry = {
            "retry_on": retry_on,
            "per_try_idle_timeout": "0.2s",
            "per_try_timeout": "5s",
            "retry_back_off": QUICK,
        }
        return route_to("up", prefix=prefix, retry_policy=retry)

    return world.bootstrap([virtual_host([idle("/again", "5xx"), idle("/", "connect-failure")])])


def silent(got: Request) -> Steps:
    if got.path.endswith("begins"):
        return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg"), Stall()]
    return [Stall()]


def ask_idle(world: World) -> None:
    for path, tries in (("/again", 2), ("/once", 1), ("/begins", 1)):
        world.talk(request("GET", path), tries=(tries,))


RETRIES = [
    Scenario(
        name="retry-rate-limited",
        title="rate_limited_retry_back_off: seconds, a point in time, too long, no number",
        config=limited,
        drive=ask_limited,
        upstreams={"up": limits},
        lines=7,
        expect=told(*[503] * 7),
    ),
    Scenario(
        name="retry-idle-timeout",
        title="per_try_idle_timeout: retried, not retried, after the response has begun",
        config=idle_tries,
        drive=ask_idle,
        upstreams={"up": silent},
        lines=3,
        expect=None,
    ),
]

# -- virtual hosts -----------------------------------------------------------------------------------------------------


def kinds(world: World) -> Config:
    def header(name: str, text: str) -> Config:
        return {"name": name, "string_match": {"prefix": text}}

    virtual_clusters = [
        {"name": "post.with.dots", "headers": [header(":method", "POST"), header(":path", "/kind")]},
        {"name": "a", "headers": [header(":path", "/a")]},
        {"name": "shadowed", "headers": [header(":path", "/a/b")]},
        {"name": "rest", "headers": [{"name": ":path", "present_match": True}]},
    ]
    once = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": QUICK}
    routes = [
        {"match": {"prefix": "/a/direct"}, "direct_response": {"status": 200}, "stat_prefix": "direct"},
        {**route_to("up", prefix="/a", retry_policy=once, prefix_rewrite="/z"), "stat_prefix": "first"},
        {**route_to("nowhere", prefix="/nobody", retry_policy=once), "stat_prefix": "nobody"},
        {**route_to("up", prefix="/slow", timeout="0.2s"), "stat_prefix": "slow"},
        {
            **route_to("up", prefix="/tries", retry_policy={**once, "per_try_timeout": "0.2s"}),
            "stat_prefix": "tries",
        },
        route_to("up"),
    ]
    host = virtual_host(
        routes, virtual_clusters=virtual_clusters, include_is_timeout_retry_header=True, name="kinds"
    )
    logged = file_log(str(world.log), "CODE=%RESPONSE_CODE% | VC=%VIRTUAL_CLUSTER_NAME%\n")
    return world.bootstrap([host], hcm={"access_log": [logged]}, clusters=[cluster("nowhere", world.nobody)])


def kind_answers(got: Request) -> Steps:
    if got.path.startswith(("/slow", "/tries")):
        return [Stall()]
    if got.path == "/z/once" and got.one("x-envoy-is-timeout-retry") is None:
        return [reply(503, b"once")]
    return [reply(503 if got.path == "/z/down" else 200, b"ok")]


def ask_kinds(world: World) -> None:
    world.talk(
        request("POST", "/kind", body=b"12"),
        request("GET", "/kind"),
        request("GET", "/a/b"),
        request("GET", "/a/once"),
        request("GET", "/a/down"),
        request("GET", "/a/direct"),
        request("GET", "/nobody"),
    )
    world.talk(request("GET", "/slow"), tries=(1,))
    world.talk(request("GET", "/tries"), tries=(2,))


VIRTUAL_HOSTS = [
    Scenario(
        name="virtual-clusters",
        title="virtual clusters, stat_prefix of routes, x-envoy-is-timeout-retry",
        config=kinds,
        drive=ask_kinds,
        upstreams={"up": kind_answers},
        lines=9,
        expect=told(200, 200, 200, 200, 503, 200, 503, 504, 504),
    ),
]

# -- mirrors -----------------------------------------------------------------------------------------------------------


def mirrored(world: World) -> Config:
    def mirror(cluster: str = "copy", **more: object) -> Config:
        return {"cluster": cluster, **more} if cluster else dict(more)

    none: Config = {"runtime_fraction": {"default_value": {"numerator": 0}}}
    routes = [
        route_to(
            "up",
            prefix="/same-host",
            request_mirror_policies=[mirror(disable_shadow_host_suffix_append=True)],
        ),
        route_to("up", prefix="/none", request_mirror_policies=[mirror(**none)]),
        route_to("up", prefix="/named", request_mirror_policies=[mirror("", cluster_header="x-copy-to")]),
        route_to(
            "up",
            prefix="/rewritten",
            prefix_rewrite="/new",
            host_rewrite_literal="inner.example:81",
            request_mirror_policies=[mirror()],
        ),
        route_to("up"),
    ]
    host = virtual_host(routes, include_request_attempt_count=True, request_mirror_policies=[mirror()])
    return world.bootstrap([host])


def ask_mirrored(world: World) -> None:
    asked = [
        request("GET", "/same-host", [("x-forwarded-for", "10.0.0.9")]),
        request("GET", "/none"),
        request("GET", "/named"),
        request("GET", "/named", [("x-copy-to", "nobody")]),
        request("GET", "/named", [("x-copy-to", "copy")]),
        request("GET", "/rewritten/x?y", host="example.com:80"),
        request("POST", "/body", body=b"0123456789", host="[::1]"),
        request("HEAD", "/head"),
    ]
    copies = [1, 0, 0, 0, 1, 1, 1, 1]
    proxy = world.proxy
    assert proxy is not None
    for index, (data, _) in enumerate(zip(asked, copies, strict=True)):
        world.talk(data, heads=(0,) if index == 7 else ())
        # so that they come in this order, each on the connection that the one before has left
        world.upstreams["copy"].wait_for(sum(copies[: index + 1]))
        until(lambda: proxy.stats()["cluster.copy.upstream_rq_active"] == 0, "the copy's answer")


MIRRORS = [
    Scenario(
        name="mirrors",
        title="request mirrors: of a route, of its virtual host, by header, marked authority",
        config=mirrored,
        drive=ask_mirrored,
        upstreams={"up": name_script("up"), "copy": name_script("copy")},
        lines=8,
        expect=told(*[200] * 8),
    ),
]


# -- internal redirects ------------------------------------------------------------------------------------------------

REDIRECTS = "type.googleapis.com/envoy.extensions.internal_redirect."


def followed(world: World) -> Config:
    def follow(name: str, **policy: object) -> Config:
        return {"name": name, **route_to("up", prefix=f"/{name}", internal_redirect_policy=policy)}

    def predicate(kind: str, **config: object) -> Config:
        return {"name": kind, "typed_config": {"@type": REDIRECTS + kind, **config}}

    codes = [301, 302, 303, 307]
    routes = [
        follow("once"),
        follow("often", max_internal_redirects=3, response_headers_to_copy=["x-copied", "x-gone"]),
        follow("codes", redirect_response_codes=[*codes, 200]),
        follow("cross", allow_cross_scheme_redirect=True, max_internal_redirects=5),
        follow(
            "listed",
            predicates=[
                predicate(
                    "allow_listed_routes.v3.AllowListedRoutesConfig", allowed_route_names=["codes", "once"]
                )
            ],
        ),
        follow(
            "previous",
            max_internal_redirects=9,
            predicates=[predicate("previous_routes.v3.PreviousRoutesConfig")],
        ),
        follow(
            "safe",
            allow_cross_scheme_redirect=True,
            predicates=[predicate("safe_cross_scheme.v3.SafeCrossSchemeConfig")],
        ),
        {"match": {"prefix": "/made"}, "direct_response": {"status": 200, "body": {"inline_string": "made"}}},
        {"name": "end", **route_to("up", prefix="/end", prefix_rewrite="/the-end")},
    ]
    logged = file_log(str(world.log), LINE)
    return world.bootstrap(
        [virtual_host(routes, ["one.example", "two.example"])], hcm={"access_log": [logged]}
    )


LINE = (
    "CODE=%RESPONSE_CODE% | DETAILS=%RESPONSE_CODE_DETAILS% | FLAGS=%RESPONSE_FLAGS% | ROUTE=%ROUTE_NAME%"
    " | METHOD=%REQ(:METHOD)% | AUTHORITY=%REQ(:AUTHORITY)% | IN=%BYTES_RECEIVED% | OUT=%BYTES_SENT%\n"
)


def redirect_answers(got: Request) -> Steps:
    """``/x/<code>?to=<location>``"""
    path, _, location = got.path.partition("?to=")
    if not location:
        return [reply(200, b"here")]
    code = int(path.rsplit("/", 1)[1])
    return [reply(code, b"moved", [("location", location), ("x-copied", "1"), ("x-copied", "2")])]


def ask_followed(world: World) -> None:
    one = "http://one.example"
    asked = [
        ("/once/302", f"{one}/end"),
        ("/once/302", f"{one}/end?a=b"),
        ("/once/302", "http://two.example:80/end"),
        ("/once/302", "http://two.example"),
        ("/once/302", "http://unknown.example/end"),
        ("/once/302", "/end"),
        ("/once/302", "https://one.example/end"),
        ("/once/301", f"{one}/end"),
        ("/once/302", f"{one}/made"),
        ("/once/302", f"{one}/once/302?to={one}/end"),
        ("/often/302", f"{one}/often/302?to={one}/often/302?to={one}/end"),
        ("/codes/301", f"{one}/end"),
        ("/codes/308", f"{one}/end"),
        ("/cross/302", "https://one.example/end"),
        ("/cross/302", f"https://one.example/cross/302?to={one}/end"),
        ("/listed/302", f"{one}/codes"),
        ("/listed/302", f"{one}/end"),
        ("/previous/302", f"{one}/previous/302?to={one}/previous/302?to={one}/end"),
        ("/safe/302", "https://one.example/end"),
        ("/safe/302", f"{one}/end"),
    ]
    for path, location in asked:
        world.talk(request("GET", f"{path}?to={location}", [("x-gone", "1")], host="one.example"))
    for code in (302, 303, 307):
        world.talk(request("POST", f"/codes/{code}?to={one}/end", body=b"0123456789", host="one.example"))


INTERNAL_REDIRECTS = [
    Scenario(
        name="internal-redirects",
        title="internal redirects: codes, predicates, limits, schemes, bodies; what is logged and counted",
        config=followed,
        drive=ask_followed,
        upstreams={"up": redirect_answers},
        lines=40,
        allow={"internal-redirect-log": r"log \d+ (ROUTE|METHOD|IN)"},
    ),
]

SCENARIOS = [*RETRIES, *VIRTUAL_HOSTS, *MIRRORS, *INTERNAL_REDIRECTS]
