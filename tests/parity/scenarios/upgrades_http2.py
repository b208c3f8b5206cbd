"""WebSocket and CONNECT where one side or both speak HTTP/2: extended CONNECT (RFC 8441) and plain."""

from __future__ import annotations

import time

from tests.parity.scenarios.http2 import http2_cluster
from tests.parity.scenarios.upgrades import ALL, GRANTED, asks, by_path, connects, tunnel
from tests.support.client import Client
from tests.support.config import Config, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.h2_upstream import H2Reply, H2Request, ok
from tests.support.parity.scenario import Http2, Scenario, World
from tests.support.upstream import Close, Request, Script, Send, Steps, Tunnel, Wait

SETTLE_S = 0.3
HOST_ENDS = "c.eof:1"


def first(request: Request) -> Steps:
    """What the HTTP/1 host says: as in the other scenarios, below /h1."""
    if request.path == "/h1/end":
        return [GRANTED, Send(b"last words"), Wait(0.05), Close()]
    return [GRANTED, Tunnel()] if request.path == "/h1/echo" else by_path(request)


def second(request: H2Request, reply: H2Reply) -> None:
    """What the HTTP/2 host says to CONNECT."""
    path = request.path
    if path == "/h2/404":
        reply.answer(b"hello", 404)
    elif path == "/h2/reset":
        reply.reset(7)
    elif path == "/h2/late":
        reply.headers(200, [("x-host", "2")])
        reply.data(b"and so it ends", end=True)
    else:
        reply.headers(200, [("x-host", "2")])


def config(world: World) -> Config:
    to_connect = {"name": ":authority", "string_match": {"prefix": "two"}}
    routes = [
        {"match": {"connect_matcher": {}, "headers": [to_connect]}, "route": {"cluster": "two"}},
        {"match": {"connect_matcher": {}}, "route": {"cluster": "one"}},
        route_to("one", "/h1"),
        route_to("one", "/404"),
        route_to("one", "/200"),
        route_to("two", "/h2"),
    ]
    hcm = {"upgrade_configs": ALL, "http2_protocol_options": {"allow_connect": True}}
    options = {"http2_protocol_options": {"allow_connect": True}}
    two = http2_cluster("two", world.upstreams["two"].port, explicit_http_config=options)
    return world.bootstrap([virtual_host(routes)], hcm=hcm, clusters=[two])


def extended(
    client: H2Client, path: str, protocol: str = "websocket", *fields: tuple[str, str], end: bool = False
) -> int:
    head = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path)]
    return client.send_head([*head, (":authority", "example.com"), *fields], end=end)


def plain(client: H2Client, authority: str) -> int:
    return client.send_head([(":method", "CONNECT"), (":authority", authority)], end=False)


def settle(world: World, client: H2Client, stream: int, wanted: int = 0, ends: bool = False) -> None:
    """Write down what a stream shows once it has shown ``wanted`` bytes (and its end: ``ends``) and nothing more comes."""
    response = client.streams[stream]
    deadline = time.monotonic() + 5
    while response.reset < 0 and not (
        response.status and len(response.body) >= wanted and (response.ended or not ends)
    ):
        assert client.pump(deadline), (response, client.closed)
    quiet = time.monotonic() + SETTLE_S
    while client.pump(quiet):
        pass
    world.said.append(response.as_message())


def talk(
    world: World, path: str, *messages: bytes, end: bool = False, reset: bool = False, ends: bool = False
) -> None:
    """end: the client's, behind the last message; ends: the host says all it has to say, and its end, at once"""
    with H2Client(world.front) as client:
        stream = extended(client, path)
        settle(world, client, stream, ends=ends)
        size = 0
        for at, message in enumerate(messages):
            is_last = end and at == len(messages) - 1
            client.data(stream, message, end=is_last)
            size += len(message)
            settle(world, client, stream, size, ends=is_last)
        if reset:
            client.reset(stream)


def from_http2(world: World) -> None:
    for host in ("/h1", "/h2"):
        talk(world, f"{host}/echo", b"one", b"two")
        talk(world, f"{host}/echo", b"one", reset=True)
    talk(world, "/h2/echo", b"one", end=True)
    talk(world, "/404", ends=True)
    talk(world, "/200", ends=True)
    talk(world, "/h1/end", ends=True)
    with H2Client(world.front) as client:
        stream = extended(client, "/h1/echo", "foo", ("x-named", "1"))
        client.data(stream, b"EARLY")
        settle(world, client, stream, 5)


def http2_host_ends(world: World) -> None:
    for path in ("/h2/404", "/h2/late", "/h2/reset"):
        talk(world, path, ends=True)


def to_http2(world: World) -> None:
    tunnel(world, asks("/h2/echo", "X-Named: 1", connection="upgrade, x-named"), b"one", b"two")
    tunnel(world, asks("/h2/echo"), b"two", early=b"EARLY")
    tunnel(world, connects("two:1"), b"one", early=b"EARLY")
    with Client(world.front) as client:
        head = asks("/h2/404")
        world.sent += head
        client.send(head)
        world.listen(client)


def connect_over_http2(world: World) -> None:
    for authority in ("two:1", "one:1", "c.403:1"):
        with H2Client(world.front) as client:
            stream = plain(client, authority)
            settle(world, client, stream, ends=authority == "c.403:1")
            if authority != "c.403:1":
                client.data(stream, b"one")
                settle(world, client, stream, 3)
    with H2Client(world.front) as client:
        stream = plain(client, "two:2")
        client.data(stream, b"EARLY")
        settle(world, client, stream, 5)
        client.data(stream, b"!", end=True)
        settle(world, client, stream, 6, ends=True)


HOSTS: dict[str, Script | Http2] = {"one": first, "two": Http2(ok, second)}

SCENARIOS: list[Scenario] = [
    Scenario(
        name="upgrades_from_http2",
        title="extended CONNECT to both kinds of hosts: echoes, resets, ends, refusals, early bytes",
        config=config,
        drive=from_http2,
        upstreams=HOSTS,
        lines=9,
    ),
    Scenario(
        name="upgrades_http2_host",
        title="HTTP/2 hosts that refuse an extended CONNECT, end it, reset it",
        config=config,
        drive=http2_host_ends,
        upstreams=HOSTS,
        lines=3,
    ),
    Scenario(
        name="upgrades_to_http2",
        title="WebSocket and CONNECT over HTTP/1.1 to HTTP/2 hosts",
        config=config,
        drive=to_http2,
        upstreams=HOSTS,
        lines=4,
    ),
    Scenario(
        name="connect_over_http2",
        title="CONNECT over HTTP/2 to both kinds of hosts",
        config=config,
        drive=connect_over_http2,
        upstreams=HOSTS,
        lines=4,
    ),
]
