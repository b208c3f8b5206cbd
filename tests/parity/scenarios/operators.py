"""Every command operator that is accepted, in text and in JSON, through both processes.

suppress_envoy_headers keeps times out of the heads, so that their sizes can be compared.
"""

from __future__ import annotations

from typing import Any

from proxy.formatter.operators import OPERATORS
from tests.support.client import Client, request
from tests.support.config import TYPES, Config, cluster, file_log, route_to, virtual_host
from tests.support.parity.scenario import SEPARATOR, Scenario, World, told
from tests.support.upstream import Close, Request, Reset, Send, Stall, Steps, Wait, chunked, reply

METADATA = {"filter_metadata": {"own": {"word": "here", "number": 3, "deep": {"list": [1, "a", None, True]}}}}
METADATA["filter_metadata"]["nul"] = {"one": "\0", "two": "\0\0"}
KEYS = ("own", "own:word", "own:number", "own:deep", "own:none", "none:word")
_WITH_ARGUMENTS = """
START_TIME(%Y) START_TIME_LOCAL(%Y) RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)
GRPC_STATUS(CAMEL_STRING) GRPC_STATUS(SNAKE_STRING) GRPC_STATUS(NUMBER)
REQ(:METHOD) REQ(X-A):3 REQ(NONE?:PATH) REQUEST_HEADER(USER-AGENT) STREAM_INFO_REQ(USER-AGENT)
RESP(:STATUS) RESP(X-UP) RESP(NONE):9 RESPONSE_HEADER(SERVER) TRAILER(X-END) RESPONSE_TRAILER(X-END):2
PATH(NQ) PATH(WQ) PATH(WQ:ORIG) PATH(NQ:PATH) PATH:3
QUERY_PARAM(x) QUERY_PARAM(y):1 QUERY_PARAMS(ORIG) QUERY_PARAMS(DECODED) QUERY_PARAMS:2
DYNAMIC_METADATA(own:word) XFCC_VALUE(uri)
FILTER_STATE(a) FILTER_STATE(a:PLAIN):3 FILTER_STATE(a:FIELD:f) UPSTREAM_FILTER_STATE(a:TYPED)
ENVIRONMENT(OUTRIDER_UNSET)
DOWNSTREAM_PEER_CERT_V_START(%Y) UPSTREAM_PEER_CERT_V_END(%s)
"""
POINTS = (
    *(
        "DS_CX_BEG",
        "DS_RX_BEG",
        "DS_RX_HDR_END",
        "DS_RX_END",
        "US_CX_BEG",
        "US_CX_END",
        "US_HS_END",
        "US_TX_BEG",
    ),
    *("US_TX_END", "US_RX_BEG", "US_RX_BODY_BEG", "US_RX_END", "DS_TX_BEG", "DS_TX_END", "DS_HS_END"),
)
LOGGED = [
    *sorted(name for name, operator in OPERATORS.items() if operator.argument != "required"),
    *_WITH_ARGUMENTS.split(),
    *(f"COMMON_DURATION(DS_CX_BEG:{point}:us)" for point in POINTS),
    *(
        f"METADATA({kind}:{key})"
        for kind in ("ROUTE", "VIRTUAL_HOST", "CLUSTER", "UPSTREAM_HOST")
        for key in KEYS
    ),
    *(f"{kind}_METADATA({key})" for kind in ("CLUSTER", "UPSTREAM") for key in KEYS),
]
for _refused_bare in ("FILTER_STATE", "UPSTREAM_FILTER_STATE"):
    LOGGED.remove(_refused_bare)
TEXT = SEPARATOR.join(f"{operator.replace('%', '')}=%{operator}%" for operator in LOGGED) + "\n"
#: of a value that is none, so that it shows which of several is taken
COALESCE = '%COALESCE({"operators":["ROUTE_NAME","TRACE_ID","PROTOCOL"]})%'
JSON = {operator.replace("%", ""): f"%{operator}%" for operator in LOGGED} | {
    "COALESCE": COALESCE,
    "two": "%PROTOCOL% %TRACE_ID%",
    **{f"nul_{key}": f"%METADATA(ROUTE:nul:{key})%" for key in ("one", "two")},
    **{f"nul_{key}_within": f"<%METADATA(ROUTE:nul:{key})%>" for key in ("one", "two")},
}
REQUESTS = 27
RETRY = {"retry_on": "5xx,reset,connect-failure", "num_retries": 1}


