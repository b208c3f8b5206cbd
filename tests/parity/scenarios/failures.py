"""What the client is told when there is no answer to pass on."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.client import Client, request
from tests.support.config import Config, cluster, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Close, Request, Reset, Send, Stall, Steps, reply

RETRY = {"retry_on": "5xx,reset,connect-failure", "num_retries": 1}


def some_hosts(world: World) -> Config:
    known = virtual_host(
        [route_to("up", prefix="/here")], ["known.example", "*.suffix.example"], name="known"
    )
    return world.bootstrap([known])


def no_route(world: World) -> None:
    world.talk(
        request("GET", "/here", host="known.example"),
        request("GET", "/here/too", host="KNOWN.example"),
        request("GET", "/elsewhere", host="known.example"),
        request("GET", "/here", host="a.suffix.example"),
        request("GET", "/here", host="unknown.example"),
        request("GET", "/here", host="unknown.example"),
    )
    world.talk(request("POST", "/here", host="unknown.example", body=b"not wanted"))


def nobody_home(world: World) -> Config:
    routes = [
        route_to("nobody", prefix="/retried", retry_policy=RETRY),
        route_to("empty", prefix="/empty"),
        route_to("nobody"),
    ]
    return world.bootstrap(
        [virtual_host(routes)], clusters=[cluster("nobody", world.nobody), cluster("empty")]
    )


def connect_refused(world: World) -> None:
    world.talk(
        request("GET", "/once"),
        request("GET", "/retried"),
        request("GET", "/empty"),
        request("HEAD", "/once"),
        heads=(3,),
    )


def resets(world: World) -> Config:
    routes = [
        route_to("up", prefix="/retried", retry_policy=RETRY),
        route_to("up", prefix="/gateway", retry_policy={"retry_on": "gateway-error", "num_retries": 2}),
        route_to("up"),
    ]
    return world.bootstrap(
        [virtual_host(routes, include_request_attempt_count=True, include_attempt_count_in_response=True)]
    )


def fail_by_path(world_tries: dict[str, int]) -> Callable[[Request], Steps]:
    """Answers by path; "/retried/…" paths fail the first time."""

    def script(got: Request) -> Steps:
        tries = world_tries[got.path] = world_tries.get(got.path, 0) + 1
        match got.path, tries % 2:
            case "/fin" | "/retried/always", _:
                return [Close()]
            case "/rst", _:
                return [Reset()]
            case "/garbage", _:
                return [Send(b"NOT HTTP AT ALL\r\n\r\n"), Close()]
            case "/cut", _:
                return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"), Close()]
            case "/retried/reset", 1:
                return [Reset()]
            case "/retried/503" | "/gateway/503", 1:
                return [reply(503, b"busy", reason="Service Unavailable")]
            case "/retried/503always" | "/503", _:
                return [reply(503, b"busy", reason="Service Unavailable")]
            case "/retried/404", _:
                return [reply(404, b"no", reason="Not Found")]
        return [reply(200, b"fine")]

    return script


def reset_and_retry(world: World) -> None:
    world.talk(
        request("GET", "/fin"),
        request("GET", "/rst"),
        request("GET", "/garbage"),
        request("GET", "/503"),
        request("GET", "/retried/reset"),
        request("POST", "/retried/503", body=b"sent twice"),
        request("GET", "/gateway/503"),
        request("GET", "/retried/always"),
        request("GET", "/retried/503always"),
        request("GET", "/retried/404"),
    )
    world.talk(request("GET", "/cut"))


def timeouts(world: World) -> Config:
    routes = [
        route_to(
            "up",
            prefix="/try",
            timeout="5s",
            retry_policy={"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"},
        ),
        route_to("up", prefix="/idle", timeout="5s", idle_timeout="0.3s"),
        route_to("up", timeout="0.3s"),
    ]
    return world.bootstrap([virtual_host(routes)])


def stall_by_path(got: Request) -> Steps:
    if got.path == "/started":
        return [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"), Stall()]
    return [Stall()]


def time_out(world: World) -> None:
    world.talk(request("GET", "/route"), request("GET", "/try"), request("GET", "/idle"), tries=(1, 2, 1))
    world.talk(request("GET", "/started"))


LOCAL_ERRORS: list[bytes] = [
    b"GARBAGE\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Nul: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(101)) + b"\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nX-No-Host: 1\r\n\r\n",
    b"GET /a#fragment HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x11" * 40 + b"\r\n\r\n",
]


def local_errors(world: World) -> None:
    for data in LOCAL_ERRORS:
        with Client(world.front) as client:
            world.sent += data
            world.listen(client.send(data))


def one_route(world: World) -> Config:
    return world.bootstrap([virtual_host([route_to("up")])])


def error_codes(world: World) -> None:
    codes = [item for item in world.said if not isinstance(item, str)]
    assert [item.status for item in codes] == [
        *(400, 400, 400, 400, 400, 501, 400, 431, 431, 426, 400, 400, 404, 404, 403, 400)
    ]


_tries: dict[str, int] = {}

SCENARIOS = [
    Scenario(
        name="no_route",
        title="virtual hosts by name and suffix; no route and unknown host are 404",
        config=some_hosts,
        drive=no_route,
        upstreams={"up": [reply()]},
        lines=7,
        expect=told(200, 200, 404, 200, 404, 404, 404, "closed"),
    ),
    Scenario(
        name="connect_refused",
        title="nobody listens: 503 UF, retried URX,UF; no host at all: 503 UH",
        config=nobody_home,
        drive=connect_refused,
        lines=4,
        expect=told(503, 503, 503, 503),
    ),
    Scenario(
        name="resets",
        title="upstream closes, resets, talks nonsense; retries on reset, 5xx, gateway-error",
        config=resets,
        drive=reset_and_retry,
        upstreams={"up": fail_by_path(_tries)},
        lines=11,
        expect=told(503, 503, 502, 503, 200, 200, 200, 503, 503, 404, "closed after 4 bytes"),
    ),
    Scenario(
        name="timeouts",
        title="route timeout, per-try timeout, idle timeout, timeout in the middle of a body",
        config=timeouts,
        drive=time_out,
        upstreams={"up": stall_by_path},
        lines=4,
        expect=told(504, 504, 504, "closed after 4 bytes"),
    ),
    Scenario(
        name="local_errors",
        title="bad requests, 431, 426, 501, missing host, OPTIONS *, CONNECT, upgrade",
        config=one_route,
        drive=local_errors,
        upstreams={"up": [reply()]},
        lines=16,
        expect=error_codes,
    ),
]
