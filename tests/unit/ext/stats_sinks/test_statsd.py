"""statsd sinks: lines, datagrams, limits, refusals. What a daemon hears: tests/parity/test_stats_sinks.py."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from proxy.api.load import BOOTSTRAP, load_text
from proxy.ext.stats_sinks import statsd
from proxy.ext.stats_sinks.statsd import TcpSender, UdpSender, packed
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Counter
from tests.support.config import Config, address, bootstrap, cluster
from tests.support.corridor import SilentResolver
from tests.support.transcript import Transcript

METRICS = "type.googleapis.com/envoy.config.metrics.v3"
TLS = {
    "name": "tls",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    },
}


def test_packing() -> None:
    lines = ["aaaa", "bb", "cc", "d" * 30, "e"]
    assert packed(lines, 0) == [line.encode() for line in lines]
    assert packed(lines, 8) == [b"aaaa\nbb", b"cc", b"d" * 30, b"e"]
    assert packed([], 8) == []


def made(typed: Config, *clusters: Config) -> Any:
    """The sinks, or what was found against them."""
    talk = Transcript()
    config = bootstrap(9901, [], list(clusters), stats_sinks=[{"name": "s", "typed_config": typed}])
    loaded = load_text(BOOTSTRAP, json.dumps(config), "sinks", is_json=True)

    parts = compile_bootstrap(loaded, Options(), talk.dispatcher, talk.store, {}, SilentResolver())
    return talk, parts.sinks, [finding.message for finding in loaded.errors.findings]


def test_lines_and_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(5)
        typed = {"@type": f"{METRICS}.StatsdSink", "address": address(heard.getsockname()[1]), "prefix": "p"}
        _, (sink,), findings = made(typed)
        assert findings == []
        sink.flush([("a.b", 2)], [("g", 0)])
        sink.record("h", [1.9, 2.0])
        assert [heard.recv(100) for _ in range(4)] == [b"p.a.b:2|c", b"p.g:0|g", b"p.h:1|ms", b"p.h:2|ms"]
        sink.close()


def test_a_large_page_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd, "AT_ONCE", 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(5)
        typed = {"@type": f"{METRICS}.StatsdSink", "address": address(heard.getsockname()[1])}
        talk, (sink,), _ = made(typed)
        sink.flush([(f"c{number}", 1) for number in range(5)], [])
        assert len(sink.sender.waiting) == 3
        talk.waits(1.0)
        assert not sink.sender.waiting
        assert [heard.recv(100) for _ in range(5)] == [b"envoy.c%d:1|c" % number for number in range(5)]
        sink.close()


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd, "MAX_WAITING", 3)
    monkeypatch.setattr(statsd, "AT_ONCE", 0)
    talk, dropped = Transcript(), Counter()
    sender = UdpSender(("127.0.0.1", 9), talk.dispatcher.timers, talk.clock, dropped)
    sender.send(["a"] * 5)
    assert (len(sender.waiting), dropped.value) == (3, 2)
    sender.close()


def test_what_waits_for_a_connection_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd, "MAX_BUFFERED", 10)
    talk, dropped = Transcript(), Counter()
    talk.parts.context.tasks = None
    sender = TcpSender(talk.parts.context, "a", dropped)
    sender.send(["12345678"])
    sender.send(["1"])
    assert (bytes(sender.buffer), dropped.value) == (b"12345678\n", 1)


@pytest.mark.parametrize(
    ("typed", "clusters", "said"),
    [
        ({"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "nobody"}, [], "unknown cluster 'nobody'"),
        (
            {"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "tls"},
            [cluster("tls", 9, transport_socket=TLS)],
            "statsd is sent in plain text",
        ),
        ({"@type": f"{METRICS}.StatsdSink", "address": address(1, "localhost")}, [], "is not an IP address"),
        (
            {"@type": f"{METRICS}.DogStatsdSink", "address": {"pipe": {"path": "/x"}}},
            [],
            "over a unix socket",
        ),
    ],
)
def test_refused(typed: Config, clusters: list[Config], said: str) -> None:
    _, _, findings = made(typed, *clusters)
    assert len(findings) == 1 and said in findings[0]
