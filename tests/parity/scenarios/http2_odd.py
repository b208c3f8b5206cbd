"""HTTP/2's rarer words: every error code each way, GOAWAYs, broken trailers, QUERY, ``te``; replies in a response's place."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.parity.scenarios.grpc import frame, over_http1
from tests.parity.scenarios.http2 import GRPC, get, http2_cluster, say
from tests.support.client import Client
from tests.support.config import TYPES, Config, route_to, virtual_host
from tests.support.h2_client import Fields, H2Client, H2Response
from tests.support.h2_upstream import H2Reply, H2Request
from tests.support.parity.scenario import Http2, Scenario, World, told
from tests.support.upstream import Request, Script, Steps, reply

CODES = range(14)
CUT = "upstream_reset_after_response_started{remote_reset}"


def by_path(request: H2Request, answer: H2Reply) -> None:
    """What the HTTP/2 host says."""
    path = request.path
    if path.startswith("/reset/"):
        answer.reset(int(path[7:]))
    elif path.startswith("/goaway/"):
        answer.goaway(int(path[8:]), last=0)
    elif path == "/begun":
        answer.headers(200, GRPC)
        answer.data(frame(b"one"))
    elif path == "/begun/reset":
        answer.headers(200, GRPC)
        answer.data(frame(b"one"))
        answer.reset(2)
    elif not path.startswith("/stall"):
        answer.answer()


def http1(request: Request) -> Steps:
    """What the HTTP/1 host says."""
    return [reply()]


UPSTREAMS: dict[str, Script | Http2] = {"one": http1, "two": Http2(by_path)}


def config(**hcm: object) -> Callable[[World], Config]:
    def made(world: World) -> Config:
        routes = [route_to("one", prefix="/h1"), route_to("two", max_grpc_timeout="1s")]
        clusters = [http2_cluster("two", world.upstreams["two"].port)]
        return world.bootstrap([virtual_host(routes)], clusters=clusters, hcm=dict(hcm))

    return made


def bridged(world: World) -> Config:
    """grpc_http1_bridge holds responses until their trailers."""
    chain = [
        {
            "name": f"envoy.filters.http.{name}",
            "typed_config": {"@type": f"{TYPES}.filters.http.{name}.v3.{message}"},
        }
        for name, message in (("grpc_http1_bridge", "Config"), ("router", "Router"))
    ]
    return config(http_filters=chain)(world)


def each(*requests: tuple[str, str, Fields]) -> Callable[[World], None]:
    """(path, method, fields), each on a connection of its own."""

    def drive(world: World) -> None:
        for path, method, fields in requests:
            with H2Client(world.front) as client:
                say(world, client.get(path, method, fields))

    return drive


def clients_codes(world: World) -> None:
    """A client gives streams up with every code."""
    with H2Client(world.front) as client:
        for code in CODES:
            stream = client.start(f"/stall/{code}", "POST", end=False)
            client.data(stream, b"part")
            say(world, client.get("/h1"))  # the host has its stream, most likely: nothing is compared of when
            client.reset(stream, code)
            say(world, client.get("/h1"))
            world.wait_for_lines(3 * (code + 1))
    host = world.upstreams["two"]
    host.wait_for(lambda: len(host.resets) == len(CODES))
    world.note("resets of the host", str([(request.path, code) for request, code in host.resets]))


HEAD = [(":method", "POST"), (":scheme", "http"), (":authority", "example.com"), (":path", "/h1")]
TRAILERS = ([(":path", "/")], [("connection", "x")], [("X-Upper", "1")], [("x-fine", "1")])


ENDED: tuple[int | str, ...] = (0, "closed")
WHOLE: tuple[int | str, ...] = (200, "still open")


def broken_trailers(world: World) -> None:
    """In one write with their head, and in a write of their own."""
    for fields in TRAILERS:
        for at_once in (True, False):
            with H2Client(world.front) as client:
                stream = client.h2.get_next_available_stream_id()
                client.streams[stream] = H2Response()
                client.h2.send_headers(stream, HEAD)
                client.h2.send_data(stream, b"abc")
                if not at_once:
                    client.flush()
                    time.sleep(0.05)
                client.h2.send_headers(stream, fields, end_stream=True)
                client.flush()
                say(world, client.wait(stream, 3.0))
                world.said.append("closed" if client.closed else "still open")


def queries(world: World) -> None:
    for fields in ([], [("content-type", "text/plain")], [("content-type", "")]):
        with H2Client(world.front) as client:
            say(world, client.get("/h1", "QUERY", fields))
            say(world, client.get("/h1/next"))


BLANKS: Fields = [("x-behind", "a "), ("x-before", "\tb"), ("x-both", " c\t "), ("x-none", "")]


def with_blanks(request: H2Request, answer: H2Reply) -> None:
    answer.headers(200, [*GRPC, *BLANKS])
    answer.data(frame(b"one"))
    answer.trailers([("grpc-status", "13"), ("grpc-message", "error: ")])


def blanks(world: World) -> None:
    """To a host of either kind, and back."""
    for path in ("/h1", "/h2"):
        with H2Client(world.front) as client:
            say(world, client.get(path, "GET", BLANKS))
            say(world, client.get(path, "GET", BLANKS))  # now from the table of HPACK


TE = ("trailers", "Trailers", "trailers;q=0.5", "gzip, trailers", "trailers,gzip", "gzip", "trailers;q=0", "")


def asks_for_trailers(world: World) -> None:
    with Client(world.front) as client:
        for value in TE:
            for more in (b"", b"connection: te\r\n"):
                asked = b"GET /h1 HTTP/1.1\r\nhost: a\r\nte: %b\r\n%b\r\n" % (value.encode(), more)
                world.sent += asked
                client.send(asked)
                world.listen(client)


def held(world: World) -> None:
    """Responses that a filter holds when their time is over, or their host resets them."""
    for path in ("/begun", "/begun/reset", "/stall/now"):
        over_http1(world, path, [*GRPC, ("grpc-timeout", "400m")], frame(b"q"))


def details(*wanted: str) -> Callable[[World], None]:
    """An ``expect``: these RESPONSE_CODE_DETAILS are in the log."""

    def check(world: World) -> None:
        lines = world.wait_for_lines(len(wanted))
        for line, word in zip(lines, wanted, strict=True):
            assert f"RESPONSE_CODE_DETAILS={word} " in line, line

    return check


def schemes(world: World) -> None:
    """What is neither http nor https is left to x-forwarded-proto, then to the connection."""
    with H2Client(world.front) as client:
        for scheme in ("https", "HTTP", "ftp"):
            for proto in ((), ("https",), ("HTTPS",), ("ftp",)):
                fields = [("x-forwarded-proto", value) for value in proto]
                say(world, client.wait(client.start("/x", headers=fields, scheme=scheme)))


def drained(world: World) -> None:
    """A connection whose server is to receive no more goes once, whatever its streams; a reply of the proxy's own."""
    with H2Client(world.front) as client:
        held = client.start("/h1/held", "POST", end=False)
        say(world, client.get("/x"))
        world.ask_admin("/healthcheck/fail", "POST")
        say(world, client.get("/x"))
        say(world, client.get("/overloaded", "POST", GRPC))
        client.data(held, b"x", end=True)
        say(world, client.wait(held))
        world.note("closed", str(client.is_closed()))
        world.note("goaways", str(client.goaways))
        world.note("drained", world.ask_admin("/stats?filter=^http.front.downstream_cx_drain_close"))
        world.ask_admin("/healthcheck/ok", "POST")


