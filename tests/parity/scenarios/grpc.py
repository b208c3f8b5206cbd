"""gRPC's filters: statistics by method, gRPC-Web in both encodings, and HTTP/1 clients of unary calls."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence

from tests.parity.scenarios.http2 import http2_cluster, say
from tests.support.client import Client
from tests.support.config import TYPES, Config, file_log, route_to, virtual_host
from tests.support.h2_client import Fields, H2Client, H2Response
from tests.support.h2_upstream import H2Reply, H2Request
from tests.support.parity.scenario import LOG_FORMAT, SEPARATOR, Http2, Scenario, World

GRPC = [("content-type", "application/grpc")]
WEB = "application/grpc-web"


def frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


ASK = frame(b"q")


def answer(request: H2Request, reply: H2Reply) -> None:
    """The kind of answer is the method's name."""
    kind = request.path.partition("?")[0].rpartition("/")[2]
    if kind == "HeadOnly":
        reply.headers(200, [*GRPC, ("grpc-status", "5"), ("grpc-message", "none%20x")], end=True)
    elif kind == "Plain":
        reply.headers(200, [("content-type", "text/plain"), ("content-length", "14")])
        reply.data(b"hello \xff% world", end=True)
    elif kind == "Http503":
        reply.headers(503, [("content-type", "text/plain")])
        reply.data(b"bad", end=True)
    elif kind == "Bare":
        reply.headers(200, [("content-type", "text/plain")], end=True)
    elif kind == "Cut":
        reply.headers(200, GRPC)
        reply.data(frame(b"abc"), end=True)
    else:
        reply.headers(200, [*GRPC, ("x-head", "1")])
        if kind == "Split":
            body = frame(b"abcdef") + frame(b"second")
            for part in (body[:7], body[7:14], body[14:]):
                reply.data(part)
        elif kind != "Empty":
            reply.data(frame(b"one") + frame(b"two"))
        said = {"Fail": ("7", "not you"), "Odd": ("abc", "")}.get(kind, ("0", ""))
        tail = [("x-tail", "t")] if kind == "NoStatus" else [("grpc-status", said[0]), ("x-tail", "t")]
        reply.trailers([*tail, ("grpc-message", said[1])] if said[1] else tail)


STATE = "envoy.filters.http.grpc_stats"
#: what of the filter state a line has
STATES = (STATE, f"{STATE}:PLAIN", f"{STATE}:TYPED", f"{STATE}:FIELD:request_message_count")
LOG = (
    f"{LOG_FORMAT.strip()}{SEPARATOR}GRPC_STATUS=%GRPC_STATUS%{SEPARATOR}GRPC_STATUS_NUMBER=%GRPC_STATUS_NUMBER%{SEPARATOR}SNAKE=%GRPC_STATUS(SNAKE_STRING)%"
    + "".join(f"{SEPARATOR}{form}=%FILTER_STATE({form})%" for form in STATES)
    + "\n"
)


def filtered(*filters: tuple[str, str, Config]) -> Callable[[World], Config]:
    """A gRPC host behind these filters (name, message, configuration)."""

    def config(world: World) -> Config:
        chain = [
            {
                "name": f"envoy.filters.http.{name}",
                "typed_config": {"@type": f"{TYPES}.filters.http.{name}.v3.{message}", **settings},
            }
            for name, message, settings in (*filters, ("router", "Router", {}))
        ]
        direct = {
            "match": {"prefix": "/direct"},
            "direct_response": {"status": 403, "body": {"inline_string": "no way"}},
        }
        hosts = virtual_host([direct, route_to("nobody", prefix="/no.Body"), route_to("svc")])
        clusters = [
            http2_cluster("svc", world.upstreams["svc"].port),
            http2_cluster("nobody", world.nobody),
        ]
        hcm = {"http_filters": chain, "access_log": [file_log(str(world.log), LOG)]}
        return world.bootstrap([hosts], hcm=hcm, clusters=clusters)

    return config


def over_http2(world: World, path: str, fields: Fields, *parts: bytes) -> None:
    """In one write, so that no reply can overtake a part."""
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "example.com"), (":path", path)]
    with H2Client(world.front) as client:
        stream = client.h2.get_next_available_stream_id()
        client.streams[stream] = H2Response()
        client.h2.send_headers(stream, [*head, *fields])
        for part in parts[:-1]:
            client.h2.send_data(stream, part)
        client.h2.send_data(stream, parts[-1], end_stream=True)
        client.flush()
        say(world, client.wait(stream))


def over_http1(world: World, path: str, fields: Fields, body: bytes) -> None:
    """On a connection of its own."""
    lines = [f"POST {path} HTTP/1.1", "host: a.example", *(f"{name}: {value}" for name, value in fields)]
    head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
    with Client(world.front) as client:
        world.sent += head + body
        client.send(head + body)
        world.listen(client)


METHODS = ("Ok", "Fail", "HeadOnly", "Odd", "NoStatus", "Http503", "Plain", "Split", "Empty", "Bare", "Cut")


def calls(world: World) -> None:
    for method in METHODS:
        over_http2(world, f"/pkg.Svc/{method}", GRPC, ASK + frame(b"r")[:2], frame(b"r")[2:])
    for path in ("/Other/Ok", "/direct/x", "/no.Body/Ok", "/bad", "/a/b/c", "/pkg.Svc/Ok?x=1"):
        over_http2(world, path, GRPC, ASK)
    over_http2(world, "/pkg.Svc/Ok", [("content-type", "text/plain")], b"x")
    over_http1(world, "/pkg.Svc/Ok", GRPC, ASK)


