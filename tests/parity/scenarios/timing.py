"""What ends a request or a connection in time: every timeout, every limit of duration, the headers about them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.support.client import Client, request
from tests.support.config import Config, route_to, virtual_host
from tests.support.messages import Headers
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Send, Stall, Steps, Wait, reply

INTERNAL: Headers = [("x-forwarded-for", "10.1.1.1")]
PRIVATE = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}


def slow(got: Request) -> Steps:
    """``/stall``, ``/slow`` (0.4 s), ``/drip`` (a head, then nothing); else at once."""
    if got.path.endswith("/stall"):
        return [Stall()]
    if got.path.endswith("/slow"):
        return [Wait(0.4), reply(200, b"late")]
    if got.path.endswith("/drip"):
        return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Stall()]
    return [reply(200, b"ok")]


def scenario(name: str, title: str, routes: list[Config], drive: Callable[[World], None], codes: list[Any], lines: int | None = None, **hcm: Any) -> Scenario:  # fmt: skip
    count = sum(isinstance(code, int) and code >= 200 for code in codes) if lines is None else lines
    return Scenario(
        name=f"time_{name}",
        title=title,
        config=lambda world: world.bootstrap(
            [virtual_host(routes)], hcm={"internal_address_config": PRIVATE, **hcm}
        ),
        drive=drive,
        upstreams={"up": slow},
        lines=count,
        expect=told(*codes),
    )


def ask(*asked: tuple[str, Headers]) -> Callable[[World], None]:
    """Each on a connection of its own."""

    def drive(world: World) -> None:
        for path, fields in asked:
            world.talk(request("GET", path, fields), tries=(1,))

    return drive


def own(name: str, value: str) -> Headers:
    return [*INTERNAL, (f"x-envoy-upstream-rq-{name}", value)]


BY_HEADER = [
    ("/stall", own("timeout-ms", "100")),
    ("/slow", own("timeout-ms", "3000")),
    ("/slow", own("timeout-ms", "0")),
    ("/slow", own("timeout-ms", "soon")),
    (
        "/stall",
        [("x-envoy-upstream-rq-timeout-ms", "100"), ("x-envoy-upstream-rq-timeout-alt-response", "1")],
    ),
    ("/stall", [*own("timeout-ms", "100"), ("x-envoy-upstream-rq-timeout-alt-response", "1")]),
    ("/stall", [*own("timeout-ms", "3000"), ("x-envoy-upstream-rq-per-try-timeout-ms", "100")]),
    ("/fast", [*own("timeout-ms", "1000"), ("x-envoy-upstream-rq-per-try-timeout-ms", "3000")]),
]
GRPC: Headers = [("content-type", "application/grpc"), ("te", "trailers")]


def grpc(*timeouts: str | None, path_of_short: bool = False) -> Callable[[World], None]:
    def drive(world: World) -> None:
        for at, value in enumerate(timeouts, 1):
            told_by_client: Headers = [] if value is None else [("grpc-timeout", value)]
            is_short = value in ("0S", "100m", "500000u")  # over before a host could answer
            path = "/stall" if is_short and path_of_short else "/fast"
            world.talk(request("POST", path, [*GRPC, *told_by_client]))
            world.upstreams["up"].wait_for(at)  # the answer may be here before the host has read the request

    return drive


def partial(*parts: bytes, pause_s: float = 0.0) -> Callable[[World], None]:
    """The parts, then silence until the proxy ends it."""

    def drive(world: World) -> None:
        with Client(world.front) as client:
            for part in parts:
                world.sent += part
                client.send(part)
                time.sleep(pause_s)
            world.listen(client)

    return drive


def then_idle(*requests: bytes) -> Callable[[World], None]:
    """Requests on one connection; what becomes of it when it says no more."""

    def drive(world: World) -> None:
        with Client(world.front) as client:
            for data in requests:
                world.sent += data
                world.listen(client.send(data))
            world.said.append("closed" if client.is_closed() else "still open")

    return drive


def to(prefix: str, **action: Any) -> Config:
    return route_to("up", prefix=prefix, **action)


OPEN = [to("/", timeout="0s")]
HALF_HEAD = b"GET / HTTP/1.1\r\nhost: a\r\nx-half"
HALF_BODY = b"POST /stall HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf"

SCENARIOS = [
    scenario("headers", "x-envoy-upstream-rq-*: of internal requests alone", [to("/", timeout="0.8s")], ask(*BY_HEADER),
             [504, 200, 200, 200, 504, 204, 504, 200]),
    scenario("route", "timeout of a route: none, its own, the default; what the host is told",
             [to("/none", timeout="0s"), to("/own", timeout="0.5s"), to("/")],
             ask(("/none/slow", []), ("/own/stall", []), ("/own/fast", []), ("/default", []), ("/own/drip", [])),
             [200, 504, 200, 200, "closed after 4 bytes"], lines=5),
    scenario("per_try", "per_try_timeout longer than the timeout, with and without retries",
             [to("/longer", timeout="0.2s", retry_policy={"per_try_timeout": "3s"}),
              to("/alone", timeout="5s", retry_policy={"per_try_timeout": "0.5s"})],
             ask(("/longer/stall", []), ("/alone/stall", []), ("/alone/fast", [])), [504, 504, 200]),
    scenario("idle", "stream_idle_timeout, a route's own",
             [to("/own", timeout="0s", idle_timeout="0.1s"), to("/none", timeout="0s", idle_timeout="0s"), *OPEN],
             ask(("/own/stall", []), ("/none/slow", []), ("/stall", []), ("/drip", [])),
             [504, 200, 504, "closed after 4 bytes"], lines=4, stream_idle_timeout="0.25s"),
    scenario("idle_body", "stream_idle_timeout while the client sends", OPEN, partial(HALF_BODY), [408, "closed"],
             stream_idle_timeout="0.2s"),
    scenario("request", "request_timeout: until the request is whole", OPEN, partial(HALF_BODY), [408, "closed"],
             request_timeout="0.2s"),
    scenario("request_done", "request_timeout: over once the request is whole", OPEN, ask(("/slow", [])), [200],
             request_timeout="0.2s"),
    scenario("head", "request_headers_timeout", OPEN, partial(HALF_HEAD), [408, "closed"],
             request_headers_timeout="0.2s"),
    scenario("stream", "max_stream_duration of the connection manager", OPEN,
             ask(("/stall", []), ("/fast", []), ("/drip", [])), [504, 200, "closed after 4 bytes"], lines=3,
             common_http_protocol_options={"max_stream_duration": "0.5s"}),
    scenario("route_stream", "max_stream_duration of a route",
             [to("/own", max_stream_duration={"max_stream_duration": "0.5s"}),
              to("/off", max_stream_duration={"max_stream_duration": "0s"}), *OPEN],
             ask(("/own/stall", []), ("/own/fast", []), ("/off/slow", []), ("/stall", [])), [504, 200, 200, 504],
             common_http_protocol_options={"max_stream_duration": "0.3s"}),
    scenario("grpc_max", "grpc_timeout_header_max, grpc_timeout_header_offset",
             [to("/", max_stream_duration={"grpc_timeout_header_max": "5s", "grpc_timeout_header_offset": "1s"})],
             grpc(None, "3S", "20S", "100m", "2M", "1H", "500000u", "nonsense", "0S", "123456789S",
                  path_of_short=True), [200] * 10),
    scenario("grpc_old", "max_grpc_timeout, grpc_timeout_offset",
             [to("/", max_grpc_timeout="4s", grpc_timeout_offset="0.5s")],
             grpc(None, "3S", "20S", "100m", "0S"), [200] * 5),
    scenario("grpc_none", "max_grpc_timeout: 0, as long as the client says", [to("/", max_grpc_timeout="0s")],
             grpc(None, "3S", "20S"), [200] * 3),
    scenario("requests", "max_requests_per_connection", OPEN,
             lambda world: world.talk(request("GET", "/"), request("GET", "/")), [200, 200, "closed"],
             common_http_protocol_options={"max_requests_per_connection": 2}),
    scenario("drain", "a connection idles out", OPEN, then_idle(request("GET", "/")), [200, "closed"],
             common_http_protocol_options={"idle_timeout": "0.2s"}, drain_timeout="0.1s"),
    scenario("duration", "max_connection_duration", OPEN, then_idle(request("GET", "/"), request("GET", "/slow")),
             [200, 200, "closed", "closed"], common_http_protocol_options={"max_connection_duration": "0.3s"},
             drain_timeout="0.1s"),
]  # fmt: skip
