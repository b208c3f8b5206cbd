"""A worker that dies is replaced: its listener never closes, only what it had in flight is lost, counters go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, network_filter, raw_listener
from tests.support.discovery import LISTENER, file_source, response, swap
from tests.support.messages import Closed
from tests.support.ports import free_port
from tests.support.proc_net import listened_on, sockets_of
from tests.support.process import ProxyFailed
from tests.support.tcp_peer import TcpPeer
from tests.support.upstream import Stall, reply
from tests.support.wait import until

TOTAL = "http.front.downstream_rq_total"
#: clients that come while nobody serves
CALLERS = 10


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


def fates(port: int, count: int) -> list[str]:
    """What becomes of clients that connect all at once, send a request each and then wait: "refused", "lost" or a status."""
    clients: list[Client | None] = []
    for _ in range(count):
        try:
            clients.append(Client(port, timeout_s=20.0).send(request("GET", "/")))
        except OSError:
            clients.append(None)
    found = []
    for client in clients:
        if client is None:
            found.append("refused")
            continue
        try:
            found.append(str(client.read().status))
        except (OSError, Closed):
            found.append("lost")
        client.close()
    return found


def test_a_worker_that_dies_is_replaced_within_two_seconds(
    start_outrider, simple, port, upstream, record_property
):
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
        assert stuck.is_closed(5)  # the one in flight is lost; whoever comes from now on finds no worker
        came = fates(port, CALLERS)  # nobody refuses them: the socket is still there
        took = time.monotonic() - began
    refused, lost = came.count("refused"), came.count("lost")
    record_property(
        "replaced",
        f"worker killed: {CALLERS} requests answered {took:.2f} s after (a start takes {start_s:.2f} s); "
        f"{refused} refused, {lost} lost, and the 1 in flight",
    )
    assert came == ["200"] * CALLERS
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


def test_a_worker_that_hangs_is_replaced(start_outrider, simple, port):
    """Stopped, as by an endless loop: its watchdog's kill_timeout is what it has."""
    watchdogs = {"worker_watchdog": {"miss_timeout": "0.5s", "kill_timeout": "1s"}}
    proxy = start_outrider({**simple, "watchdogs": watchdogs}, "--supervise")
    first = worker_of(proxy)
    assert get(port).status == 200
    os.kill(first, signal.SIGSTOP)
    began = time.monotonic()
    assert (
        fates(port, CALLERS).count("refused") == 0
    )  # some wait in the queue, and are served by the next one
    assert worker_of(proxy, but=first) != first
    assert get(port).status == 200
    assert time.monotonic() - began >= 1.0
    assert "the worker has been silent for 1 s: killed" in proxy.output()


def test_a_worker_that_hung_for_a_moment_counts_it(start_outrider, simple, port):
    watchdogs = {"worker_watchdog": {"miss_timeout": "0.3s", "kill_timeout": "120s"}}
    proxy = start_outrider({**simple, "watchdogs": watchdogs}, "--supervise")
    worker = worker_of(proxy)
    missed = "workers.watchdog_miss"
    before = proxy.stats()[missed]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(worker, signal.SIGCONT)
    assert proxy.wait_for_stat(missed, before + 1) > before
    assert worker_of(proxy) == worker
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0


def test_sigterm_drains_the_worker_and_ends_both(start_outrider, simple, port):
    proxy = start_outrider(simple, "--supervise")
    worker = worker_of(proxy)
    assert get(port).status == 200
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_nobody_keeps_the_socket_of_a_listener_that_has_gone(start_outrider, tmp_path):
    """Nobody would accept what connects to it. The sockets of those that came later are kept for the next worker."""
    port, second, lds = free_port(), free_port(), tmp_path / "lds.json"
    echo = raw_listener(port, network_filter("echo", "echo.v3.Echo"), name="echo")
    other = raw_listener(second, network_filter("echo", "echo.v3.Echo"), name="other")
    swap(lds, response(LISTENER, echo))
    config = bootstrap(free_port(), [], [])
    config["node"] = {"id": "n", "cluster": "c"}
    config["dynamic_resources"] = {"lds_config": file_source(lds)}
    proxy = start_outrider(config, "--supervise")
    (first,) = listened_on(port)
    swap(lds, response(LISTENER, {**echo, "tcp_keepalive": {"keepalive_time": 555}}, other))
    until(lambda: len(listened_on(port) - {first}) == len(listened_on(port)) == 1, "the new socket alone")
    until(lambda: listened_on(second), "the second listener")
    kept = listened_on(port) | listened_on(second)
    until(lambda: kept <= sockets_of(proxy.pid), "the supervisor's copies")
    worker = worker_of(proxy)
    os.kill(worker, signal.SIGKILL)
    worker_of(proxy, but=worker)
    with TcpPeer.connect(second) as peer:
        assert peer.send(b"x").read(1) == b"x"
    assert listened_on(port) | listened_on(second) == kept
    swap(lds, response(LISTENER, other))
    until(lambda: not listened_on(port), "the end of the first listener")
    assert proxy.admin("/drain_listeners", "POST")[0] == 200
    until(lambda: not listened_on(second), "the end of the second listener")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0


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


def test_an_upgrade_between_supervisors(start_outrider, simple, port, upstream, tmp_path):
    """The old worker is not replaced when it dies while it finishes, the new one is: it does not ask for its predecessor
    again. A port that only the old one had is closed, by its supervisor too."""
    path = ("--socket-path", str(tmp_path / "upgrade"), "--supervise", "--drain-time-s", "30")
    gone = free_port()
    more = json.loads(json.dumps(simple))
    listener = json.loads(json.dumps(simple["static_resources"]["listeners"][0]))
    listener["name"] = "gone"
    listener["address"]["socket_address"]["port_value"] = gone
    more["static_resources"]["listeners"].append(listener)
    old = start_outrider(more, "--restart-epoch", "0", *path)
    assert get(gone).status == 200
    upstream.script = lambda each: [Stall()] if each.path == "/stuck" else [reply()]
    with Client(port) as stuck:
        stuck.send(request("GET", "/stuck"))
        upstream.wait_for(2)
        new = start_outrider(simple, "--restart-epoch", "1", *path)
        deadline = time.monotonic() + 20
        while "a successor serves" not in old.output():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        while is_open(gone):
            assert time.monotonic() < deadline, "the old supervisor holds on to it"
            time.sleep(0.02)
        os.kill(worker_of(old), signal.SIGKILL)
        assert old.wait(10) == 128 + signal.SIGKILL
        assert "replaced" not in old.output()
        seen = new.stats()[TOTAL]
        first = worker_of(new)
        os.kill(first, signal.SIGKILL)
        assert worker_of(new, but=first) != first
        assert fates(port, CALLERS) == ["200"] * CALLERS
    assert new.stats()[TOTAL] >= seen + CALLERS
    third = start_outrider(simple, "--restart-epoch", "2", *path)
    assert new.wait(20) == 0 and get(port).status == 200
    assert third.stats()[TOTAL] >= seen + CALLERS + 1


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True