def every_operator(world: World) -> Config:
    routes: list[dict[str, Any]] = [
        {
            "match": {"prefix": "/direct"},
            "direct_response": {"status": 200, "body": {"inline_string": "direct"}},
        },
        {"match": {"prefix": "/away"}, "redirect": {"host_redirect": "elsewhere.example"}},
        route_to("nobody", prefix="/nobody"),
        route_to("nobody", prefix="/twice/nobody", retry_policy=RETRY),
        route_to("up", prefix="/twice", retry_policy=RETRY),
        route_to("up", prefix="/late", timeout="0.3s"),
        {**route_to("up", prefix="/up", prefix_rewrite="/there"), "name": "named"},
    ]
    for route in routes[2:]:
        route["metadata"] = METADATA
    logs = [file_log(str(world.log), TEXT), file_log(str(world.log), json=JSON)]
    router = {"@type": f"{TYPES}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    up = cluster("up", world.upstreams["up"].port, metadata=METADATA)
    up["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["metadata"] = METADATA
    config = world.bootstrap(
        [virtual_host(routes, metadata=METADATA, include_request_attempt_count=True)],
        hcm={
            "access_log": logs,
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        },
        clusters=[up, cluster("nobody", world.nobody)],
    )
    config["static_resources"]["listeners"][0]["filter_chains"][0]["name"] = "the chain"
    return config


def answer(got: Request) -> Steps:
    """By path; a try that says so in x-envoy-attempt-count is answered well."""
    first = got.one("x-envoy-attempt-count") == "1"
    match got.path:
        case "/there/chunks":
            return [chunked([b"one", b"two" * 1000], [("x-up", "yes")], [("X-End", "the end")])]
        case "/there/slowly":
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            return [Send(head), Wait(0.05), Send(b"3\r\none\r\n"), Wait(0.05), Send(b"0\r\n\r\n")]
        case "/there/304":
            return [reply(304, b"", [("etag", '"a"')], "Not Modified")]
        case "/there/fin":
            return [Close()]
        case "/there/rst":
            return [Reset()]
        case "/there/cut":
            return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"), Close()]
        case "/there/garbage":
            return [Send(b"NOT HTTP AT ALL\r\n\r\n"), Close()]
        case "/twice/503" if first:
            return [reply(503, b"busy", reason="Service Unavailable")]
        case "/twice/reset" if first:
            return [Reset()]
        case "/late" | "/there/stall":
            return [Stall()]
    return [reply(200, b"fine", [("X-Up", "yes"), ("Server", "theirs")])]


def log_every_operator(world: World) -> None:
    agent = [("User-Agent", "tester/1"), ("X-A", "abcdef")]
    body = b"0123456789" * 50
    unsent = request(
        "POST", "/nowhere", [*agent, ("Content-Length", "500")]
    )  # answered before its body comes
    chunks = request("POST", "/up/chunked", [("Transfer-Encoding", "chunked")])
    world.talk(request("GET", "/up/plain?x=1&y=%20b", agent))
    world.talk(
        request("GET", "/up/again", agent),
        request("POST", "/up/body?x", agent, body),
        chunks + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        request("HEAD", "/up/head"),
        heads=(3,),
    )
    world.talk(request("GET", "/up/chunks"))
    world.talk(request("GET", "/up/slowly"))
    world.talk(request("GET", "/up/304"))
    world.talk(request("GET", "/nowhere?q=1", agent), unsent)
    world.talk(request("GET", "/twice/503"))
    world.talk(request("POST", "/twice/503", agent, body))
    world.talk(request("GET", "/twice/reset"))
    world.talk(request("GET", "/nobody"))
    world.talk(request("GET", "/twice/nobody"))
    world.talk(request("GET", "/direct"), unsent.replace(b"/nowhere", b"/direct"))
    world.talk(request("GET", "/away"))
    world.talk(request("POST", "/up/fin"))
    world.talk(request("POST", "/up/rst"))
    world.talk(request("GET", "/up/garbage"))
    world.talk(request("GET", "/up/cut"))
    world.talk(request("GET", "/late"), tries=(1,))
    world.talk(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    world.talk(b"GARBAGE\r\n\r\n")
    client_leaves(world)


def client_leaves(world: World) -> None:
    """Before there is an answer: with FIN, with RST; one after the other, so that the lines come in this order."""
    up = world.upstreams["up"]
    for place, leave in enumerate((Client.close, Client.reset), REQUESTS - 1):
        before = len(up.requests)
        client = Client(world.front)
        client.send(request("GET", "/up/stall"))
        up.wait_for(before + 1)
        leave(client)
        world.wait_for_lines(2 * place)


SCENARIOS = [
    Scenario(
        name="every_operator",
        title="every accepted command operator, in text and in JSON",
        config=every_operator,
        drive=log_every_operator,
        upstreams={"up": answer},
        lines=2 * REQUESTS,
        expect=told(
            *(200, 200, 200, 200, 200, 200, 200, 304, 404, 404, "closed", 200, 200, 200, 503, 503),
            *(
                200,
                200,
                "closed",
                301,
                503,
                503,
                502,
                "closed after 4 bytes",
                504,
                426,
                "closed",
                400,
                "closed",
            ),
        ),
        allow={
            "json-escapes": r"^log \d+ \S+ as written$",
            "decompressed-once": r"^log 2[0-3] UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED$",
        },
    )
]
