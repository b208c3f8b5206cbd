"""Other protocols over HTTP/1.1, and tunnels: what the client and the host see, the log line, the statistics."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.client import Client, request
from tests.support.config import TYPES, Config, cluster, file_log, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.messages import Closed
from tests.support.parity.scenario import LOG_FORMAT, SEPARATOR, Scenario, World, statuses, told
from tests.support.upstream import Close, Request, Send, Stall, Steps, Tunnel, Wait, chunked, reply

GRANTED = Send(
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Host: 1\r\n\r\n"
)
CONNECTED = Send(b"HTTP/1.1 200 OK\r\nX-Host: 1\r\n\r\n")
ALL = [{"upgrade_type": name} for name in ("websocket", "foo", "CONNECT")]


def asks(
    path: str = "/",
    *fields: str,
    method: str = "GET",
    upgrade: str = "websocket",
    connection: str = "Upgrade",
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: example.com"]
    lines += [f"Connection: {connection}"] if connection else []
    lines += [f"Upgrade: {upgrade}"] if upgrade else []
    return "\r\n".join([*lines, *fields, "", ""]).encode()


def connects(authority: str = "t.example:443", *fields: str) -> bytes:
    return "\r\n".join([f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", *fields, "", ""]).encode()


def by_path(request: Request) -> Steps:
    """What the host says to each path, and to CONNECT."""
    found: dict[str, Steps] = {
        "/close": [GRANTED, Send(b"last words"), Wait(0.05), Close()],
        "/slow": [Wait(0.3), GRANTED, Tunnel()],
        "/silent": [Stall()],
        "/200": [reply(200, b"hello", [("x-host", "1")])],
        "/201": [reply(201, b"hello", reason="Created")],
        "/302": [reply(302, b"", [("location", "/x")], reason="Found")],
        "/404": [reply(404, b"hello", reason="Not Found")],
        "/404/chunked": [Send(chunked([b"one", b"two"]).data.replace(b"200 OK", b"404 Not Found"))],
        "/503": [reply(503, b"", reason="Service Unavailable")],
        "/100": [Send(b"HTTP/1.1 100 Continue\r\n\r\n"), GRANTED, Tunnel()],
        "/bad": [Send(GRANTED.data.replace(b"X-Host", b"Content-Length")), Stall()],
        "/last": [Send(b"last words"), Wait(0.05), Close()],
        "c.close:1": [CONNECTED, Send(b"last words"), Wait(0.05), Close()],
        "c.403:1": [reply(403, b"hello", reason="Forbidden")],
    }
    if request.path in found:
        return found[request.path]
    return [CONNECTED, Tunnel()] if request.method == "CONNECT" else [GRANTED, Tunnel()]


def config(world: World) -> Config:
    routes = [
        {"match": {"connect_matcher": {}}, "route": {"cluster": "up"}},
        route_to("up", "/off", upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]),
        route_to("up", "/on", upgrade_configs=[{"upgrade_type": "bar"}]),
        route_to("up", "/again", retry_policy={"retry_on": "5xx", "num_retries": 2}),
        route_to("up", "/timeout", timeout="0.2s", prefix_rewrite="/silent"),
        route_to("up", "/idle", idle_timeout="0.3s"),
        {"match": {"prefix": "/direct"}, "direct_response": {"status": 200}},
        {"match": {"prefix": "/none/"}, "route": {"cluster": "up"}},
        route_to("up", "/rewritten", prefix_rewrite="/", host_rewrite_literal="other.example"),
        *(
            route_to("up", path)
            for path in ("/200", "/201", "/302", "/404", "/503", "/100", "/bad", "/close")
        ),
        *(route_to("up", path) for path in ("/slow", "/echo")),
    ]
    return world.bootstrap([virtual_host(routes)], hcm={"upgrade_configs": ALL})


def tunnel(world: World, head: bytes, *messages: bytes, early: bytes = b"") -> None:
    """Ask, then send messages to be echoed one by one; what comes back is written down, then the client leaves."""
    with Client(world.front) as client:
        world.sent += head
        client.send(head + early)
        world.listen(client, head_only=True)
        if early:
            world.said.append(f"echo {client.wire.exactly(len(early))!r}")
        for message in messages:
            client.send(message)
            world.said.append(f"echo {client.wire.exactly(len(message))!r}")


def listens(world: World, head: bytes) -> None:
    """Ask, then listen until the proxy ends it."""
    with Client(world.front) as client:
        world.sent += head
        client.send(head)
        world.listen(client, head_only=True)
        try:
            world.said.append(f"then {client.wire.rest()!r}")
        except (Closed, TimeoutError) as end:
            world.said.append(f"then {type(end).__name__}")


def grants(world: World) -> None:
    tunnel(world, asks("/echo"), b"one", b"GET / HTTP/1.1\r\n\r\n")
    tunnel(
        world,
        asks("/echo", "Sec-WebSocket-Key: k", method="POST", connection="keep-alive, Upgrade, X-Named"),
        b"x",
    )
    tunnel(
        world,
        asks(
            "/echo",
            "TE: gzip",
            "Keep-Alive: 5",
            "Proxy-Connection: keep-alive",
            "X-Named: 1",
            connection="x-named, upgrade",
        ),
        b"x",
    )
    tunnel(world, asks("/slow"), b"later", early=b"EARLY")
    tunnel(world, asks("/echo", upgrade="foo"), b"x")
    tunnel(world, asks("/on", upgrade="BAR"), b"x")
    tunnel(world, asks("/on"), b"x")
    tunnel(world, asks("/rewritten/echo"), b"x")
    tunnel(world, asks("/100"), b"x")
    listens(world, asks("/close"))


def refusals(world: World) -> None:
    for path in (
        "/200",
        "/201",
        "/302",
        "/404",
        "/404/chunked",
        "/503",
        "/bad",
        "/off",
        "/direct",
        "/nowhere",
    ):
        world.talk(asks(path))
    world.talk(asks("/200", upgrade="foo"))
    world.talk(asks("/404") + b"GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n")


def not_asked(world: World) -> None:
    world.talk(asks("/200", connection=""))
    world.talk(asks("/200", "HTTP2-Settings: AAA", upgrade="h2c", connection="Upgrade, HTTP2-Settings"))
    world.talk(asks("/200", upgrade="websocket, foo"))
    world.talk(asks("/200", upgrade="foo, websocket"))
    world.talk(asks("/200", "Upgrade: foo"))
    world.talk(asks("/200", upgrade="other"))
    world.talk(asks("/200", connection="close"))


def times(world: World) -> None:
    listens(world, asks("/idle"))
    world.talk(asks("/timeout"), tries=(1,))
    world.talk(asks("/again/503"))


def connecting(world: World) -> None:
    tunnel(world, connects(), b"one", b"GET / HTTP/1.1\r\n\r\n")
    tunnel(world, connects("t.example:1", "Content-Length: 0"), b"x", early=b"EARLY")
    world.talk(connects("c.403:1"))
    listens(world, connects("c.close:1"))


def ended_here(world: World) -> Config:
    ends = [{"upgrade_type": "CONNECT", "connect_config": {}}]
    to_nobody = {"name": ":authority", "string_match": {"prefix": "nobody"}}
    routes = [
        {
            "match": {"connect_matcher": {}, "headers": [to_nobody]},
            "route": {"cluster": "nobody", "upgrade_configs": ends},
        },
        {"match": {"connect_matcher": {}}, "route": {"cluster": "up", "upgrade_configs": ends}},
    ]
    clusters = [cluster("nobody", world.nobody)]
    hcm = {"http2_protocol_options": {"allow_connect": True}}
    return world.bootstrap([virtual_host(routes)], hcm=hcm, clusters=clusters)


def through(world: World) -> None:
    """A tunnel whose other end speaks HTTP/1.1: requests one after the other, one sent early, the host's end."""
    asked = request("GET", "/404")
    for early, later in ((b"", [asked, asked]), (asked, [])):
        with Client(world.front) as client:
            world.sent += connects()
            client.send(connects() + early)
            world.listen(client, head_only=True)
            if early:
                world.listen(client)
            for one in later:
                client.send(one)
                world.listen(client)
    with Client(world.front) as client:
        client.send(connects())
        world.listen(client, head_only=True)
        client.send(request("GET", "/last"))
        world.said.append(f"then {client.wire.rest()!r}")
    world.talk(connects("nobody:1"))
    with H2Client(world.front) as client2:
        stream = client2.send_head([(":method", "CONNECT"), (":authority", "two:1")], end=False)
        # Only behind the answer: whether it takes a time, and its length, depends on whose end is first.
        assert client2.wait_until(lambda: client2.streams[stream].status)
        client2.data(stream, asked, end=True)
        world.said.append(client2.wait(stream).as_message())


