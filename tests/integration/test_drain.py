"""The end: SIGTERM finishes what runs, lets go of what idles, and is bounded; a second signal does not wait."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.support.client import Client, get, request
from tests.support.config import bootstrap, cluster, file_log, http_listener, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.messages import Closed
from tests.support.outrider import Outrider, command
from tests.support.ports import free_port
from tests.support.upstream import Hold, Send, Stall, reply


def outrider(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A verb, to its end."""
    argv, environment = command(native=False)
    return subprocess.run(
        [*argv, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=30
    )


RECEIVED = "http.front.downstream_cx_rx_bytes_total"


def ends_within(proxy, seconds: float) -> float:
    began = time.monotonic()
    assert proxy.wait(seconds) == 0
    log = proxy.output()
    assert "Traceback" not in log and "bug failure" not in log, log[-3000:]
    return time.monotonic() - began


def test_with_nobody_there_it_ends_at_once(start_outrider, simple):
    proxy = start_outrider(simple)
    proxy.signal(signal.SIGTERM)
    assert ends_within(proxy, 5) < 2


def test_idle_connections_are_closed_and_new_ones_refused(start_outrider, simple, port):
    proxy = start_outrider(simple)
    with Client(port) as idle, Client(port) as used:
        used.send(request("GET", "/")).read()
        proxy.signal(signal.SIGTERM)
        assert idle.is_closed(2) and used.is_closed(2)
        with pytest.raises((ConnectionError, Closed)):
            get(port)
    assert ends_within(proxy, 5) < 2


def test_what_runs_is_finished_and_says_close(start_outrider, simple, port, upstream):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n"
    upstream.script = lambda each: (
        [Hold(), reply(200, b"late")]
        if each.path == "/late"
        else [Send(head + b"x" * 100_000), Hold(), Send(b"x" * 200_000)]
    )
    proxy = start_outrider(simple)
    with Client(port) as late, Client(port) as begun, Client(port) as upload:
        late.send(request("GET", "/late"))
        begun.send(request("GET", "/begun"))
        upload.send(request("POST", "/late", [("Content-Length", "10")]) + b"01234")
        upstream.wait_for(2)
        proxy.wait_for_stat("http.front.downstream_rq_total", 3)
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        upload.send(b"56789")
        upstream.let_go(3)
        for client in (late, upload):
            answer = client.read()
            assert (answer.status, answer.body, answer.one("connection")) == (200, b"late", "close")
            assert client.is_closed(2)
        assert len(begun.read().body) == 300_000
        assert begun.is_closed(2)
    ends_within(proxy, 5)


def test_half_a_head_does_not_hold_the_end_up_for_long(start_outrider, simple, port):
    proxy = start_outrider(simple, "--drain-time-s", "1")
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        proxy.wait_for_stat(RECEIVED, 16)
        proxy.signal(signal.SIGTERM)
        assert ends_within(proxy, 5) < 3


def test_a_head_that_is_completed_while_draining_is_answered(start_outrider, simple, port):
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        proxy.wait_for_stat(RECEIVED, 16)
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        answer = client.send(b"Host: a\r\n\r\n").read()
        assert (answer.status, answer.one("connection")) == (200, "close")
    ends_within(proxy, 5)


def test_a_client_that_does_not_read_does_not_hold_it_up(start_outrider, simple, port, upstream):
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n"), Send(b"x" * 9_000_000)]
    proxy = start_outrider(simple, "--drain-time-s", "1")
    with Client(port) as client:
        client.send(request("GET", "/"))
        proxy.wait_for_stat("cluster.up.upstream_cx_rx_bytes_total", 100_000)
        proxy.signal(signal.SIGTERM)
        assert 0.5 < ends_within(proxy, 6) < 3


@pytest.mark.parametrize("second", [False, True], ids=["time", "signal"])
def test_what_is_cut_off_is_logged(start_outrider, port, upstream, second):
    """The drain time is over, or a second signal came: the request that still ran has its line."""
    upstream.script = [Stall()]
    hcm = {"access_log": [file_log("access.log", json={"path": "%REQ(:PATH)%", "flags": "%RESPONSE_FLAGS%"})]}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=hcm)
    config = bootstrap(free_port(), [listener], [cluster("up", upstream.port)])
    proxy = start_outrider(config, "--drain-time-s", "20" if second else "1", flush_ms=None)
    with Client(port) as client:
        client.send(request("GET", "/stuck"))
        upstream.wait_for(1)
        proxy.signal(signal.SIGTERM)
        if second:
            proxy.wait_until_draining()
            assert proxy.process.poll() is None
            proxy.signal(signal.SIGTERM)
        assert ends_within(proxy, 6) < 4
    lines = (proxy.folder / "access.log").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["/stuck"]


