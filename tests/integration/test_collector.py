"""Tracing and logging when what they write to is broken: no request notices, memory stays, losses are counted."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from tests.support.client import Client, request
from tests.support.collector import Collector
from tests.support.config import bootstrap, cluster, file_log, http_listener, route_to, virtual_host, zipkin
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet, rss_bytes
from tests.support.upstream import Close, Reset, Send, Stall, Upstream

MIB = 1 << 20


def traced(port: int, upstream: int, collector: int, **more):
    hcm = {"tracing": zipkin("collector"), **more}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=hcm, traffic_direction="INBOUND")
    return bootstrap(free_port(), [listener], [cluster("up", upstream), cluster("collector", collector)])


def hammer(port: int, seconds: float, clients: int = 4) -> tuple[int, int]:
    """Requests as fast as it goes: (sent, answered 200)."""
    counts = []

    def run() -> None:
        sent = good = 0
        end = time.monotonic() + seconds
        with Client(port) as client:
            while time.monotonic() < end:
                sent += 1
                good += client.send(request("GET", "/")).read().status == 200
        counts.append((sent, good))

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 20)
    assert len(counts) == clients, "a client was stuck"
    return sum(sent for sent, _ in counts), sum(good for _, good in counts)


@pytest.mark.parametrize("how", ["refuses", "stalls", "resets", "fails", "babbles", "never accepts"])
def test_a_dead_collector(start_outrider, port, upstream, how):
    scripts = {
        "stalls": [Stall()],
        "resets": [Reset()],
        "fails": [Send(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")],
        "babbles": [Send(b"what?\r\n" * 100), Close()],
    }
    with (
        Upstream(scripts.get(how, [Stall()])) as collector,
        socket.create_server(("127.0.0.1", 0), backlog=1) as full,
    ):
        where = {"refuses": free_port(), "never accepts": full.getsockname()[1]}.get(how, collector.port)
        proxy = start_outrider(traced(port, upstream.port, where))
        hammer(port, 0.3)
        before = rss_bytes(proxy.pid)
        sent, good = hammer(port, 2.0)
        assert (good, sent) == (sent, sent)
        assert sent > 300, f"only {sent} requests in 2 s"
        assert rss_bytes(proxy.pid) - before < 16 * MIB
        stats = proxy.stats()
        lost = stats["tracing.zipkin.reports_dropped"] + stats["tracing.zipkin.reports_failed"]
        if how in ("refuses", "resets", "fails", "babbles"):
            assert lost > 0
        assert stats["cluster.collector.upstream_rq_active"] <= 1024
    if how not in ("stalls", "never accepts"):
        assert_quiet(proxy)


def test_a_collector_that_comes_back(start_outrider, port, upstream):
    where = free_port()
    proxy = start_outrider(traced(port, upstream.port, where))
    sent, good = hammer(port, 0.5)
    assert sent == good
    with Collector(port=where) as collector:
        hammer(port, 0.3)
        assert collector.wait_for_spans(20)
        assert not collector.refused
    assert_quiet(proxy)


def test_every_span_arrives_at_a_collector_that_lives(start_outrider, port, upstream):
    with Collector() as collector:
        proxy = start_outrider(traced(port, upstream.port, collector.port))
        sent, good = hammer(port, 1.0)
        assert sent == good
        proxy.stop()  # flushes the last ones
        stats_lost = sent - len(collector.spans)
        assert stats_lost == 0, f"{stats_lost} of {sent} spans are missing"
        assert not collector.refused


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk(start_outrider, port, upstream):
    hcm = {"access_log": [file_log("/dev/full", text="%REQ(:PATH)% %RESPONSE_CODE%\n")]}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=hcm)
    proxy = start_outrider(bootstrap(free_port(), [listener], [cluster("up", upstream.port)]))
    hammer(port, 0.3)
    before = rss_bytes(proxy.pid)
    sent, good = hammer(port, 2.0)
    assert (good, sent > 300) == (sent, True)
    assert rss_bytes(proxy.pid) - before < 8 * MIB
    assert proxy.stats()["filesystem.write_failed"] > 0
    assert len(proxy.output()) < 100_000, "it complains once in a while, not once per request"
    assert_quiet(proxy)
