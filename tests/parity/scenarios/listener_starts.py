"""How connections begin: hellos and request lines of every shape, told apart by tls_inspector and http_inspector.

What is compared is a listener's log: which chain took the connection, for which name.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.client import Client
from tests.support.config import TYPES, Config, address, bootstrap, file_log, network_filter
from tests.support.messages import Closed
from tests.support.parity.scenario import SEPARATOR, Scenario, World

LOGGED = ("FILTER_CHAIN_NAME", "REQUESTED_SERVER_NAME", "RESPONSE_FLAGS", "CONNECTION_TERMINATION_DETAILS")


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def names(*found: bytes, kind: int = 0) -> bytes:
    listed = b"".join(bytes((kind,)) + len(name).to_bytes(2, "big") + name for name in found)
    return extension(0, len(listed).to_bytes(2, "big") + listed)


def hello(
    extensions: bytes,
    session: bytes = b"",
    suites: bytes = b"\x13\x01\xc0\x2f",
    more: bytes = b"",
    record: int = 16384,
    version: bytes = b"\3\1",
    declared: int = 0,
) -> bytes:
    """more: bytes behind the extensions; record: bytes of each; declared: its length, as it says"""
    body = b"\3\3" + bytes(32)
    for width, part in (
        (1, session),
        (2, suites),
        (1, b"\0"),
        (2, extensions + extension(43, b"\4\3\4\3\3")),
    ):
        body += len(part).to_bytes(width, "big") + part
    body += more
    message = b"\1" + (declared or len(body)).to_bytes(3, "big") + body
    parts = [message[at : at + record] for at in range(0, len(message), record)]
    return b"".join(b"\x16" + version + len(part).to_bytes(2, "big") + part for part in parts)


B = names(b"b.example")
HELLOS = (
    hello(B),
    hello(b""),
    hello(names(b"B.EXAMPLE")),
    hello(names(b"b.example.")),
    hello(names(b"x.y.w.example")),
    hello(names(b"w.example")),
    hello(names(b"b example")),
    hello(names(b"b.ex\xe9mple")),
    hello(extension(0x0A0A, b"") + B + extension(0xFAFA, b"\0"), suites=b"\x0a\x0a\x13\x01"),
    hello(B, record=40),
    hello(B, version=b"\3\3"),
    hello(B, version=b"\2\0"),
    hello(B + extension(16, b"\0\3\2h2")),
    hello(B + extension(16, b"\0\5\3h2")),
    hello(B + extension(21, bytes(8000))),
    hello(B + B),
    hello(names(b"b.example", b"a.example")),
    hello(names(b"b.example", kind=1)),
    hello(names(b"")),
    hello(names(b"b" * 256)),
    hello(names(b"b.example\0.a.example")),
    hello(extension(0, b"\0\x20b")),
    hello(B + b"\0"),
    hello(B, session=bytes(33)),
    hello(B, suites=b""),
    hello(B, suites=b"\x13"),
    hello(B, declared=70000),
    hello(B, declared=40),
    hello(B + extension(21, bytes(20000))),
    b"\x15\3\1\0\2\2\x28 and more",
)
LINES = (
    *(
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"GET / HTTP/1.2\r\n",
        b"GET /\r\n",
        b"GET\r\n",
        b"GET / x\r\n",
    ),
    *(b"QUERY / HTTP/1.1\r\n", b"own / HTTP/1.1\n", b"F@ / HTTP/1.1\r\n", b" GET / HTTP/1.1\r\n"),
    *(b"GET  / HTTP/1.1\r\n", b"GET\t/ HTTP/1.1\r\n", b"GET / HTTP/1.1 x\r\n", b"GET / RTSP/1.0\r\n"),
    *(
        b"get / http/1.1\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"HELO a.example\r\n",
        b"SSH-2.0-x\r\n",
        b"\0\0\0\0\0\0",
    ),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", b"*1\r\n$4\r\nPING\r\n"),
)


def chain(name: str, **match: object) -> Config:
    answer = network_filter(
        "direct_response", "direct_response.v3.Config", response={"inline_string": f"<{name}>"}
    )
    return {"name": name, "filters": [answer], **({"filter_chain_match": match} if match else {})}


def config(world: World) -> Config:
    inspectors = [
        {
            "name": f"envoy.filters.listener.{name}",
            "typed_config": {"@type": f"{TYPES}.filters.listener.{name}.v3.{message}"},
        }
        for name, message in (("tls_inspector", "TlsInspector"), ("http_inspector", "HttpInspector"))
    ]
    text = SEPARATOR.join(f"{each}=%{each}%" for each in LOGGED) + "\n"
    listener = {
        "name": "front",
        "address": address(world.front),
        "listener_filters": inspectors,
        "listener_filters_timeout": "0.3s",
        "access_log": [file_log(str(world.log), text)],
        "filter_chains": [
            chain("h2 in tls", transport_protocol="tls", application_protocols=["h2"]),
            chain("b", server_names=["b.example"]),
            chain("wild", server_names=["*.w.example"]),
            chain("tls", transport_protocol="tls"),
            chain("h2", application_protocols=["h2c"]),
            chain("http", application_protocols=["http/1.1"]),
            chain("http10", application_protocols=["http/1.0"]),
        ],
        "default_filter_chain": chain("default"),
    }
    return bootstrap(world.admin, [listener], [])


def begins(*starts: bytes) -> Callable[[World], None]:
    """Each on a connection of its own, logged before the next comes."""

    def drive(world: World) -> None:
        for count, start in enumerate(starts, 1):
            with Client(world.front) as client:
                client.send(start)
                try:
                    client.wire.more()
                except Closed:
                    pass  # an answer that is there may be lost to a reset, in Envoy: the log tells
            world.wait_for_lines(count)

    return drive


def chose(*wanted: str) -> Callable[[World], None]:
    """An ``expect``: these chains, in order, of the first connections."""

    def check(world: World) -> None:
        found = [line.partition("=")[2].partition(SEPARATOR)[0] for line in world.wait_for_lines(0)]
        assert tuple(found[: len(wanted)]) == wanted, found

    return check


SCENARIOS: list[Scenario] = [
    Scenario(
        "start_hellos",
        "tls_inspector: names, GREASE, records, what is malformed, what is too long",
        config,
        begins(*HELLOS),
        lines=len(HELLOS),
        expect=chose("b", "tls", "b", "tls", "wild", "tls"),
        ignore_stats=(r"downstream_cx_total$",),
    ),
    Scenario(
        "start_lines",
        "http_inspector: methods, versions, what is no HTTP",
        config,
        begins(*LINES),
        lines=len(LINES),
        expect=chose("http", "http10", "http10", "http10", "default"),
    ),
    Scenario(
        "start_silent",
        "listener_filters_timeout: a connection that ends before its chain is logged",
        config,
        begins(b"GET", b"\x16"),
        lines=2,
        expect=chose("-", "-"),
        ignore_stats=(r"downstream_cx_total$",),
    ),
]
