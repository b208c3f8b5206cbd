"""``python -m benchmarks.memory``: what idle connections hold, and what many routes or clusters do, beside Envoy.

A connection that nobody uses may have said its preface and no more ("fresh"), or have been answered a request ("used").
One that speaks TLS may have said nothing ("silent"), half of its hello, or all of it.
Sizes are memory of the process's own (Private_* of smaps_rollup), which does not count what it shares with others; of
routes and clusters also RSS, which ``make bench`` compares.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

from hpack import Encoder
from hyperframe.frame import HeadersFrame, SettingsFrame

from benchmarks.machine import rss_bytes
from benchmarks.workloads import WIDE_OPEN, transport_socket
from tests.support.certs import Authority
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyProcess

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET = b"GET /hello HTTP/1.1\r\nHost: memory.bench\r\nUser-Agent: bench\r\n\r\n"
BODY = "as long as a greeting"
#: before the measured ones, so that what the first need is there
FIRST = 200

Side = Callable[[Config], ProxyProcess]
SIDES: dict[str, Side] = {
    "envoy": Envoy,
    "pure": lambda config: Outrider(config, native=False),
    "native": lambda config: Outrider(config, native=True),
}


def own_bytes(pid: int) -> int:
    """Memory that is the process's alone: what no file backs. (Pages of a library are "private" while no other process has
    them, so that a neighbour which ends would be measured.)"""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) * 1024


# --- connections ---------------------------------------------------------------------------------------------------


def answering(front: int, secured: bool) -> Config:
    """A listener that answers by itself."""
    body = {"inline_string": BODY}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": body}}
    listener = http_listener(front, [virtual_host([route])])
    if secured:
        common = {"tls_certificates": [Authority().signs("memory").config()]}
        listener["filter_chains"][0]["transport_socket"] = transport_socket(
            "Downstream", common_tls_context=common
        )
    return bootstrap(free_port(), [listener], [])


def _heard(sock: socket.socket, what: bytes) -> None:
    """Read until it has come. Raises OSError when it does not."""
    got = b""
    while what not in got:
        data = sock.recv(65536)
        if not data:
            raise OSError(f"closed after {got!r}")
        got += data


def used_http1(sock: socket.socket) -> None:
    sock.sendall(GET)
    _heard(sock, BODY.encode())


def fresh_http2(sock: socket.socket) -> None:
    """Preface and SETTINGS, theirs acknowledged and ours."""
    sock.sendall(PREFACE + SettingsFrame(settings={4: 1 << 20}).serialize())
    _heard(sock, SettingsFrame(flags=["ACK"]).serialize())
    sock.sendall(SettingsFrame(flags=["ACK"]).serialize())


def used_http2(sock: socket.socket) -> None:
    fresh_http2(sock)
    fields = {":method": "GET", ":scheme": "http", ":path": "/hello", ":authority": "memory.bench"}
    block = Encoder().encode([*fields.items(), ("user-agent", "bench")])
    sock.sendall(HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]).serialize())
    _heard(sock, BODY.encode())


def client_hello() -> bytes:
    """What a client of OpenSSL's says first."""
    context = ssl.create_default_context()
    said = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="memory.bench").do_handshake()
    return said.read()


def half_hello(sock: socket.socket) -> None:
    hello = client_hello()
    sock.sendall(hello[: len(hello) // 2])


def whole_hello(sock: socket.socket) -> None:
    sock.sendall(client_hello())
    _heard(sock, b"\x16\3\3")  # a ServerHello's record


class Kind(NamedTuple):
    """What a client does with a connection before it leaves it idle; to a listener that speaks TLS."""

    use: Callable[[socket.socket], None]
    secured: bool = False


KINDS = {
    "HTTP/1, used": Kind(used_http1),
    "HTTP/2, fresh": Kind(fresh_http2),
    "HTTP/2, used": Kind(used_http2),
    "TLS, silent": Kind(lambda _: None, secured=True),
    "TLS, half a hello": Kind(half_hello, secured=True),
    "TLS, a hello": Kind(whole_hello, secured=True),
}


def of_a_connection(side: Side, kind: Kind, count: int, first: int = FIRST) -> float:
    """Bytes for each of ``count`` idle connections."""
    front = free_port()
    with side(answering(front, kind.secured)) as proxy, ExitStack() as held:

        def connect(number: int) -> int:
            for _ in range(number):
                sock = held.enter_context(closing(socket.create_connection(("127.0.0.1", front), 10)))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                kind.use(sock)
            return settled(proxy.pid)

        before = connect(first)
        return (connect(count) - before) / count


def settled(pid: int) -> int:
    """Own memory once it has not moved for half a second."""
    last, since = own_bytes(pid), time.monotonic()
    while time.monotonic() - since < 0.5:
        time.sleep(0.05)
        now = own_bytes(pid)
        if now != last:
            last, since = now, time.monotonic()
    return last


# --- configurations ------------------------------------------------------------------------------------------------


def many_routes(count: int) -> Config:
    """As the workloads w11."""
    others = [route_to("up", prefix=f"/service-{number}/") for number in range(count - 1)]
    listener = http_listener(free_port(), [virtual_host([*others, route_to("up", prefix="/hello")])])
    return bootstrap(free_port(), [listener], [cluster("up", free_port(), **WIDE_OPEN)])


def many_clusters(count: int) -> Config:
    clusters = [cluster(f"cluster-{number}", 20_000 + number) for number in range(count)]
    listener = http_listener(free_port(), [virtual_host([route_to("cluster-0")])])
    return bootstrap(free_port(), [listener], clusters)


CONFIGS: dict[str, Callable[[int], Config]] = {"routes": many_routes, "clusters": many_clusters}


def of_a_config(side: Side, config: Config) -> tuple[int, int]:
    """(RSS, own memory) once ready."""
    with side(config) as proxy:
        own = settled(proxy.pid)
        return rss_bytes(proxy.pid), own


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__)
    parser.add_argument("--side", action="append", choices=SIDES, help="only these")
    parser.add_argument("--connections", type=int, default=2000, help="so many idle ones; 0: none")
    parser.add_argument(
        "--count", action="append", type=int, help="routes and clusters (1, 1,000 and 10,000)"
    )
    options = parser.parse_args()
    sides = options.side or list(SIDES)
    print(f"{'':<28}" + "".join(f"{name:>20}" for name in sides))
    for what, kind in KINDS.items() if options.connections else ():
        sizes = [of_a_connection(SIDES[name], kind, options.connections) for name in sides]
        print(f"{what + ', bytes':<28}" + "".join(f"{size:>20,.0f}" for size in sizes), flush=True)
    for what, config in CONFIGS.items():
        for count in options.count or [1, 1_000, 10_000]:
            measured = [of_a_config(SIDES[name], config(count)) for name in sides]
            cells = (f"{rss / 2**20:.1f} ({own / 2**20:.1f})" for rss, own in measured)
            print(
                f"{f'{count} {what}, MiB (own)':<28}" + "".join(f"{cell:>20}" for cell in cells), flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
