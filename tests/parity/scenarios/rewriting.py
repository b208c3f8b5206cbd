"""What a route makes of a path, an authority and a client that is sent elsewhere: every form of rewrite and redirect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import request
from tests.support.config import Config, cluster, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Steps, reply

Drive = Callable[[World], None]
Make = Callable[[World], Config]


def echo(got: Request) -> Steps:
    return [reply(200, f"{got.one('host')} {got.path}".encode())]


def routed(*routes: Config) -> Make:
    return lambda world: world.bootstrap([virtual_host(list(routes))])


def to(match: Config, **action: Any) -> Config:
    return route_to("up", match=match, **action)


def ask(*paths: str, host: str = "example.com:8080", method: str = "GET") -> Drive:
    return lambda world: world.talk(*(request(method, path, host=host) for path in paths))


def rewrites(name: str, title: str, config: Make, drive: Drive, count: int) -> Scenario:
    return Scenario(
        name=f"rewrite_{name}",
        title=title,
        config=config,
        drive=drive,
        upstreams={"up": echo},
        lines=count,
        expect=told(*[200] * count),
    )


def regex(pattern: str, text: str) -> Config:
    return {"pattern": {"regex": pattern}, "substitution": text}


PREFIXES = routed(
    to({"prefix": "/a/"}, prefix_rewrite="/"),
    to({"prefix": "/b"}, prefix_rewrite="/"),
    to({"prefix": "/c"}, prefix_rewrite="/longer/place"),
    to({"path": "/exact"}, prefix_rewrite="/other"),
    to({"path_separated_prefix": "/sep/a"}, prefix_rewrite="/s"),
    to({"prefix": "/FoLd", "case_sensitive": False}, prefix_rewrite="/folded"),
    to({"safe_regex": {"regex": "/r/[0-9]+"}}, prefix_rewrite="/whole"),
)
PATTERNS = routed(
    to({"prefix": "/swap/"}, regex_rewrite=regex("^/swap/([^/]+)/(.*)$", "/\\2/\\1")),
    to({"prefix": "/every/"}, regex_rewrite=regex("o+", "0")),
    to({"prefix": "/none/"}, regex_rewrite=regex("zzz", "y")),
    to({"prefix": "/slash/"}, regex_rewrite=regex("/slash", "\\\\")),
    to({"prefix": "/fold/"}, regex_rewrite=regex("(?i)FOLD", "f\\0")),
)
TEMPLATES = routed(
    to({"prefix": "/named"}, path_rewrite="/%REQ(x-to)%/%PROTOCOL%"),
    to({"prefix": "/plain"}, path_rewrite="/fixed"),
)


def templates(world: World) -> None:
    world.talk(
        request("GET", "/named/x?q", [("x-to", "there")]),
        request("GET", "/named"),
        request("GET", "/plain?a=b"),
    )


HOSTS = routed(
    to({"prefix": "/literal"}, host_rewrite_literal="inner.example"),
    to({"prefix": "/kept"}, host_rewrite_literal="inner.example", append_x_forwarded_host=True),
    to({"prefix": "/header"}, host_rewrite_header="X-Host"),
    to({"prefix": "/both"}, host_rewrite_header="X-Host", append_x_forwarded_host=True),
    to({"prefix": "/path"}, host_rewrite_path_regex=regex("^/path/(.+)$", "\\1.example")),
    to({"prefix": "/format"}, host_rewrite="%REQ(x-host)%.format.example"),
    to({"prefix": "/path-and-prefix"}, prefix_rewrite="/p", host_rewrite_literal="both.example"),
)


def hosts(world: World) -> None:
    world.talk(
        request("GET", "/literal?q"),
        request("GET", "/kept", [("x-forwarded-host", "before.example")]),
        request("GET", "/kept"),
        request("GET", "/header", [("x-host", "asked.example")]),
        request("GET", "/header", [("x-host", "")]),
        request("GET", "/header"),
        request("GET", "/both", [("x-host", "asked.example")]),
        request("GET", "/both"),
        request("GET", "/path/tenant?q=1"),
        request("GET", "/path"),
        request("GET", "/format", [("x-host", "a")]),
        request("GET", "/path-and-prefix/x", [("x-envoy-original-path", "/forged")]),
    )


def named_host(world: World) -> Config:
    """auto_host_rewrite takes the name of the host that was chosen, of a static cluster's endpoint too."""
    up = cluster("up", world.upstreams["up"].port)
    up["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = "named.example"
    routes = [
        to({"prefix": "/auto"}, auto_host_rewrite=True),
        to({"prefix": "/kept"}, auto_host_rewrite=True, append_x_forwarded_host=True),
        route_to("bare", prefix="/bare", auto_host_rewrite=True),
        to({"prefix": "/"}),
    ]
    clusters = [up, cluster("bare", world.upstreams["up"].port)]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def moved(path: str, **redirect: Any) -> Config:
    return {"match": {"prefix": path}, "redirect": redirect}


def redirects(name: str, title: str, routes: list[Config], drive: Drive, codes: list[Any]) -> Scenario:
    return Scenario(
        name=f"redirect_{name}",
        title=title,
        config=routed(*routes),
        drive=drive,
        lines=sum(isinstance(code, int) for code in codes),
        expect=told(*codes),
    )


def from_schemes(world: World) -> None:
    protos: tuple[str | None, ...] = (None, "http", "https")
    for proto in protos:
        for host in ("example.com", "example.com:80", "example.com:443", "example.com:8080", "[::1]:80"):
            fields: Headers = [] if proto is None else [("x-forwarded-proto", proto)]
            world.talk(request("GET", "/s?q", fields, host=host))


def many(path: str, *hosts: str) -> Drive:
    return lambda world: world.talk(*(request("GET", path, host=host) for host in hosts))


CODES = ["MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"]


def bodies(world: World) -> Config:
    file = world.folder / "body.txt"
    file.write_text("of a file\n")
    sources: dict[str, Config] = {
        "/file": {"filename": str(file)},
        "/bytes": {"inline_bytes": "AGJ5dGVz/w=="},
        "/text": {"inline_string": "text"},
        "/empty": {"inline_string": ""},
    }
    routes = [
        {"match": {"path": path}, "direct_response": {"status": 200, "body": body}}
        for path, body in sources.items()
    ]
    for status in (200, 202, 204, 304, 404, 429, 500, 599):
        answer: Config = {"status": status}
        if status not in (204, 304):  # differences.md: local-reply-without-body
            answer["body"] = {"inline_string": f"a {status}"}
        routes.append({"match": {"path": f"/{status}"}, "direct_response": answer})
    created = {"status": 201, "body": {"inline_string": "made"}}
    routes.append({"match": {"prefix": "/made"}, "direct_response": created})
    return world.bootstrap([virtual_host(routes)])


def ask_for_bodies(world: World) -> None:
    for path in ("/file", "/bytes", "/text", "/empty", "/200", "/202", "/404", "/429", "/500", "/599"):
        world.talk(request("GET", path))
    world.talk(request("GET", "/204"), request("GET", "/304"))
    world.talk(request("HEAD", "/text"), heads=(0,))
    world.talk(request("GET", "/made?a=b", host="made.example:81"))


SCENARIOS = [
    rewrites("prefix", "prefix_rewrite of each kind of path", PREFIXES,
             ask("/a/x?q=1", "/a/", "/b", "/b/x", "/bx", "/c?q", "/c/d", "/exact", "/exact?q", "/sep/a", "/sep/a/b?c",
                 "/fold/x", "/FOLDER", "/r/12?q"), 14),
    rewrites("regex", "regex_rewrite: groups, every match, none, folded; never the query", PATTERNS,
             ask("/swap/a/b/c?o=o", "/swap/a", "/every/foo/oo?oo", "/none/x", "/slash/x", "/fold/x?fold"), 6),
    rewrites("template", "path_rewrite: command operators", TEMPLATES, templates, 3),
    rewrites("host", "host rewrites: literal, of a header, of the path, of a format", HOSTS, hosts, 12),
    rewrites("auto_host", "auto_host_rewrite", named_host, ask("/auto", "/kept", "/bare", "/other"), 4),
    redirects("path", "path_redirect: with and without a query, strip_query", [
        moved("/plain", path_redirect="/new"), moved("/query", path_redirect="/new?x=1"),
        moved("/strip", path_redirect="/new", strip_query=True),
        moved("/both", path_redirect="/new?x=1", strip_query=True)],
        ask("/plain/deep?q=1", "/plain", "/query?q=1", "/query", "/strip?q=1", "/both?q=1"), [301] * 6),
    redirects("prefix", "prefix_rewrite of redirects", [
        moved("/a/", prefix_rewrite="/b/"), moved("/c", prefix_rewrite="/"),
        moved("/strip", prefix_rewrite="/s", strip_query=True)],
        ask("/a/x?q", "/a/", "/c/x", "/cx?y", "/strip/x?q"), [301] * 5),
    redirects("regex", "regex_rewrite of redirects", [
        moved("/a/", regex_rewrite=regex("^/a/([0-9]+)/(.*)$", "/\\2/\\1")),
        moved("/strip", regex_rewrite=regex("s", "z"), strip_query=True)],
        ask("/a/12/x?q", "/a/none", "/strip/s?q"), [301] * 3),
    redirects("host", "host_redirect, port_redirect", [
        moved("/host", host_redirect="other.example"), moved("/port", port_redirect=8443),
        moved("/both", host_redirect="other.example", port_redirect=80),
        moved("/v6", host_redirect="[2001:db8::1]", port_redirect=81), moved("/self", port_redirect=80)],
        ask("/host?q", "/port", "/both", "/v6", "/self"), [301] * 5),
    redirects("scheme", "https_redirect from each scheme and port", [moved("/s", https_redirect=True)], from_schemes,
              [301] * 15),
    redirects("schemes", "scheme_redirect drops the port of the scheme that was", [moved("/s", scheme_redirect="http")],
              from_schemes, [301] * 15),
    redirects("hosts", "a redirect keeps the authority as it was written", [moved("/", path_redirect="/x")],
              many("/", "Example.COM", "example.com:80", "example.com:443", "[::1]", "[::1]:80", "user@a.example", "a"),
              [301] * 7),
    redirects("codes", "response codes; bodies of requests are not waited for", [
        moved(f"/{code.lower()}", path_redirect="/x", response_code=code) for code in CODES],
        ask(*(f"/{code.lower()}" for code in CODES), method="POST"), [301, 302, 303, 307, 308]),
    Scenario(
        name="direct_bodies",
        title="direct responses: bodies of files, bytes, texts; statuses; the location of a 201",
        config=bodies,
        drive=ask_for_bodies,
        lines=14,
        expect=told(200, 200, 200, 200, 200, 202, 404, 429, 500, 599, 204, 304, 200, 201),
    ),
]  # fmt: skip
