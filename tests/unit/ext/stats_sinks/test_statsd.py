"""statsd sinks: lines, datagrams, limits, refusals. What a daemon hears: tests/parity/test_stats_sinks.py."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from proxy.api.load import BOOTSTRAP, load_text
from proxy.ext.stats_sinks.statsd import NO_DATAGRAMS, packed
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
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
    assert packed(lines[:2], NO_DATAGRAMS) == [b"aaaa\n", b"bb\n"]


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


def test_lines_over_a_connection() -> None:
    typed = {"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "tls", "prefix": "p"}
    talk, (sink,), findings = made(typed, cluster("tls", 9, transport_socket=TLS))
    assert findings == []
    sink.close()
    typed = {"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "a", "prefix": "p"}
    talk, (sink,), findings = made(typed, cluster("a", 9))
    assert findings == []
    sink.sender.clusters.start()
    sink.flush([("a.b", 2)], [])
    sink.record("h", [1.9, 2.0])
    talk.loop.run()
    assert talk.upstream().got == b"p.a.b:2|c\np.h:1|ms\np.h:2|ms\n"
    sink.close()


@pytest.mark.parametrize(
    ("typed", "clusters", "said"),
    [
        ({"@type": f"{METRICS}.StatsdSink", "tcp_cluster_name": "nobody"}, [], "unknown cluster 'nobody'"),
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
