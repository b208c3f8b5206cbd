"""Options of the HTTP connection manager: paths, authorities, local replies, HTTP/1.0, the case of names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.client import Client, request
from tests.support.config import TYPES, Config, cluster, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import reply

Drive = Callable[[World], None]
Make = Callable[[World], Config]


def manager(**hcm: Any) -> Make:
    """One route to "up" behind a connection manager with these options."""
    return lambda world: world.bootstrap([virtual_host([route_to("up")])], hcm=hcm)


def paths(*targets: str) -> Drive:
    def drive(world: World) -> None:
        for target in targets:
            world.talk(request("GET", target))

    return drive


def hosts(*names: str) -> Drive:
    def drive(world: World) -> None:
        for name in names:
            world.talk(request("GET", "/", host=name.replace("PORT", str(world.front))))

    return drive


def ok(count: int) -> list[int]:
    return [200] * count


NORMALISED = (
    *(
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/../x",
        "/a/%2e%2E/b",
        "/a//b",
        "//a",
        "/a%2Fb",
        "/a%2fb/../c",
        "/a%5Cb",
    ),
    *(
        "/a\\b",
        "/%61%7e%41bc?x=/../%61",
        "/%zz",
        "/%2",
        "/a/b//..//c?y//z",
        "/%c3%C3",
        '/"<>^`{|}',
        "/a/..;/b",
    ),
)
HOSTS = (
    "a.b:10",
    "[::1]:80",
    "[::1]",
    "a.b",
    "a.b:",
    "a.b:x",
    "a.b.:80",
    "a.b.",
    "a.b..",
    "A.B.:PORT",
    "a.b:PORT",
)


def status(operator: str, code: int) -> Config:
    value = {"default_value": code, "runtime_key": "none"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def text(template: str, **more: Any) -> Config:
    return {"text_format_source": {"inline_string": template}, **more}


def header(name: str, value: str, **more: Any) -> Config:
    return {"header": {"key": name, "value": value}, **more}


JSON = {
    "json_format": {
        "c": "%RESPONSE_CODE%",
        "m": "%LOCAL_REPLY_BODY%",
        "no": "%REQ(nope)%",
        "p": "%REQ(:path)%",
    }
}
MAPPERS = [
    {
        "filter": status("EQ", 404),
        "status_code": 444,
        "body": {"inline_string": "not here"},
        "headers_to_add": [
            header("x-was", "%RESPONSE_CODE% %REQ(:PATH)%"),
            header("server", "mine", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
            header("content-type", "a/b"),
        ],
    },
    {
        "filter": status("GE", 500),
        "body_format_override": {**JSON, "content_type": "application/problem+json"},
    },
    {"filter": {"response_flag_filter": {"flags": ["DPE"]}}, "status_code": 499},
    {"filter": status("EQ", 200), "body": {"inline_string": "new"}},
]


def replies(**config: Any) -> Make:
    def make(world: World) -> Config:
        own = [header("x-route", "r%RESPONSE_CODE%")]
        typed = [header("content-type", "text/own")]
        answers: list[Config] = [
            {
                "match": {"prefix": "/direct"},
                "direct_response": {"status": 403, "body": {"inline_string": 'a "b"'}},
            },
            {"match": {"prefix": "/empty"}, "direct_response": {"status": 404}},
            {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/x"}},
            {
                "match": {"prefix": "/typed"},
                "direct_response": {"status": 200, "body": {"inline_string": "b"}},
                "response_headers_to_add": typed,
            },
            {
                "match": {"prefix": "/format"},
                "direct_response": {
                    "status": 200,
                    "body": {"inline_string": "raw"},
                    "body_format": text(
                        "%REQ(:PATH)% %LOCAL_REPLY_BODY% %RESPONSE_CODE%\n", content_type="text/html"
                    ),
                },
            },
            {"match": {"prefix": "/plain"}, "direct_response": {"status": 200, "body_format": text("plain")}},
            {"match": {"prefix": "/json"}, "direct_response": {"status": 200, "body_format": JSON}},
            {**route_to("nobody", prefix="/nobody"), "response_headers_to_add": own},
            route_to("up", prefix="/up"),
        ]
        return world.bootstrap(
            [virtual_host(answers)],
            clusters=[cluster("nobody", world.nobody)],
            hcm={"local_reply_config": config} if config else None,
        )

    return make


def ask_for_replies(world: World) -> None:
    for path in (
        "/direct",
        "/empty",
        "/none",
        "/moved",
        "/typed",
        "/format",
        "/plain",
        "/json",
        "/nobody",
        "/up",
    ):
        world.talk(request("GET", path))
    world.talk(request("HEAD", "/direct"), heads=(0,))
    world.talk(b"NONSENSE\r\n\r\n")


REPLIES = {
    "upstreams": {"up": [reply(404, b"theirs", reason="Not Found")]},
    "drive": ask_for_replies,
    "lines": 12,
}


def scenario(name: str, title: str, hcm: Config, drive: Drive, codes: list[Any]) -> Scenario:
    count = sum(isinstance(code, int) for code in codes)
    return Scenario(
        name=f"hcm_{name}",
        title=title,
        config=manager(**hcm),
        drive=drive,
        upstreams={"up": [reply()]},
        lines=count,
        expect=told(*codes),
    )


def preserve(**fields: Any) -> Config:
    kind = f"{TYPES}.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
    return {"stateful_formatter": {"name": "preserve_case", "typed_config": {"@type": kind, **fields}}}


PROPER: Config = {"proper_case_words": {}}
PROPER_OTHERS = preserve(forward_reason_phrase=True, formatter_type_on_envoy_headers="PROPER_CASE")


def spelled(down: Config | None, up: Config | None) -> Make:
    """header_key_format of the listener and of the cluster."""

    def make(world: World) -> Config:
        kind = f"{TYPES}.upstreams.http.v3.HttpProtocolOptions"
        options = {"http_protocol_options": {"header_key_format": up} if up else {}}
        own = {kind.partition("/")[2]: {"@type": kind, "explicit_http_config": options}}
        direct = {
            "match": {"prefix": "/direct"},
            "direct_response": {"status": 403, "body": {"inline_string": "no"}},
        }
        return world.bootstrap(
            [virtual_host([direct, route_to("up")])],
            clusters=[cluster("up", world.upstreams["up"].port, typed_extension_protocol_options=own)],
            hcm={"http_protocol_options": {"header_key_format": down}} if down else None,
        )

    return make


def ask_in_many_cases(world: World) -> None:
    fields = [
        ("X-a-B", "1"),
        ("x-A-b", "2"),
        ("ETag", "3"),
        ("under_score", "4"),
        ("X-Forwarded-For", "1.2.3.4"),
    ]
    world.talk(
        request("GET", "/", fields), request("GET", "/direct", fields), request("POST", "/", body=b"hi")
    )
    chunked = (
        request("POST", "/", [("TransFer-Encoding", "chunked"), ("x-mixed", "1")]) + b"2\r\nhi\r\n0\r\n\r\n"
    )
    world.talk(chunked)
    last = request("GET", "/last", [("CONNECTION", "close")])
    with Client(world.front) as client:
        world.sent += last
        world.listen(client.send(last), patient=True)


def in_case(name: str, title: str, down: Config | None, up: Config | None) -> Scenario:
    answer = reply(200, b"ok", [("X-MiXed", "Yes"), ("SERVER", "theirs"), ("Via", "1.1 x")], reason="Fine")
    return Scenario(
        name=f"hcm_case_{name}",
        title=title,
        config=spelled(down, up),
        drive=ask_in_many_cases,
        upstreams={"up": [answer]},
        lines=5,
    )


def speak_http10(world: World) -> None:
    def old(method: str, *fields: str, host: bool = True, body: bytes = b"") -> bytes:
        lines = [f"{method} / HTTP/1.0", *(["Host: a.b"] if host else []), *fields, "", ""]
        return "\r\n".join(lines).encode() + body

    for ask in (
        old("GET"),
        old("GET", host=False),
        old("POST", "content-length: 2", body=b"hi"),
        old("GET", "upgrade: websocket", "connection: upgrade"),
    ):
        with Client(world.front) as client:
            world.sent += ask
            world.listen(client.send(ask), patient=True)
    world.talk(old("GET", "connection: keep-alive"), old("GET", "connection: keep-alive"))


UPGRADES = ("websocket", "foobar", "bar", "foo, bar")


def ask_for_upgrades(world: World) -> None:
    for protocol in UPGRADES:
        world.talk(request("GET", "/", [("upgrade", protocol), ("connection", "upgrade")]))


def underscored(world: World) -> None:
    world.talk(
        request("GET", "/", [("a-b", "a_b")]), request("GET", "/", [("a_b", "1"), ("c", "2"), ("_d", "3")])
    )


def mutate(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Config:
    return {"append": header(name, value, append_action=action)}


EARLY = {
    "name": "early",
    "typed_config": {
        "@type": f"{TYPES}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [
            mutate("x-new", "v %REQ(:PATH)% %REQ(x-old)%"),
            {"remove": "x-old"},
            mutate("x-app", "2", "APPEND_IF_EXISTS_OR_ADD"),
            mutate("x-absent", "1", "ADD_IF_ABSENT"),
            mutate("x-there", "1", "OVERWRITE_IF_EXISTS"),
            mutate("x-forwarded-for", "7.7.7.7"),
            mutate("x-envoy-retry-on", "5xx"),
        ],
    },
}


def forwarded(world: World) -> None:
    world.talk(
        request("GET", "/p?q", [("x-old", "o"), ("x-app", "1")]),
        request("GET", "/z", [("x-there", "0"), ("x-absent", "0")]),
        request("GET", "/", [("x-forwarded-port", "5"), ("x-forwarded-proto", "http")]),
        request(
            "GET", "/", [("x-forwarded-port", "5"), ("x-forwarded-for", "1.2.3.4"), ("x-request-id", "a")]
        ),
        b"GET http://x.y/p HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: https\r\n\r\n",
    )


SCENARIOS = [
    scenario(
        "early",
        "early_header_mutation_extensions",
        {"early_header_mutation_extensions": [EARLY]},
        forwarded,
        ok(5),
    ),
    scenario("port", "append_x_forwarded_port", {"append_x_forwarded_port": True}, forwarded, ok(5)),
    scenario(
        "port_edge",
        "append_x_forwarded_port at an edge",
        {"append_x_forwarded_port": True, "use_remote_address": True},
        forwarded,
        ok(5),
    ),
    scenario(
        "scheme",
        "scheme_header_transformation",
        {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
        forwarded,
        ok(5),
    ),
    in_case("proper", "header_key_format: proper_case_words, both sides", PROPER, PROPER),
    in_case("preserve", "header_key_format: preserve_case, both sides", preserve(), preserve()),
    in_case("preserve_down", "preserve_case of the listener alone: requests keep theirs", preserve(), None),
    in_case("preserve_up", "preserve_case of the cluster alone: responses keep theirs", None, preserve()),
    in_case(
        "preserve_proper",
        "preserve_case: reasons forwarded, other names in proper case",
        PROPER_OTHERS,
        PROPER_OTHERS,
    ),
    scenario(
        "http10",
        "accept_http_10, default_host_for_http_10",
        {"http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "old.example"}},
        speak_http10,
        [200, "closed", 200, "closed", 200, "closed", 403, "closed", 200, 200],
    ),
    scenario(
        "no_absolute",
        "allow_absolute_url: false",
        {"http_protocol_options": {"allow_absolute_url": False}},
        lambda world: world.talk(
            b"GET http://x.y/p HTTP/1.1\r\nhost: a\r\n\r\n",
            b"GET https://x.y/p HTTP/1.1\r\nhost: a\r\n\r\n",
            request("GET", "/"),
        ),
        [404, 404, 200],
    ),
    scenario(
        "ignored_upgrades",
        "ignore_http_11_upgrade",
        {"http_protocol_options": {"ignore_http_11_upgrade": [{"exact": "websocket"}, {"prefix": "foo"}]}},
        ask_for_upgrades,
        [200, 200, 403, "closed", 403, "closed"],
    ),
    scenario(
        "underscores_drop",
        "headers_with_underscores_action: DROP_HEADER",
        {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
        underscored,
        [200, 200],
    ),
    scenario(
        "underscores_reject",
        "headers_with_underscores_action: REJECT_REQUEST",
        {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
        underscored,
        [200, 400, "closed"],
    ),
    Scenario(
        name="hcm_absolute_up",
        title="send_fully_qualified_url",
        config=lambda world: world.bootstrap(
            [virtual_host([route_to("up")])],
            clusters=[
                cluster(
                    "up",
                    world.upstreams["up"].port,
                    http_protocol_options={"send_fully_qualified_url": True},
                )
            ],
        ),
        drive=paths("/", "/x?y"),
        upstreams={"up": [reply()]},
        lines=2,
        expect=told(200, 200),
    ),
    scenario(
        "normalize",
        "normalize_path: dots, escapes, backslashes; an escaped NUL is refused",
        {"normalize_path": True},
        paths(*NORMALISED, "/a/%00b"),
        [*ok(len(NORMALISED)), 400, "closed"],
    ),
    scenario(
        "merge",
        "merge_slashes, alone it resolves no dots",
        {"merge_slashes": True},
        paths("///a///b//", "/a/b?x//y", "/a/..//b"),
        ok(3),
    ),
    scenario(
        "escaped_reject",
        "escaped slashes: REJECT_REQUEST",
        {"path_with_escaped_slashes_action": "REJECT_REQUEST"},
        paths("/a%2Fb", "/a%5cb", "/a?x=%2f", "/a\\b"),
        [400, "closed", 400, "closed", 200, 200],
    ),
    scenario(
        "escaped_redirect",
        "escaped slashes: UNESCAPE_AND_REDIRECT, to the normalised path",
        {
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
            "normalize_path": True,
            "merge_slashes": True,
        },
        paths("/a%2Fb", "/a%5cb?x=%2f", "/a?x=%2f", "/a%252f", "/a/../b", "/x/..%2fb//c"),
        [307, 307, 200, 200, 200, 307],
    ),
    scenario(
        "escaped_forward",
        "escaped slashes: UNESCAPE_AND_FORWARD",
        {"path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD", "merge_slashes": True},
        paths("/a%2F%2Fb", "/a%5Cb?x=%2f", "/a%2f..%2fb"),
        ok(3),
    ),
    scenario(
        "escaped_keep",
        "escaped slashes: KEEP_UNCHANGED",
        {"path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
        paths("/a%2F%2Fb", "/a%5Cb"),
        ok(2),
    ),
    scenario("any_port", "strip_any_host_port", {"strip_any_host_port": True}, hosts(*HOSTS), ok(len(HOSTS))),
    scenario(
        "own_port",
        "strip_matching_host_port",
        {"strip_matching_host_port": True},
        hosts(*HOSTS, "[::1]:PORT"),
        ok(len(HOSTS) + 1),
    ),
    scenario(
        "host_dot",
        "strip_trailing_host_dot, before the port",
        {"strip_trailing_host_dot": True, "strip_any_host_port": True},
        hosts(*HOSTS),
        ok(len(HOSTS)),
    ),
    scenario(
        "stays_open",
        "stream_error_on_invalid_http_message: a bad request ends, its connection does not",
        {"stream_error_on_invalid_http_message": True},
        lambda world: world.talk(b"GET / HTTP/1.1\r\n\r\n", request("GET", "/a#b"), request("GET", "/")),
        [400, 400, 200],
    ),
    Scenario(
        name="hcm_replies",
        title="direct_response.body_format; local replies without a format",
        config=replies(),
        expect=told(403, 404, 404, 301, 200, 200, 200, 200, 503, 404, 403, 400, "closed"),
        **REPLIES,  # type: ignore[arg-type]
    ),
    Scenario(
        name="hcm_replies_text",
        title="local_reply_config: a text format for all",
        config=replies(
            body_format=text(
                "%RESPONSE_CODE%|%LOCAL_REPLY_BODY%|%RESPONSE_CODE_DETAILS%|%RESPONSE_FLAGS%|%RESP(X-ROUTE)%|%REQ(no)%\n"
            )
        ),
        expect=told(403, 404, 404, 301, 200, 200, 200, 200, 503, 404, 403, 400, "closed"),
        **REPLIES,  # type: ignore[arg-type]
    ),
    Scenario(
        name="hcm_replies_json",
        title="local_reply_config: a JSON format with its own content type",
        config=replies(body_format={**JSON, "content_type": "application/problem+json"}),
        expect=told(403, 404, 404, 301, 200, 200, 200, 200, 503, 404, 403, 400, "closed"),
        **REPLIES,  # type: ignore[arg-type]
    ),
    Scenario(
        name="hcm_replies_mapped",
        title="local_reply_config: mappers by status and flag",
        config=replies(mappers=MAPPERS),
        expect=told(403, 444, 444, 301, 200, 200, 200, 200, 503, 404, 403, 400, "closed"),
        **REPLIES,  # type: ignore[arg-type]
    ),
]
