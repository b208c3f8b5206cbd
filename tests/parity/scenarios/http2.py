"""HTTP/2 from clients, to hosts, and on both sides: heads, bodies, trailers, resets, refusals, gRPC replies."""

from __future__ import annotations

from collections.abc import Callable

from hpack import Encoder
from hyperframe.frame import DataFrame, HeadersFrame, WindowUpdateFrame

from tests.support.config import Config, cluster, route_to, virtual_host
from tests.support.h2_client import Fields, H2Client, H2Response
from tests.support.h2_upstream import H2Reply, H2Request
from tests.support.parity.scenario import Http2, Scenario, World, told
from tests.support.upstream import Request, Script, Steps, chunked, reply

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
GRPC = [("content-type", "application/grpc")]


def http2_cluster(name: str, port: int, **explicit: Config) -> Config:
    config = explicit or {"explicit_http_config": {"http2_protocol_options": {}}}
    typed = {OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", **config}}
    return cluster(name, port, typed_extension_protocol_options=typed)


def by_path(request: H2Request, answer: H2Reply) -> None:
    """What the HTTP/2 host says."""
    path = request.path
    if path.startswith("/reset/"):
        answer.reset(int(path[7:]))
    elif path.startswith("/after/"):
        answer.headers(200)
        answer.data(b"part")
        answer.reset(int(path[7:]))
    elif path == "/trailers":
        answer.headers(200, GRPC)
        answer.data(b"xx")
        answer.trailers([("grpc-status", "7"), ("grpc-message", "no")])
    elif path == "/trailers-only":
        answer.headers(200, [*GRPC, ("grpc-status", "14")], end=True)
    elif path == "/bad-field":
        answer.headers(200, [("connection", "x")], end=True)
    elif path == "/short":
        answer.headers(200, [("content-length", "5")])
        answer.data(b"12", end=True)
    elif path == "/close":
        answer.close()
    else:
        answer.answer(b"ok", fields=[("x-host", "h2")])


def http1(request: Request) -> Steps:
    """What the HTTP/1 host says."""
    if request.path == "/h1/chunked":
        return [chunked([b"one", b"two"])]
    return [reply(body=b"from one", headers=[("x-host", "h1"), ("keep-alive", "timeout=5")])]


UPSTREAMS: dict[str, Script | Http2] = {"one": http1, "two": Http2(by_path)}


def config(world: World) -> Config:
    routes = [
        route_to("one", prefix="/h1"),
        route_to("nobody", prefix="/nobody"),
        route_to("two", prefix="/again", retry_policy={"retry_on": "reset,refused-stream", "num_retries": 1}),
        route_to("two"),
    ]
    clusters = [
        http2_cluster("two", world.upstreams["two"].port),
        http2_cluster("nobody", world.nobody),
    ]
    return world.bootstrap([virtual_host(routes, ["example.com"])], clusters=clusters)


def say(world: World, response: H2Response) -> None:
    world.said.append(response.as_message())


def exchanges(*requests: tuple[str, str, Fields]) -> Callable[[World], None]:
    """(path, method, fields) one after the other on one connection."""

    def drive(world: World) -> None:
        with H2Client(world.front) as client:
            for path, method, fields in requests:
                say(world, client.get(path, method, fields))

    return drive


def bodies(world: World) -> None:
    with H2Client(world.front) as client:
        for path in ("/h1/post", "/post"):
            stream = client.start(path, "POST", end=False)
            client.data(stream, b"a body of no known length", end=True)
            say(world, client.wait(stream))
            stream = client.start(path, "POST", [("content-length", "4")], end=False)
            client.data(stream, b"four", end=True)
            say(world, client.wait(stream))
        stream = client.start("/trailed", "POST", end=False)
        client.data(stream, b"then")
        client.trailers(stream, [("x-tail", "ends")])
        say(world, client.wait(stream))
        say(world, client.get("/h1/chunked"))


def cookies(world: World) -> None:
    crumbs = [("cookie", "a=b"), ("x-between", "1"), ("cookie", "c=d"), ("x-twice", "1"), ("x-twice", "2")]
    exchanges(("/h1/c", "GET", crumbs), ("/c", "GET", crumbs))(world)


def head(*fields: tuple[str, str], end: bool = True) -> bytes:
    frame = HeadersFrame(1, Encoder().encode(fields))
    frame.flags.add("END_HEADERS")
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


GOOD = ((":method", "GET"), (":path", "/h1"), (":scheme", "http"), (":authority", "example.com"))
#: one connection each: Envoy ends it, with a line in the log
BROKEN = (
    head(*GOOD, ("x", "a\x00b")),
    head(*GOOD, ("connection", "close")),
    head(*GOOD, ("te", "gzip")),
    head(*GOOD[:3]),
    head(*GOOD[:1], *GOOD[2:]),
    head(*GOOD, ("content-length", "5")),
    head(*GOOD, end=False) + 2 * DataFrame(1, b"").serialize(),
)


def broken(world: World) -> None:
    for frames in BROKEN:
        with H2Client(world.front) as client:
            client.wait_until(lambda client=client: bool(client.settings))
            client.raw(frames)
            world.said.append("closed" if client.is_closed(3.0) else "still open")


def too_much(world: World) -> None:
    with H2Client(world.front) as client:
        say(world, client.get("/h1", headers=[(f"x-{n}", "y") for n in range(96)]))
        say(world, client.get("/h1", headers=[(f"x-{n}", "y") for n in range(97)]))
        say(world, client.get("/h1", headers=[("x", "y" * 8000)] * 8))
        say(world, client.get("/h1"))


def refused_in_order(world: World) -> None:
    """Answers before the request is whole, CONNECT, odd targets."""
    with H2Client(world.front) as client:
        say(world, client.wait(client.start("/x", "POST", end=False, authority="other.example")))
        say(world, client.wait(client.start("", "CONNECT", end=False, scheme="")))
        say(world, client.get("/h1#part"))
        say(world, client.get("/h1/expect", "POST", [("expect", "100-continue")]))


def cancelled(world: World) -> None:
    with H2Client(world.front) as client:
        stream = client.start("/post", "POST", end=False)
        client.data(stream, b"begun")
        client.get("/h1")
        client.reset(stream, 8)
        say(world, client.get("/h1"))


def split_preface(world: World) -> None:
    with H2Client(world.front) as client:
        client.raw(WindowUpdateFrame(0, 1000).serialize())
        say(world, client.get("/h1"))


def with_underscores(action: str) -> Callable[[World], Config]:
    def made(world: World) -> Config:
        hcm = {"common_http_protocol_options": {"headers_with_underscores_action": action}}
        return world.bootstrap([virtual_host([route_to("one")])], hcm=hcm)

    return made


def underscored(world: World) -> None:
    """In values, in names, in a trailer's name; each on a connection of its own, with a request behind it."""
    for fields in ([("a-b", "a_b")], [("a_b", "1"), ("c", "2"), ("_d", "3")]):
        with H2Client(world.front) as client:
            say(world, client.get("/h1", headers=fields))
            say(world, client.get("/h1/next"))
    with H2Client(world.front) as client:
        stream = client.start("/h1/trailed", "POST", end=False)
        client.data(stream, b"then")
        client.trailers(stream, [("x_tail", "ends")])
        say(world, client.wait(stream))


def follows(world: World) -> Config:
    routes = [route_to("two")]
    both: Config = {"http_protocol_options": {}, "http2_protocol_options": {}}
    clusters = [
        http2_cluster("two", world.upstreams["two"].port, use_downstream_protocol_config=both),
    ]
    return world.bootstrap([virtual_host(routes)], clusters=clusters)


def legacy(world: World) -> Config:
    clusters = [cluster("two", world.upstreams["two"].port, http2_protocol_options={})]
    hcm = {"codec_type": "HTTP2", "http2_protocol_options": {"max_concurrent_streams": 10}}
    return world.bootstrap([virtual_host([route_to("two")])], clusters=clusters, hcm=hcm)


def get(path: str, fields: Fields = ()) -> tuple[str, str, Fields]:
    return path, "GET", fields


def post(path: str, fields: Fields = ()) -> tuple[str, str, Fields]:
    return path, "POST", fields


SCENARIOS = [
    Scenario(
        "http2_mixed",
        "HTTP/2 to HTTP/1 and to HTTP/2, one after the other",
        config,
        exchanges(get("/h1/a"), get("/b"), get("/c"), get("/te", [("te", "trailers")])),
        UPSTREAMS,
        lines=4,
    ),
    Scenario(
        "http2_bodies", "bodies and trailers to both kinds of hosts", config, bodies, UPSTREAMS, lines=6
    ),
    Scenario(
        "http2_cookies", "cookie crumbs are one field for the host", config, cookies, UPSTREAMS, lines=2
    ),
    Scenario(
        "http2_resets",
        "what a host's resets and failures become",
        config,
        exchanges(
            *(get(f"/reset/{code}") for code in (7, 8, 1, 2, 0)),
            get("/after/8"),
            get("/close"),
            get("/bad-field"),
            get("/short"),
            get("/nobody"),
            get("/again/fine"),
        ),
        UPSTREAMS,
        lines=11,
        expect=told(503, 503, 502, 503, 503, 200, 503, 502, 200, 503, 200),
    ),
    Scenario(
        "http2_grpc",
        "gRPC: trailers, trailers only, replies of the proxy",
        config,
        exchanges(
            post("/trailers", GRPC),
            post("/trailers-only", GRPC),
            post("/nobody", GRPC),
            post("/reset/8", GRPC),
            post("/nobody", [("content-type", "application/grpc-web")]),
        ),
        UPSTREAMS,
        lines=5,
        expect=told(200, 200, 200, 200, 503),
    ),
    Scenario(
        "http2_broken",
        "what is no HTTP/2 request ends the connection",
        config,
        broken,
        UPSTREAMS,
        lines=7,
        expect=told(*(["closed"] * 7)),
        allow={"http2-violation-details": r"^log [012] RESPONSE_CODE_DETAILS$"},
    ),
    Scenario(
        "http2_too_much", "heads beyond the limits cost their stream", config, too_much, UPSTREAMS, lines=4
    ),
    Scenario(
        "http2_refused", "replies before the request is whole", config, refused_in_order, UPSTREAMS, lines=4
    ),
    Scenario("http2_cancelled", "the client gives a stream up", config, cancelled, UPSTREAMS, lines=3),
    Scenario("http2_window", "the first bytes in pieces", config, split_preface, UPSTREAMS, lines=1),
    Scenario(
        "http2_underscores_drop",
        "headers_with_underscores_action: DROP_HEADER over HTTP/2",
        with_underscores("DROP_HEADER"),
        underscored,
        {"one": http1},
        lines=5,
        expect=told(200, 200, 200, 200, 200),
    ),
    Scenario(
        "http2_underscores_reject",
        "headers_with_underscores_action: REJECT_REQUEST over HTTP/2",
        with_underscores("REJECT_REQUEST"),
        underscored,
        {"one": http1},
        lines=5,
        expect=told(200, 200, 0, 200, 0),
    ),
    Scenario(
        "http2_follows",
        "use_downstream_protocol_config: HTTP/2 for an HTTP/2 client",
        follows,
        exchanges(get("/a"), get("/b")),
        {"two": Http2(by_path)},
        lines=2,
    ),
    Scenario(
        "http2_legacy",
        "http2_protocol_options of the cluster itself; codec_type HTTP2",
        legacy,
        exchanges(get("/a"), get("/b")),
        {"two": Http2(by_path)},
        lines=2,
    ),
]
