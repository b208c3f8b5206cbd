"""A new process takes over from the one that runs: no request lost, no counter backwards, no moment without a listener."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.support.client import Client, get, request
from tests.support.config import (
    bootstrap,
    cluster,
    http_listener,
    network_filter,
    raw_listener,
    route_to,
    virtual_host,
)
from tests.support.discovery import LISTENER, file_source, response, swap
from tests.support.load import Load
from tests.support.netns import as_user
from tests.support.outrider import command
from tests.support.ports import free_port
from tests.support.proc_net import keepalive_s, listened_on
from tests.support.process import ProxyFailed
from tests.support.tcp_peer import TcpPeer
from tests.support.upstream import Hold, Send

TOTAL = "http.front.downstream_rq_total"


@pytest.fixture
def socket_path(tmp_path) -> str:
    return str(tmp_path / "upgrade")


def generation(start, config, path: str, epoch: int, *more: str):
    return start(config, "--restart-epoch", str(epoch), "--socket-path", path, "--base-id", "7", *more)


def handed_over(old, timeout_s: float = 20.0) -> None:
    """Wait until the old one accepts no more: until then either may answer."""
    deadline = time.monotonic() + timeout_s
    while "a successor serves" not in old.output():
        assert time.monotonic() < deadline and old.process.poll() is None, old.output()
        time.sleep(0.02)


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
def test_no_request_is_lost_in_an_upgrade(start_outrider, simple, port, socket_path, http2):
    old = generation(start_outrider, simple, socket_path, 0, "--drain-time-s", "10")
    load = Load(2_000, port, http2=http2, threads=4)
    load.wait_for(300)
    new = generation(start_outrider, simple, socket_path, 1)
    seen = [0]
    while old.process.poll() is None:
        try:
            seen.append(new.stats("?filter=downstream_rq_total")[TOTAL])
        except (OSError, KeyError):  # the moment in which one admin interface ends
            continue
    assert old.wait() == 0
    load.join()
    assert load.lost == [] and load.done == 2_000
    assert seen == sorted(seen)
    assert new.wait_for_stat(TOTAL, 2_000) == 2_000
    assert new.stats()["server.hot_restart_epoch"] == 1
    assert "a successor serves" in old.output()


def test_what_runs_is_finished_by_the_old_one(start_outrider, simple, port, upstream, socket_path):
    old = generation(start_outrider, simple, socket_path, 0)
    upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nold"), Hold(), Send(b"est")]
    with Client(port) as slow, Client(port) as idle:
        slow.send(request("GET", "/"))
        upstream.wait_for(1)
        new = generation(start_outrider, simple, socket_path, 1)
        handed_over(old)
        upstream.script = [Send(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew")]
        assert get(port).body == b"new"
        assert idle.send(request("GET", "/")).read().one("connection") == "close"
        upstream.let_go()
        answer = slow.read()
        assert (answer.body, answer.one("connection")) == (b"oldest", None)  # its head had gone before
    assert old.wait(10) == 0
    histogram = json.loads(new.admin("/stats?format=json&filter=downstream_rq_time")[1])
    assert "http.front.downstream_rq_time" in json.dumps(histogram)
    assert new.wait_for_stat(TOTAL, 3) == 3


def test_what_the_first_counts_reaches_the_third(start_outrider, simple, port, upstream, socket_path):
    """Upgraded twice while the first still finishes a request: the second waits for its counts, and passes them on."""
    first = generation(start_outrider, simple, socket_path, 0, "--drain-time-s", "30")
    upstream.script = [Hold(), Send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]
    with Client(port) as slow:
        slow.send(request("GET", "/"))
        upstream.wait_for(1)
        second = generation(start_outrider, simple, socket_path, 1, "--drain-time-s", "30")
        handed_over(first)
        third = generation(start_outrider, simple, socket_path, 2)
        handed_over(second)
        assert third.stats()[TOTAL] == 1 and "http.front.downstream_rq_2xx" not in third.stats("?usedonly")
        assert first.process.poll() is None and second.process.poll() is None
        upstream.let_go()
        assert slow.read().body == b"ok"
    assert first.wait(10) == 0 and second.wait(10) == 0
    assert third.wait_for_stat("http.front.downstream_rq_2xx", 1) == third.stats()[TOTAL] == 1


def test_a_successor_that_fails_changes_nothing(start_outrider, simple, port, socket_path):
    old = generation(start_outrider, simple, socket_path, 0)
    broken = json.loads(json.dumps(simple))
    broken["static_resources"]["listeners"][0]["nonsense"] = 1
    at_other_admin = free_port()  # else the old one would answer for it
    broken["admin"]["address"]["socket_address"]["port_value"] = at_other_admin
    with pytest.raises(ProxyFailed, match="nonsense"):
        generation(start_outrider, broken, socket_path, 1)
    assert get(port).status == 200 and old.process.poll() is None
    new = generation(start_outrider, simple, socket_path, 1)
    assert old.wait(10) == 0 and get(port).status == 200
    third = generation(start_outrider, simple, socket_path, 2)
    assert new.wait(10) == 0 and get(port).status == 200
    assert third.stats()["server.hot_restart_epoch"] == 2


def test_listeners_may_come_and_go(start_outrider, upstream, socket_path):
    kept, gone, came, admin = (free_port() for _ in range(4))

    def config(*ports: int):
        listeners = [
            http_listener(each, [virtual_host([route_to("up")])], stat_prefix=f"on-{each}") for each in ports
        ]
        return bootstrap(admin, listeners, [cluster("up", upstream.port)])

    old = generation(start_outrider, config(kept, gone), socket_path, 0)
    generation(start_outrider, config(came, kept), socket_path, 1)
    assert old.wait(10) == 0
    assert get(kept).status == get(came).status == 200
    with pytest.raises(ConnectionError):
        get(gone)


def test_sockets_that_are_taken_over_get_the_options_of_their_new_listener(start_outrider, socket_path):
    """As Envoy's do in a hot restart."""
    port, admin = free_port(), free_port()

    def config(keepalive_time_s: int):
        listener = raw_listener(port, network_filter("echo", "echo.v3.Echo"))
        listener["tcp_keepalive"] = {"keepalive_time": keepalive_time_s}
        return bootstrap(admin, [listener], [])

    def asks_after_s() -> int:
        with TcpPeer.connect(port) as peer:
            assert peer.send(b"x").read(1) == b"x"
            return keepalive_s(port)

    old = generation(start_outrider, config(1100), socket_path, 0)
    assert abs(asks_after_s() - 1100) <= 15
    generation(start_outrider, config(555), socket_path, 1)
    assert old.wait(10) == 0
    assert abs(asks_after_s() - 555) <= 15


