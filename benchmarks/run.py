"""The samples, taken in turns, and the proof that the work was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.machine import cpu_seconds, proxy_cpu, rss_bytes
from benchmarks.peers import CONNECTIONS, Drive, Echo, Load, Nginx, Server, load, load_messages, upstream
from benchmarks.workloads import Ports, Workload
from tests.support.config import Config
from tests.support.ports import free_port
from tests.support.process import ProxyProcess

#: makes a proxy from (bootstrap, folder, cpu)
Maker = Callable[[Config, Path, int], ProxyProcess]
WARM_UP_S = 1.0
SETTLE_S = 12.0
#: share of spans that may be missing at the collector
LOST = 0.01


@dataclass(slots=True)
class Sample:
    """cpu_us: per answered request; rss_mib at its end."""

    cpu_us: float
    per_second: float
    p99_ms: float
    rss_mib: float


@dataclass(slots=True)
class Side:
    """One proxy under one workload."""

    name: str
    proxy: ProxyProcess
    ports: Ports
    folder: Path
    upstream: Nginx | Server | Echo
    collector: Server | None
    drive: Drive
    messages: bool = False
    rss_idle_mib: float = 0.0
    requests: int = 0
    runs: int = 0
    bad: int = 0
    samples: list[Sample] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    facts: dict[str, int] = field(default_factory=dict)

    def load(self, seconds: float) -> Load:
        """Send load and keep account of it."""
        if self.messages:
            done = load_messages(self.ports.front, seconds)
        else:
            done = load(self.ports.front, seconds, self.drive, self.folder)
        self.requests += done.requests
        self.runs += 1
        self.bad += done.bad + done.errors
        return done

    def sample(self, seconds: float) -> None:
        """One measured run."""
        before = cpu_seconds(self.proxy.pid)
        done = self.load(seconds)
        spent = cpu_seconds(self.proxy.pid) - before
        self.samples.append(
            Sample(
                cpu_us=spent * 1e6 / max(1, done.requests),
                per_second=done.per_second,
                p99_ms=done.p99_ms,
                rss_mib=rss_bytes(self.proxy.pid) / 2**20,
            )
        )

    def median(self, what: str) -> float:
        """The median over the samples of "cpu_us", "per_second", "p99_ms" or "rss_mib"."""
        return float(median(getattr(sample, what) for sample in self.samples))


def run(
    workload: Workload, makers: Sequence[tuple[str, Maker]], seconds: float, rounds: int, folder: Path
) -> list[Side]:
    """All sides under one workload; samples alternate, and who goes first alternates too."""
    with ExitStack() as stack:
        sides = [
            _start(stack, workload, name, maker, folder / f"{workload.name}-{name}") for name, maker in makers
        ]
        time.sleep(1.0)
        for side in sides:
            side.rss_idle_mib = rss_bytes(side.proxy.pid) / 2**20
        for side in sides:
            side.load(WARM_UP_S)
        for turn in range(rounds):
            for side in sides if turn % 2 == 0 else reversed(sides):
                side.sample(seconds)
        for side in sides:
            _check(workload, side)
        return sides


def _start(stack: ExitStack, workload: Workload, name: str, maker: Maker, folder: Path) -> Side:
    folder.mkdir(parents=True)
    up = Echo(folder) if workload.messages else upstream(folder)
    stack.callback(up.close)
    collector = stack.enter_context(Server(folder)) if workload.traced else None
    http2, tls = (up.http2_port, up.tls_port) if isinstance(up, Nginx) else (0, 0)
    if workload.needs_nginx and not http2:
        raise RuntimeError(f"{workload.name} needs nginx (make system-deps)")
    ports = Ports(free_port(), free_port(), up.port, collector.port if collector else 0, http2, tls)
    proxy = stack.enter_context(maker(workload.config(ports, folder), folder, proxy_cpu()))
    return Side(name, proxy, ports, folder, up, collector, workload.drive, workload.messages)


def _check(workload: Workload, side: Side) -> None:
    """What was asked for must have been done, or the figures say nothing."""
    if side.bad:
        side.problems.append(f"{side.bad} responses were not 2xx or did not come")
    if not workload.traced or side.collector is None:
        return
    most = side.requests + CONNECTIONS * side.runs  # wrk leaves with requests under way, which are logged too
    log = side.folder / "access.log"
    lines = _settle(lambda: log.read_bytes().count(b"\n") if log.exists() else 0, side.requests)
    _expect(side, "log_lines", lines, side.requests, most)
    dropped = _dropped(side)
    spans = _settle(lambda: _collected(side), lines - dropped)
    side.facts |= {"spans": spans, "spans_dropped": dropped, "posts": int(side.collector.counts()["posts"])}
    if spans < lines * (1 - LOST):
        side.problems.append(f"{spans} spans came for {lines} requests ({dropped} counted as dropped)")
    seen = side.upstream.samples()
    side.facts["trace_samples"] = len(seen)
    whole = [trace for trace, sampled in seen if len(trace) == 32 and sampled == "1"]
    if len(seen) < side.requests / 1000 or len(whole) != len(seen) or len(set(whole)) != len(whole):
        side.problems.append(
            f"trace headers upstream: {len(whole)} right, {len(set(whole))} distinct, of {len(seen)}"
        )


def _collected(side: Side) -> int:
    assert side.collector is not None
    return int(side.collector.counts()["spans"])


def _dropped(side: Side) -> int:
    """Spans the reporter says it gave up. Envoy counts reports, of five spans by default."""
    stats = side.proxy.stats("?usedonly&filter=tracing")
    return stats.get("tracing.zipkin.spans_dropped", 0)


def _expect(side: Side, name: str, count: int, least: int, most: int) -> None:
    side.facts[name] = count
    if not least <= count <= most:
        side.problems.append(f"{name}: {count}, not between {least} and {most}")


def _settle(count: Callable[[], int], enough: int) -> int:
    """The count once it is enough and rests, or when the time is over."""
    deadline = time.monotonic() + SETTLE_S
    before = -1
    while (now := count()) < enough or now != before:
        if time.monotonic() > deadline:
            return now
        before = now
        time.sleep(0.3)
    return now
