"""Requests and responses as they pass: bodies, framing, header names, order and removal."""

from __future__ import annotations

from tests.support.client import Client, request
from tests.support.config import Config, route_to, virtual_host
from tests.support.parity.scenario import Scenario, World, told
from tests.support.upstream import Request, Send, Steps, chunked, reply


def one_route(world: World) -> Config:
    return world.bootstrap([virtual_host([route_to("up")])])


def plain_get(world: World) -> None:
    world.talk(
        request("GET", "/hello?a=1&b=%20", [("User-Agent", "tester"), ("X-MiXeD", "1"), ("Accept", "*/*")])
    )


def post_with_length(world: World) -> None:
    body = bytes(range(256)) * 40
    world.talk(
        request("POST", "/upload", [("Content-Type", "application/octet-stream")], body),
        request("POST", "/empty", [("Content-Length", "0")]),
    )
    after_continue(world)


def after_continue(world: World) -> None:
    head = request("PUT", "/again", [("Expect", "100-continue"), ("Content-Length", "10")])
    with Client(world.front) as client:
        world.sent += head
        world.listen(client.send(head))
        world.listen(client.send(b"0123456789"))


def chunks(world: World) -> None:
    head = request("POST", "/chunks", [("Transfer-Encoding", "chunked"), ("X-After", "1")])
    world.talk(head + b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n", request("GET", "/chunks"))


def no_bodies(world: World) -> None:
    world.talk(
        request("HEAD", "/head"),
        request("GET", "/204"),
        request("GET", "/304"),
        request("GET", "/empty"),
        heads=(0,),
    )


def answer_without_bodies(got: Request) -> Steps:
    answers = {
        "/head": Send(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\nx-kind: head\r\n\r\n"),
        "/204": reply(204, b"", reason="No Content"),
        "/304": reply(304, b"", [("ETag", '"a"'), ("content-length", "77")], reason="Not Modified"),
        "/empty": reply(200, b""),
    }
    return [answers[got.path]]


CLIENT_HEADERS = [
    ("X-Zebra", "z"),
    ("ACCEPT", "text/html"),
    ("Connection", "keep-alive, X-Named"),
    ("X-Named", "dropped with connection"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("x-dup", "1"),
    ("X-Dup", "2"),
    ("Cookie", "a=1"),
    ("cookie", "b=2"),
    ("x-empty", ""),
    ("X-Envoy-Internal", "true"),
    ("X-Envoy-Force-Trace", "1"),
    ("x-envoy-retry-on", "5xx"),
    ("x-envoy-max-retries", "7"),
    ("x-envoy-upstream-rq-timeout-ms", "100"),
    ("x-envoy-upstream-rq-per-try-timeout-ms", "100"),
    ("x-envoy-expected-rq-timeout-ms", "5"),
    ("x-envoy-decorator-operation", "steal"),
    ("x-envoy-foo", "passes"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-For", "10.1.1.1, 10.2.2.2"),
    ("X-Forwarded-Client-Cert", "By=spiffe://x"),
    ("X-Request-Id", "my-own-id"),
    ("User-Agent", "tester/1"),
]


def header_rules(world: World) -> None:
    world.talk(
        request("GET", "/headers", CLIENT_HEADERS, host="Example.COM:8080"),
        request("GET", "http://other.example/absolute?q=1", [("TE", "gzip")]),
    )


UPSTREAM_HEADERS = [
    ("X-Up", "1"),
    ("SERVER", "nginx"),
    ("Keep-Alive", "timeout=5"),
    ("X-Envoy-Upstream-Service-Time", "999"),
    ("Set-Cookie", "a=1"),
    ("set-cookie", "b=2"),
    ("Date", "Mon, 02 Jan 2023 03:04:05 GMT"),
    ("x-envoy-thing", "passes"),
    ("Content-Type", "text/html"),
]


SCENARIOS = [
    Scenario(
        name="plain_get",
        title="a GET with a query",
        config=one_route,
        drive=plain_get,
        upstreams={"up": [reply(200, b"hello", [("Content-Type", "text/plain")])]},
        lines=1,
        expect=told(200),
    ),
    Scenario(
        name="post_with_length",
        title="bodies with a length, an empty one, Expect: 100-continue",
        config=one_route,
        drive=post_with_length,
        upstreams={"up": [reply(201, b"made", reason="Created")]},
        lines=3,
        expect=told(201, 201, 100, 201),
    ),
    Scenario(
        name="chunked",
        title="a chunked request and chunked replies",
        config=one_route,
        drive=chunks,
        upstreams={"up": [chunked([b"one", b"two" * 1000], [("Trailer", "x-end")], [("X-End", "1")])]},
        lines=2,
        expect=told(200, 200),
    ),
    Scenario(
        name="no_bodies",
        title="HEAD, 204, 304 and an empty 200",
        config=one_route,
        drive=no_bodies,
        upstreams={"up": answer_without_bodies},
        lines=4,
        expect=told(200, 204, 304, 200),
    ),
    Scenario(
        name="header_rules",
        title="header case, order, hop-by-hop and x-envoy-* removal, absolute form",
        config=one_route,
        drive=header_rules,
        upstreams={"up": [reply(200, b"ok", UPSTREAM_HEADERS, reason="Fine")]},
        lines=2,
        expect=told(200, 200),
    ),
]
