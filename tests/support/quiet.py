"""What must hold of a running proxy once everybody has left: nothing counted as active, no mistake of ours caught."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.process import ProxyProcess

ACTIVE = (
    "downstream_cx_active",
    "downstream_cx_http1_active",
    "downstream_cx_http2_active",
    "downstream_rq_active",
    "upstream_rq_active",
    "streams_active",
    "upstream_rq_pending_active",
)


def active(proxy: ProxyProcess) -> dict[str, int]:
    """The gauges of things under way that are not zero; the admin's own left out."""
    return {
        name: value
        for name, value in proxy.stats().items()
        if value and name.rpartition(".")[2] in ACTIVE and ".admin." not in name
    }


def assert_quiet(proxy: ProxyProcess, timeout_s: float = 5.0) -> None:
    """Wait until nothing is under way any more. Raises AssertionError; also when a bug of ours was caught."""
    deadline = time.monotonic() + timeout_s
    while left := active(proxy):
        assert time.monotonic() < deadline, f"still active: {left}"
        time.sleep(0.02)
    breakers = {
        name: value
        for name, value in proxy.stats().items()
        if name.endswith("_open") and value and not name.endswith(".cx_open")
    }
    assert not breakers, breakers
    assert proxy.stats()["server.envoy_bug_failures"] == 0
    log = proxy.output()
    assert "bug failure" not in log and "Traceback" not in log, log[-4000:]


def settled(moved: Callable[[], int], quiet_s: float = 0.7, timeout_s: float = 20.0) -> int:
    """Wait until what is counted has not moved for so long; the count. Raises AssertionError when it never stops."""
    last, since = moved(), time.monotonic()
    deadline = since + timeout_s
    while time.monotonic() - since < quiet_s:
        assert time.monotonic() < deadline, "it never stops"
        time.sleep(0.05)
        now = moved()
        if now != last:
            last, since = now, time.monotonic()
    return last


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no VmRSS of {pid}")


def cpu_s(pid: int) -> float:
    """User and system time a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100.0
