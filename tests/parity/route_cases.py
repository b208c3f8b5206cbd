"""The table of tests/parity/test_route_agreement.py: (route configuration, requests)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from tests.unit.router.tables import hosts, routes

Config = dict[str, Any]
Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class Ask:
    """One request."""

    path: str = "/"
    fields: Fields = field(default_factory=list)
    host: str = "orig.example"


@dataclass(frozen=True)
class Group:
    """One route configuration and what is asked of it."""

    name: str
    config: Config
    asks: list[Ask]


OVERWRITE = {"append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def add(name: str, value: str, **more: Any) -> Config:
    return {"header": {"key": name, "value": value}, **more}


def to(cluster: str = "one", **action: Any) -> Config:
    return {"route": {"cluster": cluster, **action}}


def named(name: str, match: Config, **rest: Any) -> Config:
    return {"name": name, "match": match, **(rest or to())}


def regex(pattern: str) -> Config:
    return {"regex": pattern}


def substitution(pattern: str, text: str) -> Config:
    return {"pattern": regex(pattern), "substitution": text}


def _domain_host(name: str, *domains: str) -> Config:
    return {"name": name, "domains": list(domains), "routes": [named(name, {"prefix": "/"})]}


DOMAINS = [
    _domain_host("exact", "a.Example.com", "with.port:81", "", "[::1]:9", "a.*.com"),
    _domain_host("suffix", "*.example.com"),
    _domain_host("longer-suffix", "*-x.example.com", "*.b.example.com"),
    _domain_host("prefix", "api.*", "*.both.*"),
    _domain_host("longer-prefix", "api.v2.*"),
]
AUTHORITIES = [
    "a.example.com",
    "A.EXAMPLE.COM",
    "a.example.com:80",
    "b.example.com",
    ".example.com",
    "example.com",
    "q-x.example.com",
    "q.b.example.com",
    "api.",
    "api.x",
    "api.v2.x",
    "api.v2.",
    "api.q.example.com",
    "with.port",
    "with.port:81",
    "with.port:82",
    "[::1]:9",
    "[::1]",
    "a.q.com",
    "a.*.com",
    "x.both.*",
    "other",
]
ANY = _domain_host("any", "*")

PATHS = routes(
    named("exact", {"path": "/exact"}),
    named("exact-fold", {"path": "/Fold", "case_sensitive": False}),
    named("prefix-fold", {"prefix": "/PreFold", "case_sensitive": False}),
    named("separated", {"path_separated_prefix": "/sep/a"}),
    named("separated-fold", {"path_separated_prefix": "/SepF", "case_sensitive": False}),
    named("regex", {"safe_regex": regex("/r/[0-9]+")}),
    named("regex-prefix", {"safe_regex": regex("/rp/.*")}),
    named("regex-literal", {"safe_regex": regex("/rl")}),
    named("never", {"prefix": "/q?x"}),
    named("short", {"prefix": "/ab"}),
    named("shadowed", {"prefix": "/abc"}),
    named("long", {"prefix": "/long/one"}),
    named("long-base", {"prefix": "/long"}),
    named("late-exact", {"path": "/abc"}),
    named("grpc", {"prefix": "/g", "grpc": {}}),
)
PATH_ASKS = [
    *(
        Ask(path)
        for path in [
            "/exact",
            "/exact/",
            "/exact?a=b",
            "/exactly",
            "/EXACT",
            "/fold",
            "/FOLD?x",
            "/folder",
            "/prefold/x",
            "/PREFOLD",
            "/sep/a",
            "/sep/a/",
            "/sep/a/b",
            "/sep/ab",
            "/sep/a?b",
            "/sep/a?/",
            "/sepf/x",
            "/SEPFx",
            "/r/12",
            "/r/12?x",
            "/r/",
            "/r/12/",
            "/rp/",
            "/rp/a/b",
            "/rp",
            "/rl",
            "/rl/",
            "/q",
            "/q?x",
            "/ab",
            "/abc",
            "/abcd",
            "/a",
            "/long/one/x",
            "/long/two",
            "/longer",
            "/g",
            "/%",
            "/%2f",
            "//exact",
            "/exact;x",
            "/abc?abc=/exact",
        ]
    ),
    Ask("/g", [("content-type", "application/grpc")]),
    Ask("/g", [("content-type", "application/grpc+proto")]),
    Ask("/g", [("content-type", "application/grpc-web")]),
    Ask("/g", [("content-type", "application/json")]),
]

HEADER_MATCHERS: list[Config] = [
    {},
    {"present_match": True},
    {"present_match": False},
    {"exact_match": "abc"},
    {"exact_match": "a"},
    {"string_match": {"exact": "a,c"}},
    {"string_match": {"safe_regex": regex("ab.")}},
    {"safe_regex_match": regex("\u00e9|a\\C\\C")},
    {"prefix_match": "ab"},
    {"suffix_match": "bc"},
    {"contains_match": "b"},
    {"safe_regex_match": regex("a.c")},
    {"range_match": {"start": -10, "end": 10}},
    {"string_match": {"exact": "ABC", "ignore_case": True}},
    {"string_match": {"prefix": "AB", "ignore_case": True}},
    {"string_match": {"suffix": "Bc", "ignore_case": True}},
    {"string_match": {"contains": "B", "ignore_case": True}},
    {"string_match": {"safe_regex": regex("ab.*")}},
    {"string_match": {"safe_regex": regex("|abc")}},
]
HEADER_FLAGS: list[Config] = [
    {},
    {"invert_match": True},
    {"treat_missing_header_as_empty": True},
    {"invert_match": True, "treat_missing_header_as_empty": True},
]
HEADER_VALUES: list[Fields] = [
    [],
    [("x", "abc")],
    [("x", "")],
    [("x", "ABC")],
    [("x", "-10")],
    [("x", "10")],
    [("x", "+5")],
    [("x", "5x")],
    [("x", "99999999999999999999")],
    [("x", "a"), ("x", "c")],
    [("x", "b"), ("x", "abc")],
    [("x", "50"), ("x", "5")],
    [("x", "ab\xe9")],
    [("x", "ab\xc3\xa9")],
]
HEADER_ROUTES = [
    (index, {"name": "x", **matcher, **flags})
    for index, (matcher, flags) in enumerate(product(HEADER_MATCHERS, HEADER_FLAGS))
]
PSEUDO_ROUTES = [
    named("method", {"prefix": "/p", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}),
    named("no-path", {"prefix": "/q", "headers": [{"name": ":path", "present_match": False}]}),
    named("path", {"prefix": "/q", "headers": [{"name": ":path", "string_match": {"suffix": "?x"}}]}),
    named("host", {"prefix": "/h", "headers": [{"name": "Host", "string_match": {"exact": "h.example"}}]}),
    named(
        "authority", {"prefix": "/h", "headers": [{"name": ":authority", "string_match": {"prefix": "g"}}]}
    ),
    named("scheme", {"prefix": "/s", "headers": [{"name": ":scheme", "string_match": {"exact": "http"}}]}),
]

QUERY_MATCHERS: list[Config] = [
    {"name": "k"},
    {"name": "k", "present_match": True},
    {"name": "k", "present_match": False},
    {"name": "k", "string_match": {"exact": "v"}},
    {"name": "k", "string_match": {"safe_regex": regex("|v+")}},
    {"name": "k%20", "string_match": {"prefix": "v"}},
]
QUERIES = [
    "",
    "?",
    "?k",
    "?k=",
    "?k=v",
    "?K=v",
    "?a=b&k=v",
    "?k=x&k=v",
    "?k=v&k=x",
    "?k=vv",
    "?k%20=v",
    "?k=%76",
    "?k=v=w",
]

OPS = hosts(
    {
        "name": "all",
        "domains": ["*"],
        "include_request_attempt_count": True,
        "request_headers_to_add": [add("x-level", "host"), add("x-over", "host", **OVERWRITE)],
        "response_headers_to_add": [add("x-level", "host"), add("x-over", "host", **OVERWRITE)],
        "request_headers_to_remove": ["X-Gone-Host"],
        "routes": [
            named(
                "all-actions",
                {"prefix": "/x"},
                request_headers_to_remove=["x-gone", "X-Absent"],
                request_headers_to_add=[
                    add("X-A", "%PROTOCOL% %REQ(:path)% %%"),
                    add("x-a", "2"),
                    add("x-absent", "3", append_action="ADD_IF_ABSENT"),
                    add("x-there", "3", append_action="ADD_IF_ABSENT"),
                    add("x-both", "4", **OVERWRITE),
                    add("x-only", "5", append_action="OVERWRITE_IF_EXISTS"),
                    add("x-copy", "%REQ(x-both)%"),
                    add("x-none", "%REQ(nope)%"),
                    add("x-none-over", "%REQ(nope)%", **OVERWRITE),
                    add("x-keep", "%REQ(nope)%", keep_empty_value=True),
                    add("x-empty", ""),
                    add("x-old-append", "6", append=False),
                    add("user-agent", "joined"),
                    add("x-forwarded-proto", "joined"),
                    add("cookie", "c=d"),
                    add("x-envoy-original-path", "mine"),
                ],
                response_headers_to_remove=["x-drop"],
                response_headers_to_add=[
                    add("x-a", "1"),
                    add("cache-control", "no-store"),
                    add("x-up", "%RESP(x-up)%!", **OVERWRITE),
                    add("x-there", "no", append_action="ADD_IF_ABSENT"),
                ],
                **to(),
            ),
            named(
                "rewrites",
                {"prefix": "/hp"},
                request_headers_to_add=[add("x-route", "%REQ(:AUTHORITY)%")],
                **to(prefix_rewrite="/new", host_rewrite_literal="new.example", append_x_forwarded_host=True),
            ),
            named("prefix-exact", {"path": "/pe"}, **to(prefix_rewrite="/new/pe")),
            named("prefix-fold", {"prefix": "/PF", "case_sensitive": False}, **to(prefix_rewrite="/n")),
            named("prefix-sep", {"path_separated_prefix": "/ps"}, **to(prefix_rewrite="/n")),
            named("prefix-regex", {"safe_regex": regex("/pr/.*")}, **to(prefix_rewrite="/n")),
            named("prefix-slash", {"prefix": "/sl/"}, **to(prefix_rewrite="/")),
            named(
                "regex", {"prefix": "/re"}, **to(regex_rewrite=substitution("/re/(\\d+)", "/r-\\1\\0\\\\"))
            ),
            named("regex-empty", {"prefix": "/rz"}, **to(regex_rewrite=substitution("z", ""))),
            named("regex-utf8", {"prefix": "/ru"}, **to(regex_rewrite=substitution(".", "."))),
            named("regex-nullable", {"prefix": "/rn"}, **to(regex_rewrite=substitution("a*", "<\\0>"))),
            named("bad-group", {"prefix": "/bg"}, **to(regex_rewrite=substitution("(b)", "[\\1\\2]"))),
            named("bad-escape", {"prefix": "/be"}, **to(regex_rewrite=substitution("(b)", "[\\1\\x]"))),
            named("regex-all", {"prefix": "/qer"}, **to(regex_rewrite=substitution("/qer", ""))),
            named("template", {"prefix": "/tp"}, **to(path_rewrite="/t%REQ(x-h)%")),
            named("template-only", {"prefix": "/to"}, **to(path_rewrite="%REQ(x-h)%")),
            named("host-header", {"prefix": "/hh"}, **to(host_rewrite_header="X-H")),
            named(
                "host-path",
                {"prefix": "/hq"},
                **to(host_rewrite_path_regex=substitution("^/hq/(.+)/.+$", "\\1")),
            ),
            named("host-template", {"prefix": "/ht"}, **to(host_rewrite="%REQ(x-h)%")),
            named("host-auto", {"prefix": "/ha"}, **to(auto_host_rewrite=True, prefix_rewrite="/auto")),
            named(
                "host-same",
                {"prefix": "/hs"},
                **to(host_rewrite_literal="orig.example", append_x_forwarded_host=True),
            ),
            named("no-timeout", {"prefix": "/nt"}, **to(timeout="0s")),
            named(
                "timeout", {"prefix": "/ti"}, **to(timeout="1.5s", retry_policy={"per_try_timeout": "0.25s"})
            ),
            named(
                "per-try-long", {"prefix": "/tl"}, **to(timeout="1s", retry_policy={"per_try_timeout": "2s"})
            ),
            named("cluster-header", {"prefix": "/ch"}, route={"cluster_header": "X-Cluster"}),
            named(
                "not-found",
                {"prefix": "/nf"},
                route={"cluster_header": "x-cluster", "cluster_not_found_response_code": "NOT_FOUND"},
            ),
            named(
                "weighted",
                {"prefix": "/w"},
                request_headers_to_add=[add("x-level", "route")],
                response_headers_to_add=[add("x-level", "route")],
                route={
                    "prefix_rewrite": "/weighted",
                    "host_rewrite_literal": "route.example",
                    "weighted_clusters": {
                        "header_name": "x-draw",
                        "clusters": [
                            {"name": "one", "weight": 3, "host_rewrite_literal": "one.example"},
                            {
                                "name": "two",
                                "weight": 2,
                                "request_headers_to_add": [add("x-level", "cluster")],
                                "response_headers_to_add": [add("x-level", "cluster")],
                                "response_headers_to_remove": ["x-up"],
                            },
                        ],
                    },
                },
            ),
            named("plain", {"prefix": "/"}),
        ],
    },
    request_headers_to_add=[add("x-level", "table"), add("x-over", "table", **OVERWRITE)],
    response_headers_to_add=[add("x-level", "table"), add("x-over", "table", **OVERWRITE)],
    request_headers_to_remove=["x-gone-table"],
)
MANY: Fields = [
    ("user-agent", "t"),
    ("x-gone", "1"),
    ("x-gone-host", "1"),
    ("x-gone-table", "1"),
    ("x-a", "0"),
    ("x-absent", "0"),
    ("x-there", "0"),
    ("x-both", "0"),
    ("x-both", "00"),
    ("x-only", "0"),
    ("cookie", "a=b"),
    ("x-last", "0"),
]
OPS_ASKS = [
    Ask("/plain"),
    Ask("/x", MANY),
    Ask("/x"),
    Ask("/hp/a?q=1", [("x-envoy-original-path", "/client"), ("x-forwarded-host", "aa")]),
    Ask("/hp"),
    *(
        Ask(path)
        for path in ["/pe", "/pe?q", "/pfx/y?q", "/PF", "/ps", "/ps/a?b", "/pr/a/b?c", "/sl/", "/sl/a"]
    ),
    *(
        Ask(path)
        for path in [
            "/re/12/x/re/13?z=/re/1",
            "/re",
            "/rzz?z",
            "/ru%e9",
            "/rnaab",
            "/bg",
            "/be",
            "/nt",
            "/ti",
            "/tl",
        ]
    ),
    *(
        Ask(path, fields)
        for path in ("/tp/a?b", "/to/a?b", "/hh", "/ht")
        for fields in ([], [("x-h", "/v.example")])
    ),
    Ask("/to/a?b", [("x-h", "v")]),
    Ask("/tp/a?b", [("x-h", "?v")]),
    Ask("/qer?b"),
    Ask("/hq/b?d"),
    Ask("/hq/h.example/x?d/e/f"),
    Ask("/ha/b"),
    Ask("/hs", [("x-forwarded-host", "a,orig.example")]),
    Ask("/hs", [("x-forwarded-host", "orig.example,a")]),
    *(
        Ask(path, fields)
        for path in ("/ch", "/nf")
        for fields in ([], [("x-cluster", "two")], [("x-cluster", "none")])
    ),
    *(Ask("/w/x", [("x-draw", str(draw))]) for draw in (0, 1, 2, 3, 4, 5, 7, 8, 12345678901)),
]


def _redirects() -> Config:
    actions: list[Config] = [
        {},
        {"https_redirect": True},
        {"scheme_redirect": "gopher"},
        {"host_redirect": "new.example"},
        {"port_redirect": 8443},
        {"https_redirect": True, "port_redirect": 8443},
        {"path_redirect": "/there"},
        {"path_redirect": "/there?own=1"},
        {"path_redirect": "/there", "strip_query": True},
        {"strip_query": True},
        {"prefix_rewrite": "/pre"},
        {"prefix_rewrite": "/pre", "host_redirect": "new.example", "strip_query": True},
        {"regex_rewrite": substitution("/(r[0-9]+)", "/re-\\1")},
        {"regex_rewrite": substitution(".*", "")},
        {"path_rewrite": "/t%REQ(x-h)%"},
        {"path_rewrite": "%REQ(x-h)%"},
        {"prefix_rewrite": "n"},
        {"regex_rewrite": substitution("^/r", "q")},
        {"path_redirect": "there"},
        {"response_code": "FOUND"},
        {"response_code": "SEE_OTHER"},
        {"response_code": "TEMPORARY_REDIRECT"},
        {"response_code": "PERMANENT_REDIRECT"},
    ]
    return routes(
        *(
            {"name": f"r{index}", "match": {"prefix": f"/r{index:02}"}, "redirect": action}
            for index, action in enumerate(actions)
        ),
        response_headers_to_add=[add("x-host", "1"), add("location", "joined?")],
    )


REDIRECT_ASKS = [
    Ask(f"/r{index:02}{tail}", fields, host)
    for index in range(23)
    for tail, fields, host in (
        ("/a?q=1", [], "h.example"),
        ("", [("x-h", "v")], "h.example:80"),
        ("?", [("x-forwarded-proto", "https")], "h.example:443"),
        ("/x", [("x-forwarded-proto", "https")], "[::1]:443"),
        ("/x", [], "[::1]"),
        ("/x", [], "h.example:8080"),
    )
]

DIRECT = routes(
    *(
        {
            "name": f"d{status}",
            "match": {"prefix": f"/{status}"},
            "direct_response": {
                "status": status,
                **({"body": {"inline_string": "hello"}} if status % 2 else {}),
            },
            "response_headers_to_add": [add("x-route", "%RESPONSE_CODE%")],
        }
        for status in (200, 201, 202, 203, 301, 302, 304, 305, 403, 404, 503, 599)
    ),
    {
        "name": "bytes",
        "match": {"prefix": "/bytes"},
        "direct_response": {"status": 201, "body": {"inline_bytes": "AP8="}},
    },
    response_headers_to_add=[add("x-host", "1")],
)

TLS = hosts(
    {
        "name": "all",
        "domains": ["all.example"],
        "require_tls": "ALL",
        "routes": [named("all", {"prefix": "/"})],
    },
    {
        "name": "ext",
        "domains": ["ext.example"],
        "require_tls": "EXTERNAL_ONLY",
        "routes": [named("e", {"prefix": "/"})],
    },
    {"name": "rest", "domains": ["*"], "routes": [named("rest", {"prefix": "/"})]},
)

GROUPS = [
    Group("domains", hosts(*DOMAINS, ANY), [Ask(host=host) for host in AUTHORITIES]),
    Group("domains-without-any", hosts(*DOMAINS), [Ask(host=host) for host in AUTHORITIES]),
    Group(
        "domains-without-port",
        hosts(*DOMAINS, ANY, ignore_port_in_host_matching=True),
        [Ask(host=host) for host in AUTHORITIES],
    ),
    Group("paths", PATHS, PATH_ASKS),
    Group(
        "paths-without-parameters",
        {**PATHS, "ignore_path_parameters_in_path_matching": True},
        [
            Ask(path)
            for path in ("/exact;a", "/exact;a/b", "/sep/a;b/c", "/r/12;x", "/ab;c", "/exact?a;b", "/exac;t")
        ],
    ),
    Group(
        "rewrites-without-parameters",
        routes(
            named("prefix", {"prefix": "/p/q"}, **to(prefix_rewrite="/n")),
            named("separated", {"path_separated_prefix": "/s/t"}, **to(prefix_rewrite="/n")),
            named("regex", {"safe_regex": regex("/r/.")}, **to(prefix_rewrite="/n")),
            named("path", {"path": "/e/f"}, **to(prefix_rewrite="/n")),
            named("fold", {"prefix": "/F/", "case_sensitive": False}, **to(prefix_rewrite="/n")),
            {"match": {"prefix": "/d/e"}, "redirect": {"prefix_rewrite": "/n"}},
        )
        | {"ignore_path_parameters_in_path_matching": True},
        [
            Ask(path)
            for path in (
                "/p/q",
                "/p/q;x/z?a",
                "/p;x/q/z?a",
                "/p/qz;x",
                "/s;1/t;2/u",
                "/s/t;2",
                "/r;a/b;c?d",
                "/e;x/f;y?z",
                "/e/f;",
                "/f;x/y",
                "/F/;x/y",
                "/d;1/e/f?g",
                "/d/e;1/f?g",
            )
        ],
    ),
    Group(
        "headers",
        routes(
            *(
                named(f"m{index}", {"path": f"/{index}", "headers": [matcher]})
                for index, matcher in HEADER_ROUTES
            ),
            *PSEUDO_ROUTES,
        ),
        [
            *(Ask(f"/{index}", fields) for (index, _), fields in product(HEADER_ROUTES, HEADER_VALUES)),
            *(
                Ask(path, [], host)
                for path, host in product(("/p", "/q?x", "/q", "/h", "/s"), ("h.example", "g", "x"))
            ),
        ],
    ),
    Group(
        "queries",
        routes(
            *(
                named(f"q{index}", {"path": f"/{index}", "query_parameters": [matcher]})
                for index, matcher in enumerate(QUERY_MATCHERS)
            )
        ),
        [Ask(f"/{index}{query}") for index, query in product(range(len(QUERY_MATCHERS)), QUERIES)],
    ),
    Group("operations", OPS, OPS_ASKS),
    Group("operations-most-specific-wins", {**OPS, "most_specific_header_mutations_wins": True}, OPS_ASKS),
    Group("redirects", _redirects(), REDIRECT_ASKS),
    Group(
        "direct",
        DIRECT,
        [
            Ask(f"/{tail}?q")
            for tail in [
                "200",
                "201",
                "202",
                "203",
                "301",
                "302",
                "304",
                "305",
                "403",
                "404",
                "503",
                "599",
                "bytes",
            ]
        ],
    ),
    Group(
        "require-tls",
        TLS,
        [
            Ask("/a?b", fields, host)
            for host in ("all.example", "ext.example", "other", "ALL.example")
            for fields in ([], [("x-forwarded-proto", "https")])
        ],
    ),
]