@contextmanager
def finished(start_outrider, simple, port, upstream):
    """A proxy whose host has a request: whatever is done to it meanwhile, it drains, answers that one and ends."""
    upstream.script = [Hold(), reply()]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("GET", "/"))
        upstream.wait_for(1)
        yield proxy
        proxy.wait_until_draining()
        upstream.let_go()
        assert client.read().status == 200
    ends_within(proxy, 5)


def test_sigint_drains_too(start_outrider, simple, port, upstream):
    with finished(start_outrider, simple, port, upstream) as proxy:
        proxy.signal(signal.SIGINT)


@pytest.mark.parametrize("arguments", [(), ("--supervise",)], ids=["alone", "supervised"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_at_the_end_do_not_change_the_exit_code(start_outrider, simple, arguments, number):
    proxy = start_outrider(simple, *arguments)
    proxy.signal(signal.SIGTERM)
    for _ in range(1000):
        if proxy.process.poll() is not None:
            break
        proxy.signal(number)
        time.sleep(0.001)  # faster ones leave it no time to end
    ends_within(proxy, 5)


def test_quitquitquit_drains(start_outrider, simple, port, upstream):
    with finished(start_outrider, simple, port, upstream) as proxy:
        assert proxy.admin("/quitquitquit", "POST") == (200, "OK\n")


def test_a_signal_behind_quitquitquit_is_the_first_one(start_outrider, simple, port, upstream):
    """A preStop hook drains, then the kubelet sends SIGTERM: what runs is finished all the same."""
    with finished(start_outrider, simple, port, upstream) as proxy:
        assert proxy.admin("/quitquitquit", "POST") == (200, "OK\n")
        proxy.signal(signal.SIGTERM)  # that it drains is asked after the signal came: it has been taken
    assert "second signal" not in proxy.output()


def test_drain_listeners_gracefully_keeps_serving(start_outrider, simple, port):
    """Idle connections stay, as in Envoy: a request may be on its way on them."""
    proxy = start_outrider(simple)
    with Client(port) as idle:
        assert proxy.admin("/drain_listeners?graceful", "POST")[0] == 200
        assert get(port).one("connection") == "close"
        assert idle.send(request("GET", "/")).read().one("connection") == "close"
        assert idle.is_closed(2)
    for _ in range(3):
        assert get(port).one("connection") == "close"
    assert proxy.admin("/ready") == (200, "LIVE\n")
    proxy.signal(signal.SIGTERM)
    assert ends_within(proxy, 5) < 2


def test_a_graceful_drain_ends_with_the_drain_time(start_outrider, simple, port):
    proxy = start_outrider(simple, "--drain-time-s", "0.5")
    proxy.admin("/drain_listeners?graceful", "POST")
    proxy.wait_for_stat("listener_manager.listener_stopped", 1)
    with pytest.raises(ConnectionError):
        get(port)
    assert proxy.admin("/ready") == (200, "LIVE\n")


@pytest.mark.parametrize(("query", "closes"), [("graceful&skip_exit", "close"), ("skip_exit", None)])
def test_skip_exit_keeps_the_listeners(start_outrider, simple, port, query, closes):
    proxy = start_outrider(simple, "--drain-time-s", "0.2")
    assert proxy.admin(f"/drain_listeners?{query}", "POST") == (200, "OK\n")
    flushed = proxy.stats()["server.uptime"]
    end = time.monotonic() + 0.5
    while time.monotonic() < end:  # longer than the drain time: it would have been the end
        assert get(port).one("connection") == closes
    assert flushed >= 0 and proxy.stats()["listener_manager.listener_stopped"] == 0


def test_only_inbound_listeners_are_drained(start_outrider, port, upstream):
    outbound = free_port()
    listeners = [
        http_listener(number, [virtual_host([route_to("up")])], stat_prefix=way, traffic_direction=way)
        for number, way in ((port, "INBOUND"), (outbound, "OUTBOUND"))
    ]
    proxy = start_outrider(bootstrap(free_port(), listeners, [cluster("up", upstream.port)]))
    proxy.admin("/drain_listeners?inboundonly", "POST")
    with pytest.raises(ConnectionError):
        get(port)
    assert get(outbound).status == 200


def test_listeners_accept_for_a_while_after_sigterm(start_outrider, simple, port):
    """Whoever balances has not heard yet; /ready says it."""
    proxy = start_outrider(simple, "--drain-listen-s", "3")
    with Client(port) as kept:
        kept.send(request("GET", "/")).read()
        began = time.monotonic()
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        assert proxy.admin("/ready") == (503, "DRAINING\n")
        assert get(port).one("connection") == "close"
        assert kept.send(request("GET", "/")).read().one("connection") == "close"
    ends_within(proxy, 10)
    assert time.monotonic() - began > 3.0


def test_an_http2_connection_that_comes_while_draining_is_served(start_outrider, simple, port):
    """Its preface alone does not end it: GOAWAY comes with its first response."""
    proxy = start_outrider(simple, "--drain-listen-s", "20")
    proxy.signal(signal.SIGTERM)
    proxy.wait_until_draining()
    with H2Client(port) as late:
        assert late.wait_until(lambda: late.settings)
        assert late.get().status == 200
        assert late.wait_until(lambda: late.goaways)
    proxy.signal(signal.SIGTERM)
    assert ends_within(proxy, 5) < 2


def test_a_hook_asks_without_a_shell(start_outrider, simple, port):
    proxy = start_outrider(simple)
    at = ("--at", f"127.0.0.1:{proxy.admin_port}")
    done = outrider("request", "POST", "/drain_listeners?graceful&skip_exit", *at)
    assert (done.returncode, done.stdout) == (0, "OK\n")
    assert get(port).one("connection") == "close"
    assert outrider("request", "POST", "/healthcheck/fail", *at).returncode == 0
    unready = outrider("request", "GET", "/ready", *at)
    assert (unready.returncode, unready.stdout) == (1, "DRAINING\n") and "503" in unready.stderr
    assert outrider("request", "POST", "/healthcheck/ok", *at).returncode == 0
    assert outrider("request", "GET", "/ready", *at).returncode == 0
    assert outrider("request", "GET", "/ready", "--at", f"127.0.0.1:{free_port()}").returncode == 1
    assert outrider("request", "GET", "ready", *at).returncode == 2


def test_it_stays_until_nobody_is_connected(start_outrider, simple, port):
    proxy = start_outrider(simple, "--exit-on-zero-active-connections")
    with Client(port) as kept:
        kept.send(request("GET", "/")).read()
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        for _ in range(3):
            assert get(port).one("connection") == "close"
        assert proxy.process.poll() is None
        assert kept.send(request("GET", "/")).read().one("connection") == "close"
    assert ends_within(proxy, 5) < 2


class Early(Outrider):
    """Counts as started as soon as the admin interface answers anything."""

    def _is_ready(self) -> bool:
        try:
            return bool(self.admin("/ready")[0])
        except (OSError, http.client.HTTPException):
            return False


def test_a_signal_before_it_serves(port, tmp_path):
    """Names are being resolved: it does not serve yet, and still goes."""
    up = cluster("up", 1, type="STRICT_DNS")
    place = up["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    place["address"] = "never.invalid"
    config = bootstrap(free_port(), [http_listener(port, [virtual_host([route_to("up")])])], [up])
    with Early(config, folder=tmp_path) as proxy:
        proxy.signal(signal.SIGTERM)
        assert ends_within(proxy, 8) < 4
