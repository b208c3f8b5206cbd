"""The corridor in process, without sockets: ``python -m benchmarks.micro``. What is left is our own work.

Prints microseconds per request, the best of several rounds, for the plain path, for the mission's path (100 % traced,
JSON access log), each also with lines in every request head that were in none before it, and for plain with five
filters that look at heads. ``--profile`` prints where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks.workloads import Ports, mission, plain, routes
from proxy.http.filter import Filter
from proxy.http.stream import ActiveStream
from tests.support.corridor import REQUEST, RESPONSE, Corridor

PORTS = Ports(front=10000, admin=9901, upstream=9, collector=10)
TURN_EVERY = 64
ANEW = " with new lines"
MOST_ANEW = 5000  # more than are remembered
SPANS_ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"


class Idle(Filter):
    """Looks at heads both ways and lets them pass."""

    def decode_headers(self, stream: ActiveStream) -> None:
        return None

    def encode_headers(self, stream: ActiveStream) -> None:
        return None


def of_its_own(number: int) -> bytes:
    """A request with a path and two fields that none had before."""
    return REQUEST.replace(b"a=1", b"a=%d" % number)[:-2] + (
        b"Cookie: session=%d\r\nX-Order: order-%d\r\n\r\n" % (number, number)
    )


def requests(corridor: Corridor, count: int, anew: bool = False) -> None:
    """Requests one after the other; span posts to the collector are answered as they come, logs are flushed."""
    heads = [of_its_own(number) for number in range(MOST_ANEW)] if anew else [REQUEST]
    client, transport = corridor.client, corridor.transport
    upstreams = corridor.loop.upstreams
    traffic = upstreams[0][0]
    written = upstreams[0][1].written
    for number in range(count):
        client.data_received(heads[number % len(heads)])
        written.clear()
        traffic.data_received(RESPONSE)
        transport.written.clear()
        if number % TURN_EVERY == 0:
            corridor.turn()
            for connection, collector in upstreams[1:]:
                if collector.take():
                    connection.data_received(SPANS_ACCEPTED)


def measure(corridor: Corridor, count: int, rounds: int, anew: bool = False) -> float:
    """Microseconds per request, the best round."""
    corridor.exchange()
    requests(corridor, 200, anew)
    gc.collect()
    gc.freeze()
    best = float("inf")
    for _ in range(rounds):
        began = perf_counter()
        requests(corridor, count, anew)
        best = min(best, perf_counter() - began)
    gc.unfreeze()
    return best / count * 1e6


def cases(folder: Path) -> list[tuple[str, Callable[[], Corridor]]]:
    """What is measured, by name."""
    return [
        ("w1 plain", lambda: Corridor(plain(PORTS, folder), folder)),
        ("w1 with 5 filters", lambda: Corridor(plain(PORTS, folder), folder, [Idle() for _ in range(5)])),
        *(
            (f"w11 {count} routes", lambda count=count: Corridor(routes(count)(PORTS, folder), folder))
            for count in (10, 1000, 10_000)
        ),
        ("w2 traced, JSON log", lambda: Corridor(mission(PORTS, folder), folder)),
        ("w1" + ANEW, lambda: Corridor(plain(PORTS, folder), folder)),
        ("w2" + ANEW, lambda: Corridor(mission(PORTS, folder), folder)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.micro", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outrider-micro-") as folder:
        for name, make in cases(Path(folder)):
            if options.only not in name:
                continue
            corridor = make()
            anew = name.endswith(ANEW)
            print(f"{name:22} {measure(corridor, options.count, options.rounds, anew):6.2f} us a request")
            if options.profile:
                profile = cProfile.Profile()
                profile.runcall(requests, corridor, options.count, anew)
                pstats.Stats(profile).sort_stats("tottime").print_stats(30)
            corridor.check()


if __name__ == "__main__":
    main()
