"""Floods over TLS, two seconds each: a well-behaved client stays served, memory stays bounded, who floods is cut off.

The goals are those of the HTTP/2 floods; the figures are printed (``pytest -s``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from proxy.network.openssl import reach
from tests.integration.test_http2_attacks import GROWTH, MIB, P99_S, resident
from tests.integration.test_tls import SERVER, Connection, client_context, downstream_tls, get, secured
from tests.support.config import bootstrap, http_listener, virtual_host
from tests.support.outrider import ROOT, Outrider
from tests.support.ports import free_port
from tests.support.tls_attacks import FLOODS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told which cipher to offer"),
]

SECONDS = 2.0
#: data, if in very small pieces: served to its end
PATIENT = {"empty-sprinkled-1.2", "empty-sprinkled-1.3", "one-byte"}
#: OpenSSL takes any number of them
OURS = {"key-update", "key-update-asked", "key-update-data", "key-update-asked-data", "renegotiate"}


@pytest.fixture(scope="module")
def proxy() -> Iterator[tuple[int, Outrider]]:
    front = free_port()
    ok = {"match": {"path": "/ok"}, "direct_response": {"status": 200, "body": {"inline_string": "fine"}}}
    listener = secured(http_listener(front, [virtual_host([ok])]), downstream_tls(SERVER))
    with Outrider(bootstrap(free_port(), [listener], [])) as running:
        yield front, running


def measure(front: int, pid: int, until: subprocess.Popen[bytes]) -> tuple[list[float], int]:
    """Seconds of each good request while the flood runs, and the peak of memory."""
    took: list[float] = []
    peak = 0
    connection = Connection(front, client_context())
    while until.poll() is None or not took:
        began = time.monotonic()
        assert get(connection, "/ok") == (200, b"fine")
        took.append(time.monotonic() - began)
        peak = max(peak, resident(pid))
        time.sleep(0.01)
    connection.close()
    return sorted(took), peak


@pytest.mark.parametrize("name", FLOODS)
def test_flood(proxy: tuple[int, Outrider], name: str) -> None:
    front, running = proxy
    before = resident(running.pid)
    scope = f"listener.127.0.0.1_{front}.ssl"
    cut_off = running.stats().get(f"{scope}.records_without_data", 0)
    connections = 2 if name in PATIENT else 4
    command = [sys.executable, "-m", "tests.support.tls_attacks", str(front), name, str(SECONDS)]
    with subprocess.Popen([*command, str(connections)], stdout=subprocess.PIPE, cwd=ROOT) as flood:
        assert flood.stdout is not None
        assert flood.stdout.readline() == b"ready\n"
        took, peak = measure(front, running.pid, flood)
        said = json.loads(flood.stdout.read())
    stats = running.stats()
    p99 = took[int(len(took) * 0.99)]
    print(
        f"\n{name:26} ended {said['ended_s']!s:.6} s, {said['sent']:>10,} B; MiB {before / MIB:.0f} peak {peak / MIB:.0f}; "
        f"good {len(took)} p50 {took[len(took) // 2] * 1000:.1f} p99 {p99 * 1000:.1f} ms"
    )
    assert p99 < P99_S
    assert peak - before < GROWTH
    if name not in PATIENT:
        assert said["ended_s"] is not None and said["ended_s"] < 1.5
    if name in OURS:
        assert stats[f"{scope}.records_without_data"] == cut_off + connections
    assert stats["server.envoy_bug_failures"] == 0
