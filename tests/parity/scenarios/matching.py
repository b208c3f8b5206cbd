"""Which route a request gets: every kind of RouteMatch, and how the virtual host is found.

Each route answers with its own name, so a body says which one was taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.parity.scenarios.routing import name_script
from tests.support.client import request
from tests.support.config import Config, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told

Drive = Callable[[World], None]
Make = Callable[[World], Config]


def says(name: str, match: Config) -> Config:
    """A route that answers with its name."""
    answer = {"status": 200, "body": {"inline_string": name}}
    return {"name": name, "match": match, "direct_response": answer}


def table(routes: list[Config], **more: Any) -> Make:
    """One virtual host with these routes; ``more`` joins the route configuration."""

    def make(world: World) -> Config:
        hosts = [virtual_host(routes)]
        return world.bootstrap([], hcm={"route_config": {"name": "table", "virtual_hosts": hosts, **more}})

    return make


def by_header(name: str, matcher: Config) -> Config:
    return says(name, {"prefix": "/", "headers": [{"name": "x-h", **matcher}]})


def by_query(name: str, matcher: Config) -> Config:
    return says(name, {"prefix": "/", "query_parameters": [{"name": "q", **matcher}]})


def ask(*paths: str) -> Drive:
    return lambda world: world.talk(*(request("GET", path) for path in paths))


def ask_with(*values: str | None, name: str = "x-h") -> Drive:
    """A request for each value of a header; None: without it."""

    def drive(world: World) -> None:
        fields: list[Headers] = [[] if value is None else [(name, value)] for value in values]
        world.talk(*(request("GET", "/", one) for one in fields))

    return drive


def ask_hosts(*names: str) -> Drive:
    return lambda world: world.talk(*(request("GET", "/", host=name) for name in names))


def scenario(name: str, title: str, config: Make, drive: Drive, codes: list[Any]) -> Scenario:
    return Scenario(
        name=f"match_{name}",
        title=title,
        config=config,
        drive=drive,
        lines=sum(isinstance(code, int) for code in codes),
        expect=told(*codes),
    )


def hits(pattern: str) -> list[int]:
    """``+`` for 200, ``-`` for 404."""
    return [{"+": 200, "-": 404}[one] for one in pattern]


PREFIXES = [
    says("ab", {"prefix": "/ab"}),
    says("folded", {"prefix": "/FoLd", "case_sensitive": False}),
    says("abc, behind a shorter one", {"prefix": "/abc"}),
    says("with a query", {"prefix": "/q?x"}),
]
PATHS = [
    says("exact", {"path": "/exact"}),
    says("folded", {"path": "/FoLd", "case_sensitive": False}),
    says("with slash", {"path": "/dir/"}),
]
SEPARATED = [
    says("longer", {"path_separated_prefix": "/a/b"}),
    says("short", {"path_separated_prefix": "/a"}),
    says("folded", {"path_separated_prefix": "/FoLd", "case_sensitive": False}),
]
PATTERNS = [
    says("digits", {"safe_regex": {"regex": "/[0-9]+"}}),
    says("either", {"safe_regex": {"regex": "/(one|two)/?"}}),
    says("folded", {"safe_regex": {"regex": "(?i)/fold"}}),
    says("literal", {"safe_regex": {"regex": "/literal"}}),
    says("dot", {"safe_regex": {"regex": "/d.t"}}),
]
PARAMETERS = [says("semicolon", {"path": "/a/b"}), says("prefix", {"prefix": "/p/q"})]
SHARES = [
    says("never", {"prefix": "/n", "runtime_fraction": {"default_value": {"numerator": 0}}}),
    says("always", {"prefix": "/a", "runtime_fraction": {"default_value": {"numerator": 100}}}),
    says("of a million", {"prefix": "/m", "runtime_fraction": {"default_value": {"numerator": 1000000, "denominator": "MILLION"}}}),
    says("by key", {"prefix": "/k", "runtime_fraction": {"runtime_key": "routing.share", "default_value": {"numerator": 0}}}),
    says("off by key", {"prefix": "/o", "runtime_fraction": {"runtime_key": "routing.off", "default_value": {"numerator": 100}}}),
    says("rest", {"prefix": "/"}),
]  # fmt: skip


def shares(world: World) -> Config:
    layers = [{"name": "static", "static_layer": {"routing.share": 100, "routing.off": 0}}]
    return {**table(SHARES)(world), "layered_runtime": {"layers": layers}}


HOSTS = [
    ("exact", "a.example.com", "with.port:81", "UPPER.example"),
    ("suffix", "*.example.com"),
    ("longer suffix", "*.b.example.com", "*-x.example.com"),
    ("prefix", "api.*"),
    ("longer prefix", "api.v2.*"),
    ("any", "*"),
]
AUTHORITIES = (
    *(
        "a.example.com",
        "A.EXAMPLE.COM",
        "a.example.com:80",
        "b.example.com",
        "q.b.example.com",
        "example.com",
    ),
    *("q-x.example.com", "api.x", "api.v2.x", "api.", "api.example.com", "with.port:81", "with.port:82"),
    *("upper.example", ".example.com", "[::1]:80", "elsewhere"),
)


def hosted(**more: Any) -> Make:
    def make(world: World) -> Config:
        hosts = [
            virtual_host([says(name, {"prefix": "/"})], list(domains), name=name) for name, *domains in HOSTS
        ]
        return world.bootstrap([], hcm={"route_config": {"name": "table", "virtual_hosts": hosts, **more}})

    return make


def tls_wanted(requires: str) -> Make:
    host = virtual_host([says("plain", {"prefix": "/"})], require_tls=requires)
    internal = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
    return lambda world: world.bootstrap([host], hcm={"internal_address_config": internal})


def ask_for_tls(world: World) -> None:
    world.talk(
        request("GET", "/a?b=c", host="example.com:8080"),
        request("GET", "/a", [("x-forwarded-proto", "https")]),
        request("GET", "/a", [("x-forwarded-proto", "http")]),
        request("GET", "/a", [("x-forwarded-for", "10.1.1.1")]),
        request("POST", "/a", body=b"lost on the way"),
    )


def by_named_cluster(world: World) -> Config:
    def to(path: str, **action: Any) -> Config:
        return {"match": {"prefix": path}, "route": {"cluster_header": "X-Cluster", **action}}

    routes = [
        to("/404", cluster_not_found_response_code="NOT_FOUND"),
        to("/500", cluster_not_found_response_code="INTERNAL_SERVER_ERROR"),
        to("/"),
    ]
    return world.bootstrap([virtual_host(routes)])


def name_clusters(world: World) -> None:
    for path in ("/", "/404", "/500"):
        world.talk(
            request("GET", path, [("x-cluster", "one")]),
            request("GET", path, [("x-cluster", "nobody")]),
            request("GET", path, [("x-cluster", "")]),
            request("GET", path),
            request("GET", path, [("X-CLUSTER", "two"), ("x-cluster", "one")]),
        )


def weighted_by_header(world: World) -> Config:
    clusters = [
        {
            "name": name,
            "weight": weight,
            "response_headers_to_add": [{"header": {"key": "x-drawn", "value": name}}],
        }
        for name, weight in (("one", 30), ("two", 70))
    ]
    weighted = {"clusters": clusters, "header_name": "x-draw"}
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}
    return world.bootstrap([virtual_host([route])])


def weighted_by_runtime(world: World) -> Config:
    clusters = [{"name": "one", "weight": 100}, {"name": "two", "weight": 0}]
    weighted = {"clusters": clusters, "runtime_key_prefix": "shares"}
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}
    layers = [{"name": "static", "static_layer": {"shares.one": 0, "shares.two": 100}}]
    return {**world.bootstrap([virtual_host([route])]), "layered_runtime": {"layers": layers}}


def several_conditions(world: World) -> Config:
    every = {
        "prefix": "/",
        "headers": [{"name": "x-a", "string_match": {"exact": "1"}}, {"name": "x-b", "present_match": True}],
        "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}],
    }
    method = {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]}
    authority = {"prefix": "/", "headers": [{"name": ":authority", "string_match": {"suffix": ".own"}}]}
    path = {"prefix": "/", "headers": [{"name": ":path", "string_match": {"contains": "?find"}}]}
    routes = [says("all", every), says("put", method), says("own", authority), says("path", path)]
    return world.bootstrap([virtual_host(routes)])


def ask_conditions(world: World) -> None:
    world.talk(
        request("GET", "/?q=1", [("x-a", "1"), ("x-b", "")]),
        request("GET", "/?q=1", [("x-a", "1")]),
        request("GET", "/?q=2", [("x-a", "1"), ("x-b", "2")]),
        request("PUT", "/"),
        request("GET", "/", host="a.own"),
        request("GET", "/x?find=1"),
        request("GET", "/x"),
    )


def grpc_asks(world: World) -> None:
    kinds = ("application/grpc", "application/grpc+proto", "application/grpc-web", "application/json")
    world.talk(*(request("POST", "/s/m", [("content-type", kind)]) for kind in kinds))


def string(kind: str, value: Any, **more: Any) -> Config:
    return {"string_match": {kind: value, **more}}


TWO = {"one": name_script("one"), "two": name_script("two")}

SCENARIOS = [
    scenario("prefix", "prefix: the first that fits, case, query", table(PREFIXES),
             ask("/ab", "/abc", "/a", "/AB", "/fold/x", "/FOLDER", "/q?x", "/q"), hits("++--++--")),
    scenario("path", "path: whole, without the query", table(PATHS),
             ask("/exact", "/exact?q", "/exact/", "/EXACT", "/fold", "/FOLD?q", "/dir", "/dir/"), hits("++--++-+")),
    scenario("separated", "path_separated_prefix", table(SEPARATED),
             ask("/a", "/a/", "/a/b", "/a/b/c", "/a/bc", "/ab", "/a?b", "/fold/x", "/folder"), hits("+++++-++-")),
    scenario("regex", "safe_regex: the whole path without the query", table(PATTERNS),
             ask("/12", "/12?x", "/12x", "/one", "/two/", "/two/x", "/FOLD", "/literal", "/literal/", "/dot", "/d/t"),
             hits("++-++-++-++")),
    scenario("parameters", "ignore_path_parameters_in_path_matching",
             table(PARAMETERS, ignore_path_parameters_in_path_matching=True),
             ask("/a/b", "/a/b;v=1", "/a;x/b", "/a/b;v?q", "/p;1/q;2/r", "/p/q;a"), hits("++++++")),
    scenario("query", "query parameters: exact, prefix, suffix, contains, regex, folded, present", table([
        by_query("exact", string("exact", "one")), by_query("prefix", string("prefix", "pre")),
        by_query("suffix", string("suffix", "fix")), by_query("contains", string("contains", "mid")),
        by_query("regex", string("safe_regex", {"regex": "[0-9]{2}"})),
        by_query("folded", string("exact", "FoLd", ignore_case=True)),
        says("present", {"prefix": "/", "query_parameters": [{"name": "p", "present_match": True}]}),
        says("bare", {"prefix": "/", "query_parameters": [{"name": "b"}]})]),
        ask("/?q=one", "/?q=prefer", "/?q=suffix", "/?q=amidb", "/?q=12", "/?q=123", "/?q=FOLD", "/?p", "/?p=1", "/?b=",
            "/?q", "/?q=two&q=one", "/?Q=one", "/?q=%6Fne", "/"), hits("+++++-++++-----")),
    scenario("fraction", "runtime_fraction: shares, denominators, keys", shares,
             ask("/n", "/a", "/m", "/k", "/o"), hits("+++++")),
    scenario("header_exact", "headers: exact, and folded", table([
        by_header("exact", string("exact", "One")), by_header("folded", string("exact", "two", ignore_case=True))]),
        ask_with("One", "one", "Two", "One ", "", None), hits("+-++--")),
    scenario("header_affixes", "headers: prefix, suffix, contains", table([
        by_header("prefix", string("prefix", "pre")), by_header("suffix", string("suffix", "fix")),
        by_header("contains", string("contains", "Mid", ignore_case=True))]),
        ask_with("prefix", "suffix", "aMIDb", "none", None), hits("+++--")),
    scenario("header_regex", "headers: a pattern for the whole value", table([
        by_header("regex", string("safe_regex", {"regex": "a+b"}))]),
        ask_with("aab", "aabc", "xab", "b", None), hits("+----")),
    scenario("header_range", "headers: a range of numbers", table([
        by_header("range", {"range_match": {"start": -5, "end": 10}})]),
        ask_with("-5", "9", "10", "0x1", "1.5", " 3", "+3", "99999999999999999999", "", None), hits("++---++---")),
    scenario("header_present", "headers: there, not there", table([
        says("there", {"prefix": "/there", "headers": [{"name": "x-h", "present_match": True}]}),
        says("not there", {"prefix": "/not", "headers": [{"name": "x-h", "present_match": False}]}),
        says("inverted", {"prefix": "/inverted", "headers": [{"name": "x-h", "present_match": True, "invert_match": True}]}),
        says("no kind", {"prefix": "/bare", "headers": [{"name": "x-h"}]})]),
        lambda world: world.talk(*(request("GET", path, fields) for path in ("/there", "/not", "/inverted", "/bare")
                                   for fields in ([("x-h", "")], []))), hits("+--+-++-")),
    scenario("header_inverted", "headers: inverted matches, missing ones, treat_missing_header_as_empty", table([
        by_header("inverted", {**string("exact", "no"), "invert_match": True}),
        says("missing is empty", {"prefix": "/", "headers": [
            {"name": "x-h", **string("exact", "no"), "invert_match": True, "treat_missing_header_as_empty": True}]})]),
        ask_with("yes", "no", "", None), hits("+-++")),
    scenario("header_repeated", "headers: a name twice, a list in one", table([
        by_header("exact", string("exact", "a,b")), by_header("single", string("exact", "a"))]),
        lambda world: world.talk(request("GET", "/", [("x-h", "a"), ("x-h", "b")]),
                                 request("GET", "/", [("x-h", "b"), ("x-h", "a")]),
                                 request("GET", "/", [("x-h", "a,b")]), request("GET", "/", [("x-h", "a, b")])),
        hits("+++-")),
    scenario("header_deprecated", "headers: the forms before string_match", table([
        by_header("exact", {"exact_match": "one"}), by_header("prefix", {"prefix_match": "pre"}),
        by_header("suffix", {"suffix_match": "fix"}), by_header("contains", {"contains_match": "mid"}),
        by_header("regex", {"safe_regex_match": {"regex": "a+"}})]),
        ask_with("one", "prefer", "suffix", "amidb", "aaa", "b", None), hits("+++++--")),
    scenario("grpc", "grpc: by the content type", table([says("grpc", {"prefix": "/", "grpc": {}})]), grpc_asks,
             hits("++--")),
    scenario("conditions", "headers and query parameters together; pseudo-headers", several_conditions, ask_conditions,
             hits("+--+++-")),
    scenario("domains", "domains: exact, suffixes, prefixes, any; the longest first; ports", hosted(),
             ask_hosts(*AUTHORITIES), hits("+" * len(AUTHORITIES))),
    scenario("domains_no_port", "ignore_port_in_host_matching", hosted(ignore_port_in_host_matching=True),
             ask_hosts(*AUTHORITIES), hits("+" * len(AUTHORITIES))),
    scenario("tls_all", "require_tls: ALL", tls_wanted("ALL"), ask_for_tls, [301, 200, 301, 301, 301, "closed"]),
    scenario("tls_external", "require_tls: EXTERNAL_ONLY", tls_wanted("EXTERNAL_ONLY"), ask_for_tls,
             [301, 200, 301, 200, 301, "closed"]),
    Scenario(
        name="match_cluster_header",
        title="cluster_header: there, unknown, empty, missing, twice; cluster_not_found_response_code",
        config=by_named_cluster,
        drive=name_clusters,
        upstreams=TWO,
        lines=15,
        expect=told(*(code for lost in (503, 404, 500) for code in (200, lost, lost, lost, 200))),
    ),
    Scenario(
        name="match_weighted_header",
        title="weighted_clusters: a header draws",
        config=weighted_by_header,
        drive=ask_with("0", "29", "30", "99", "100", "130", name="x-draw"),
        upstreams=TWO,
        lines=6,
        expect=told(*hits("++++++")),
    ),
    Scenario(
        name="match_weighted_runtime",
        title="weighted_clusters: weights of the runtime",
        config=weighted_by_runtime,
        drive=ask("/1", "/2", "/3"),
        upstreams=TWO,
        lines=3,
        expect=told(200, 200, 200),
    ),
]  # fmt: skip