def unwanted(world: World) -> None:
    world.talk(connects() + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    world.talk(asks("/") + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


def only(routes: list[Config], **hcm: object) -> Callable[[World], Config]:
    return lambda world: world.bootstrap([virtual_host(routes)], hcm=hcm)


def granted(world: World) -> None:
    seen = [one for one in statuses(world) if isinstance(one, int)]
    assert seen == [101] * 10, statuses(world)
    assert "then b'last words'" in world.said


def tunnelled(world: World) -> None:
    seen = [one for one in statuses(world) if isinstance(one, int)]
    assert seen == [200, 200, 403, 200], statuses(world)
    assert "echo b'EARLY'" in world.said


def filtered(world: World) -> Config:
    """A protocol whose filters are its own; a line when a tunnel stands."""
    made = config(world)
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    typed = {"@type": f"{TYPES}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    own = {"upgrade_type": "foo", "filters": [{"name": "router", "typed_config": typed}]}
    manager["access_log_options"] = {"flush_log_on_tunnel_successfully_established": True}
    logged = f"{LOG_FORMAT.strip()}{SEPARATOR}ACCESS_LOG_TYPE=%ACCESS_LOG_TYPE%\n"
    manager["access_log"] = [file_log(str(world.log), logged)]
    manager["upgrade_configs"] = [own, *(one for one in ALL if one["upgrade_type"] != "foo")]
    return made


def of_filters(world: World) -> None:
    tunnel(world, asks("/echo", upgrade="foo"), b"one")
    world.wait_for_lines(2)
    tunnel(world, asks("/echo"), b"one")
    world.wait_for_lines(4)
    tunnel(world, asks("/404"))


UP = {"up": by_path}
#: Envoy reads on when the host of a CONNECT has ended its side, finds nothing to do, and closes
WHO_ENDS = (r"upstream_cx_destroy_(local|remote)",)

SCENARIOS: list[Scenario] = [
    Scenario(
        name="upgrades",
        title="WebSocket and others over HTTP/1.1: heads, echoes, early bytes, who ends it",
        config=config,
        drive=grants,
        upstreams=UP,
        lines=10,
        expect=granted,
    ),
    Scenario(
        name="upgrades_filters",
        title="filters of an upgrade; flush_log_on_tunnel_successfully_established",
        config=filtered,
        drive=of_filters,
        upstreams=UP,
        lines=5,
    ),
    Scenario(
        name="upgrades_refused",
        title="hosts that answer otherwise, routes that say no, no route at all",
        config=config,
        drive=refusals,
        upstreams=UP,
        lines=12,
        expect=told(
            *(
                word
                for status in (200, 201, 302, 404, 404, 503, 502, 403, 200, 404, 200, 404)
                for word in (status, "closed")
            )
        ),
    ),
    Scenario(
        name="upgrades_not_asked",
        title="Upgrade that Connection does not name, h2c, several protocols, one that is not configured",
        config=config,
        drive=not_asked,
        upstreams=UP,
        lines=7,
        expect=told(200, 200, 403, "closed", 403, "closed", 403, "closed", 403, "closed", 200, "closed"),
    ),
    Scenario(
        name="upgrades_time",
        title="tunnels that are silent, hosts that do not answer a handshake, handshakes tried again",
        config=config,
        drive=times,
        upstreams=UP,
        lines=3,
    ),
    Scenario(
        name="connect",
        title="CONNECT passed on over HTTP/1.1: early bytes, refusals, the host's end",
        config=config,
        drive=connecting,
        upstreams=UP,
        lines=4,
        expect=tunnelled,
        ignore_stats=WHO_ENDS,
    ),
    Scenario(
        name="connect_ended",
        title="CONNECT that ends here, over HTTP/1.1 and HTTP/2: its host is spoken to in TCP",
        config=ended_here,
        drive=through,
        upstreams=UP,
        lines=5,
        ignore_stats=(r"cluster\.up\.upstream_cx_destroy",),  # who is first to close when the client leaves
    ),
    Scenario(
        name="upgrades_unwanted",
        title="CONNECT and WebSocket where nothing is configured, with a request behind",
        config=only([{"match": {"connect_matcher": {}}, "route": {"cluster": "up"}}, route_to("up")]),
        drive=unwanted,
        upstreams=UP,
        lines=2,
        expect=told(403, "closed", 403, "closed"),
    ),
    Scenario(
        name="upgrades_no_route",
        title="the same without a route",
        config=only([route_to("up", "/other")]),
        drive=unwanted,
        upstreams=UP,
        lines=2,
        expect=told(404, "closed", 404, "closed"),
    ),
]
