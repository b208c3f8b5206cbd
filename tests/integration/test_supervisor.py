"""A worker that dies is replaced: its listener never closes, only what it had in flight is lost, counters go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.client import Client, get, request
from tests.support.process import ProxyFailed
from tests.support.upstream import Stall, reply

TOTAL = "http.front.downstream_rq_total"


def worker_of(proxy, but: int = 0, within_s: float = 20.0) -> int:
    """The pid of the serving process, another one than ``but``."""
    children = Path(f"/proc/{proxy.pid}/task/{proxy.pid}/children")
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        pids = [int(pid) for pid in children.read_text().split() if int(pid) != but]
        if pids:
            return pids[0]
        time.sleep(0.01)
    raise AssertionError("no worker")


def test_a_worker_that_dies_is_replaced_within_two_seconds(start_outrider, simple, port, upstream):
    began = time.monotonic()
    proxy = start_outrider(simple, "--supervise")
    start_s = time.monotonic() - began  # supervisor and worker: what a start takes on this machine, just now
    first = worker_of(proxy)
    for _ in range(20):
        assert get(port).status == 200
    seen = proxy.stats()[TOTAL]
    upstream.script = lambda each: [Stall()] if each.path == "/stuck" else [reply()]
    with Client(port) as stuck:
        stuck.send(request("GET", "/stuck"))
        upstream.wait_for(21)
        seen = max(seen, proxy.stats()[TOTAL])
        began = time.monotonic()
        os.kill(first, signal.SIGKILL)
        with Client(port) as next_one:  # nobody refuses it: the socket is still there
            assert next_one.send(request("GET", "/")).read().status == 200
        took = time.monotonic() - began
        assert stuck.is_closed(5)
    print(f"worker killed; the next request was answered {took:.2f} s after")
    assert worker_of(proxy, but=first) != first
    assert proxy.stats()[TOTAL] >= seen + 1
    assert took < max(2.0, 2 * start_s), (took, start_s)
    histogram = proxy.admin("/stats/prometheus")[1]
    count = next(
        line for line in histogram.splitlines() if line.startswith("envoy_http_downstream_rq_time_count")
    )
    assert float(count.rpartition(" ")[2]) >= 21


def test_counters_never_go_backwards_for_who_looks(start_outrider, simple, port):
    proxy = start_outrider(simple, "--supervise")
    seen: list[int] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                seen.append(proxy.stats(f"?filter={TOTAL}")[TOTAL])
            except (OSError, KeyError):  # the worker that answered died
                continue

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(3):
            worker = worker_of(proxy)
            for _ in range(10):
                assert get(port).status == 200
            os.kill(worker, signal.SIGKILL)
            worker_of(proxy, but=worker)
            assert get(port).status == 200
    finally:
        stop.set()
        looking.join()
    assert seen == sorted(seen)
    assert seen[-1] > 0


def test_sigterm_drains_the_worker_and_ends_both(start_outrider, simple, port):
    proxy = start_outrider(simple, "--supervise")
    worker = worker_of(proxy)
    assert get(port).status == 200
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_worker_goes_with_its_supervisor(start_outrider, simple, port):
    proxy = start_outrider(simple, "--supervise")
    worker = worker_of(proxy)
    proxy.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{worker}").exists()


def test_one_that_cannot_begin_is_not_tried_again(start_outrider, simple):
    broken = {**simple, "nonsense": 1}
    with pytest.raises(ProxyFailed, match="ended with 1"):
        start_outrider(broken, "--supervise")


def test_quitquitquit_is_the_end(start_outrider, simple, port):
    proxy = start_outrider(simple, "--supervise")
    assert proxy.admin("/quitquitquit", "POST")[0] == 200
    assert proxy.wait(10) == 0