def drains(world: World) -> Config:
    made = config(drain_timeout="0.3s")(world)
    full = {
        "thresholds": [{"max_requests": 0, "max_pending_requests": 0}],
    }
    two = http2_cluster("full", world.upstreams["two"].port)
    made["static_resources"]["clusters"].append({**two, "circuit_breakers": full})
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["virtual_hosts"][0]["routes"].insert(0, route_to("full", prefix="/overloaded"))
    return made


SCENARIOS: list[Scenario] = [
    Scenario("http2_schemes", "schemes of clients", config(), schemes, UPSTREAMS, lines=12),
    Scenario(
        "http2_drained",
        "a server that fails its health checks: GOAWAY, and what still runs",
        drains,
        drained,
        UPSTREAMS,
        lines=4,
        expect=told(200, 200, 200, 200),
    ),
    Scenario(
        "http2_host_codes",
        "a host resets with every code",
        config(),
        each(*(get(f"/reset/{code}") for code in CODES)),
        UPSTREAMS,
        lines=len(CODES),
        expect=told(*(502 if code == 1 else 503 for code in CODES)),
    ),
    Scenario(
        "http2_client_codes",
        "a client resets with every code",
        config(),
        clients_codes,
        UPSTREAMS,
        lines=3 * len(CODES),
    ),
    Scenario(
        "http2_goaway",
        "a host takes no stream and leaves, with and without an error",
        config(),
        each(*(get(f"/goaway/{code}") for code in (0, 2, 11))),
        UPSTREAMS,
        lines=3,
        expect=told(503, 503, 503),
    ),
    Scenario(
        "http2_broken_trailers",
        "what are no trailers ends the connection, be they in one read with their head or not",
        config(http_protocol_options={"enable_trailers": True}),
        broken_trailers,
        UPSTREAMS,
        lines=8,
        expect=told(*ENDED * 6, *WHOLE * 2),
        allow={"http2-violation-details": r"^log [0-5] RESPONSE_CODE_DETAILS$"},
    ),
    Scenario(
        "http2_query",
        "QUERY without a content-type is refused",
        config(),
        queries,
        UPSTREAMS,
        lines=6,
        expect=told(400, 200, 200, 200, 400, 200),
    ),
    Scenario(
        "http2_blanks",
        "values that begin or end with blanks travel on as they are",
        config(),
        blanks,
        {"one": http1, "two": Http2(with_blanks, lenient=True)},
        lines=4,
        expect=told(200, 200, 200, 200),
        native="http2-stricter-values",
    ),
    Scenario("te", "which values of te travel on", config(), asks_for_trailers, UPSTREAMS, lines=16),
    Scenario(
        "held_responses",
        "a response that a filter holds makes way for a reply",
        bridged,
        held,
        UPSTREAMS,
        lines=3,
        expect=details("response_timeout", CUT, "response_timeout"),
    ),
]