@pytest.mark.parametrize("reuse_port", [False, True])
def test_listeners_that_come_by_lds_are_taken_over_too(start_outrider, tmp_path, socket_path, reuse_port):
    """Their sockets can be had once only where the port is not reused."""
    port, lds = free_port(), tmp_path / "lds.json"
    echo = raw_listener(port, network_filter("echo", "echo.v3.Echo"), name="echo")
    swap(lds, response(LISTENER, {**echo, "enable_reuse_port": reuse_port}))
    config = bootstrap(free_port(), [], [])
    config["node"] = {"id": "n", "cluster": "c"}
    config["dynamic_resources"] = {"lds_config": file_source(lds)}
    old = generation(start_outrider, config, socket_path, 0)
    listening = listened_on(port)
    new = generation(start_outrider, config, socket_path, 1)
    assert old.wait(10) == 0
    assert listened_on(port) == listening, "the very same socket"
    with TcpPeer.connect(port) as peer:
        assert peer.send(b"x").read(1) == b"x"
    assert new.stats()["listener_manager.listener_create_failure"] == 0


def test_without_anybody_to_take_over_from(start_outrider, simple, port, socket_path):
    with pytest.raises(ProxyFailed, match="nothing can be taken over"):
        generation(start_outrider, simple, socket_path, 1)
    generation(start_outrider, simple, socket_path, 1, "--skip-hot-restart-on-no-parent")
    assert get(port).status == 200


def test_nobody_else_is_answered(start_outrider, simple, port, socket_path, tmp_path):
    """What is no question of ours, and a process of another user."""
    old = generation(start_outrider, simple, socket_path, 0)
    for data in (b"\xff\n", b"[]\n", b'{"op":"serve it"}\n', b"{" * 100_000):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(socket_path + "_7")
            try:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(10) == b""
            except OSError:
                continue
    assert get(port).status == 200 and old.process.poll() is None
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if Path(tempfile.gettempdir()) in folder.parents:
                folder.chmod(0o755)
        os.chmod(socket_path + "_7", 0o666)
        asks = (
            "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.settimeout(5)\ns.connect(sys.argv[1])\n"
            'try:\n s.sendall(b\'{"op":"take"}\\n\')\n print(len(s.recv(100)))\nexcept OSError: print(0)'
        )
        python = command(False)[0][0]
        done = subprocess.run(
            as_user([python, "-SP", "-c", asks, socket_path + "_7"]), capture_output=True, text=True
        )
        assert done.stdout == "0\n", done.stderr
        deadline = time.monotonic() + 5
        while "is not answered" not in old.output() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "a successor of user 1337 is not answered" in old.output()
    old.signal(signal.SIGTERM)
    assert old.wait(5) == 0
    assert not os.path.exists(socket_path + "_7")
