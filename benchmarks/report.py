"""The table, the machine-readable result, the bars."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.run import Side
from benchmarks.workloads import RSS_BAR, Workload

Results = list[tuple[Workload, list[Side]]]
MEASURES = ("cpu_us", "per_second", "p99_ms", "rss_mib")


def table(results: Results) -> str:
    """One block a workload; ratios are ours to Envoy's."""
    lines = [
        f"{'':4} {'':10} {'CPU us/req':>10} {'req/s':>8} {'p99 ms':>7} {'RSS idle':>9} {'RSS load':>9}  job"
    ]
    for workload, sides in results:
        lines.append(f"{workload.name}: {workload.title}")
        for side in sides:
            job = "; ".join(side.problems) or "done " + " ".join(f"{k}={v}" for k, v in side.facts.items())
            cpu, rate, p99, rss = (side.median(name) for name in MEASURES)
            lines.append(
                f"{'':4} {side.name:10} {cpu:10.1f} {rate:8.0f} {p99:7.2f} {side.rss_idle_mib:9.1f} {rss:9.1f}  {job}"
            )
        for side in sides[1:]:
            ratios = ratio(sides[0], side)
            lines.append(
                f"{'':4} {side.name + '/envoy':12} {ratios['cpu']:8.2f} {ratios['rate']:8.2f} {ratios['p99']:7.2f} "
                f"{ratios['rss_idle']:9.2f} {ratios['rss_load']:9.2f}"
            )
        lines.append(f"{'':4} must: CPU <= {workload.bar:.2f}, RSS idle <= {RSS_BAR} ({sides[-1].name})")
    return "\n".join(lines)


def ratio(envoy: Side, ours: Side) -> dict[str, float]:
    """Ours to Envoy's. Of CPU and rate the median of the pairs: what was measured one after the other had the same
    neighbours, so that a busy machine shows less than in a ratio of two medians."""
    pairs = list(zip(envoy.samples, ours.samples, strict=True))
    return {
        "cpu": median(one.cpu_us / base.cpu_us for base, one in pairs),
        "rate": median(one.per_second / base.per_second for base, one in pairs),
        "p99": ours.median("p99_ms") / max(0.001, envoy.median("p99_ms")),
        "rss_idle": ours.rss_idle_mib / envoy.rss_idle_mib,
        "rss_load": ours.median("rss_mib") / envoy.median("rss_mib"),
    }


def missed(results: Results) -> list[str]:
    """Every bar that the last side (native, where it was built) has not reached, every job that was not done."""
    found = []
    for workload, sides in results:
        ratios = ratio(sides[0], sides[-1])
        if ratios["cpu"] > workload.bar:
            found.append(f"{workload.name}: CPU ratio {ratios['cpu']:.2f} is above {workload.bar:.2f}")
        if ratios["rss_idle"] > RSS_BAR:
            found.append(f"{workload.name}: RSS idle ratio {ratios['rss_idle']:.2f} is above {RSS_BAR:.2f}")
        found += [f"{workload.name}: {side.name}: {problem}" for side in sides for problem in side.problems]
    return found


def write_json(path: Path, results: Results, seconds: float, rounds: int) -> None:
    """Everything measured, for machines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_dict(results, seconds, rounds), indent=2) + "\n")


def as_dict(results: Results, seconds: float, rounds: int) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "machine": {
            "platform": platform.platform(),
            "python": sys.version.split()[0],
            "cpus": os.cpu_count(),
            "load_average": os.getloadavg(),
        },
        "seconds": seconds,
        "rounds": rounds,
        "workloads": {
            workload.name: {
                "title": workload.title,
                "bars": {"cpu": workload.bar, "rss_idle": RSS_BAR},
                "ratio": {side.name: ratio(sides[0], side) for side in sides[1:]},
                "sides": {
                    side.name: {
                        **{name: side.median(name) for name in MEASURES},
                        "rss_idle_mib": side.rss_idle_mib,
                        "requests": side.requests,
                        "facts": side.facts,
                        "problems": side.problems,
                        "samples": [asdict(sample) for sample in side.samples],
                    }
                    for side in sides
                },
            }
            for workload, sides in results
        },
    }