def web_calls(world: World) -> None:
    for method in METHODS:
        over_http1(world, f"/pkg.Svc/{method}", [("content-type", WEB)], ASK)
        over_http2(world, f"/pkg.Svc/{method}", [("content-type", f"{WEB}+proto")], ASK)
    for path in ("/direct/x", "/no.Body/Ok", "/bad"):
        over_http1(world, path, [("content-type", WEB)], ASK)
        over_http2(world, path, [("content-type", WEB)], ASK)
    for kind in ("+json", "; charset=x"):
        over_http1(world, "/pkg.Svc/Ok", [("content-type", WEB + kind)], ASK)
    over_http1(
        world, "/pkg.Svc/Ok", [("content-type", WEB), ("te", "gzip"), ("grpc-accept-encoding", "gzip")], ASK
    )
    over_http2(world, "/pkg.Svc/Ok", GRPC, ASK)


def text_calls(world: World) -> None:
    body = b64encode(frame(b"qq"))
    for accept in ("", f"{WEB}-text", f"{WEB}-text+proto", WEB):
        fields = [("content-type", f"{WEB}-text"), *([("accept", accept)] if accept else [])]
        over_http1(world, "/pkg.Svc/Split", fields, body)
    both = [("content-type", f"{WEB}-text+proto"), ("accept", f"{WEB}-text+proto")]
    over_http2(world, "/pkg.Svc/Split", both, body[:3], body[3:])
    for method in ("HeadOnly", "Plain", "Fail", "Empty"):
        over_http2(world, f"/pkg.Svc/{method}", both, body)
    for wrong in (b"!!!!", b"AAA", b"AA=A"):
        over_http2(world, "/pkg.Svc/Ok", both, wrong)
    over_http1(world, "/pkg.Svc/Ok", both, b"AAA")  # else Envoy answers before it has seen the end


def bridged_calls(world: World) -> None:
    for path in [f"/pkg.Svc/{method}" for method in METHODS] + ["/direct/x", "/no.Body/Ok", "/bad"]:
        over_http1(world, path, GRPC, ASK)
    over_http1(world, "/pkg.Svc/Ok?x=1", GRPC, ASK)
    over_http1(world, "/pkg.Svc/Ok", [("content-type", "application/grpc+proto")], ASK)
    over_http1(world, "/pkg.Svc/Fail", [("content-type", "text/plain")], b"x")
    over_http2(world, "/pkg.Svc/Fail?x=1", GRPC, ASK)
    for path in ("Ok?x=1", "Cut", "Fail", "HeadOnly", "Plain", "Empty"):
        over_http1(world, f"/pkg.Svc/{path}", [("content-type", "application/x-protobuf")], b"proto")
    for path in ("/direct/x", "/no.Body/Ok"):
        over_http1(world, path, [("content-type", "application/x-protobuf")], b"proto")
    over_http1(world, "/pkg.Svc/Ok", [("content-type", "application/x-protobuf")], b"")
    for kind in ("Ok?x=1", "Fail"):
        over_http2(world, f"/pkg.Svc/{kind}", [("content-type", "application/x-protobuf")], b"pro", b"to")


def many(count: int) -> Callable[[World], None]:
    """An ``expect``: so many answers came."""

    def check(world: World) -> None:
        assert len(world.said) >= count, world.said

    return check


UPSTREAMS = {"svc": Http2(answer)}
LISTED = {"services": [{"name": "pkg.Svc", "method_names": ["Ok", "Fail"]}]}


def scenario(
    name: str,
    title: str,
    drive: Callable[[World], None],
    filters: Sequence[tuple[str, str, Config]],
    count: int,
) -> Scenario:
    allow = {"grpc-web-status": r"^log \d+ (GRPC_STATUS|SNAKE)"} if "web" in name else {}
    return Scenario(
        name, title, filtered(*filters), drive, UPSTREAMS, lines=count, expect=many(count), allow=allow
    )


STATS = ("grpc_stats", "FilterConfig")
SCENARIOS = [
    scenario(
        "grpc-stats-all",
        "gRPC statistics of every method",
        calls,
        [(*STATS, {"stats_for_all_methods": True})],
        19,
    ),
    scenario(
        "grpc-stats-unnamed",
        "gRPC statistics without names, and filter state, as Istio has them",
        calls,
        [(*STATS, {"emit_filter_state": True, "stats_for_all_methods": False})],
        19,
    ),
    scenario(
        "grpc-stats-listed",
        "gRPC statistics of listed methods",
        calls,
        [(*STATS, {"individual_method_stats_allowlist": LISTED})],
        19,
    ),
    scenario(
        "grpc-stats-dots",
        "gRPC statistics, dots of services replaced",
        calls,
        [(*STATS, {"stats_for_all_methods": True, "replace_dots_in_grpc_service_name": True})],
        19,
    ),
    scenario("grpc-web", "gRPC-Web, binary", web_calls, [("grpc_web", "GrpcWeb", {})], 32),
    scenario("grpc-web-text", "gRPC-Web, base64", text_calls, [("grpc_web", "GrpcWeb", {})], 13),
    scenario(
        "grpc-web-counted",
        "gRPC-Web behind and before statistics",
        web_calls,
        [("grpc_web", "GrpcWeb", {}), (*STATS, {"stats_for_all_methods": True})],
        32,
    ),
    scenario(
        "grpc-http1-bridge",
        "unary calls of HTTP/1 clients",
        bridged_calls,
        [("grpc_http1_bridge", "Config", {})],
        29,
    ),
    scenario(
        "grpc-http1-bridge-upgrades",
        "unary calls of HTTP/1 clients with plain protobuf bodies",
        bridged_calls,
        [
            (
                "grpc_http1_bridge",
                "Config",
                {"upgrade_protobuf_to_grpc": True, "ignore_query_parameters": True},
            )
        ],
        29,
    ),
]
