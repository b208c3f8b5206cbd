"""``make bench``: outrider, pure and native, beside Envoy, each with one worker, taking turns on the same CPU."""

from __future__ import annotations

import argparse
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import nginx_binary
from benchmarks.report import Results, missed, table, write_json
from benchmarks.run import Maker, run
from benchmarks.workloads import WORKLOADS, Workload
from tests.support.config import Config
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import NATIVE, Outrider
from tests.support.process import ProxyProcess

OUTPUT = Path(__file__).resolve().parents[1] / "build"


def envoy(config: Config, folder: Path, cpu: int) -> ProxyProcess:
    return Envoy(config, folder=folder, cpu=cpu, flush_ms=None)


def outrider(config: Config, folder: Path, cpu: int) -> ProxyProcess:
    return Outrider(config, folder=folder, cpu=cpu, flush_ms=None, native=False)


def native(config: Config, folder: Path, cpu: int) -> ProxyProcess:
    return Outrider(config, folder=folder, cpu=cpu, flush_ms=None, native=True)


def main() -> int:
    options = _options()
    problem = ENVOY_MISSING or ("" if shutil.which("wrk") else "wrk is not installed (make system-deps)")
    if problem:
        print(problem, file=sys.stderr)
        return 2
    if not nginx_binary():
        print("nginx is not installed (make system-deps): our own small server stands in", file=sys.stderr)
    chosen = [workload for workload in WORKLOADS if _is_chosen(workload.name, options.only)]
    ours: list[tuple[str, Maker]] = [("pure", outrider)]
    if options.self:
        ours = [("envoy-too", envoy)]
    elif NATIVE.is_dir():
        ours.append(("native", native))
    else:
        print("build/native is not there (make native): the pure build alone", file=sys.stderr)
    if options.side:
        ours = [one for one in ours if one[0] == options.side]
    results: Results = []
    with tempfile.TemporaryDirectory(prefix="outrider-bench-") as folder:
        for workload in chosen:
            sides = run(workload, [("envoy", envoy), *ours], options.seconds, options.rounds, Path(folder))
            results.append((workload, sides))
        print(table(results))
        write_json(Path(options.json), results, options.seconds, options.rounds)
        for workload in chosen if options.profile else []:
            _profile(workload, options.profile, options.seconds, Path(folder))
    problems = missed(results)
    print("\n".join(problems) or "every bar reached", f"\n{options.json}")
    return 1 if problems and getattr(options, "assert") else 0


def _is_chosen(name: str, only: list[str] | None) -> bool:
    """``w11`` stands for all of w11-*."""
    return not only or name in only or name.partition("-")[0] in only


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="w1, w11 ...; may be repeated")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a sample")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each proxy; the median counts")
    parser.add_argument("--side", choices=["pure", "native"], help="only this one of ours")
    parser.add_argument("--assert", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--json", default=str(OUTPUT / "bench.json"), help="where the result is written")
    parser.add_argument("--self", action="store_true", help="Envoy on both sides: the ratios must be near 1")
    parser.add_argument(
        "--profile",
        choices=["python", "perf"],
        help="one more run of outrider: functions by cProfile, or everything down to the kernel by perf",
    )
    return parser.parse_args()


def _profile(workload: Workload, kind: str, seconds: float, folder: Path) -> None:
    """One run of outrider alone under a profiler; prints the top of it and says where the rest is."""
    OUTPUT.mkdir(exist_ok=True)
    target = OUTPUT / f"bench-{workload.name}.{'pstats' if kind == 'python' else 'perf'}"

    def profiled(config: Config, where: Path, cpu: int) -> ProxyProcess:
        under = ["cProfile", "-o", str(target)] if kind == "python" else []
        return Outrider(config, folder=where, cpu=cpu, flush_ms=None, under=under, native=kind == "perf")

    if kind == "python":
        run(workload, [("profiled", profiled)], seconds, 1, folder)
        pstats.Stats(str(target)).sort_stats("tottime").print_stats(35)
        return

    def recorded(config: Config, where: Path, cpu: int) -> ProxyProcess:
        proxy = profiled(config, where, cpu).start()
        subprocess.Popen(
            [
                "perf",
                "record",
                "-q",
                "-F",
                "999",
                "-g",
                "-o",
                str(target),
                "-p",
                str(proxy.pid),
                "--",
                "sleep",
                str(seconds),
            ]
        )
        return proxy

    run(workload, [("profiled", recorded)], seconds + 2, 1, folder)
    time.sleep(1)
    report = [
        "perf",
        "report",
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "--percent-limit",
        "0.7",
        "-i",
        str(target),
    ]
    print(subprocess.run(report, capture_output=True, text=True, timeout=120).stdout)


if __name__ == "__main__":
    sys.exit(main())
