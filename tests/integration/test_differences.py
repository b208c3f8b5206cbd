"""What docs/differences.md promises and no parity scenario can show."""

from __future__ import annotations

import re
import signal
import threading
import time

import pytest

from tests.support.client import Client, get, request
from tests.support.upstream import Hold, Wait, reply


@pytest.mark.slow
def test_half_a_request_head_is_answered_after_ten_seconds(start_outrider, simple, port):
    start_outrider(simple)
    began = time.monotonic()
    with Client(port, timeout_s=15) as client:
        answer = client.send(b"GET / HTTP/1.1\r\nHost: a\r\n").read()
    assert (answer.status, answer.body) == (408, b"request header timeout")
    assert 9 < time.monotonic() - began < 13


def test_sigterm_finishes_what_runs(start_outrider, simple, port, upstream):
    upstream.script = [Hold(), reply(200, b"finished")]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("GET", "/"))
        upstream.wait_for(1)
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        upstream.let_go()
        answer = client.read()
    assert (answer.status, answer.body) == (200, b"finished")
    assert proxy.wait(5) == 0


def test_a_second_signal_leaves_at_once(start_outrider, simple, port, upstream):
    upstream.script = [Wait(20.0), reply()]
    proxy = start_outrider(simple)
    with Client(port) as client:
        client.send(request("GET", "/"))
        upstream.wait_for(1)
        proxy.signal(signal.SIGTERM)
        proxy.wait_until_draining()
        assert proxy.process.poll() is None, "left with a request running"
        second = threading.Timer(0.0, proxy.signal, [signal.SIGTERM])
        second.start()
        began = time.monotonic()
        proxy.process.wait(5)
        proxy.exit_code = proxy.process.returncode
        assert time.monotonic() - began < 3


def test_histograms_show_a_value_at_once(start_outrider, simple, port):
    proxy = start_outrider(simple)
    assert get(port).status == 200
    page = proxy.admin("/stats/prometheus")[1]
    counts = re.findall(r"^envoy_cluster_upstream_rq_time_count\{[^}]*\} (\d+)$", page, re.MULTILINE)
    assert counts == ["1"]


def test_a_refusal_ends_with_fin(start_outrider, simple, port):
    """Before delayed_close_timeout (1 s), and with the client's side still open."""
    start_outrider(simple)
    with Client(port) as client:
        assert client.send(b"GARBAGE\r\n\r\n").read().status == 400
        assert client.is_closed(0.5)


def test_virtual_hosts_and_sizes_are_always_counted(start_outrider, simple, port):
    proxy = start_outrider(simple)
    with Client(port) as client:
        assert client.send(request("POST", "/", body=b"12345")).read().status == 200
    assert proxy.stats("?filter=vhost")["vhost.all.vcluster.other.upstream_rq_200"] == 1
    page = proxy.admin("/stats/prometheus")[1]
    sums = re.findall(
        r"^envoy_(\w+)_(?:downstream|upstream)_rq_body_size_sum\{[^}]*\} 5$", page, re.MULTILINE
    )
    assert sorted(sums) == ["cluster", "http", "vhost_vcluster"]
