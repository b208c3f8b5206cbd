"""``python -m benchmarks.startup``: from the command to /ready, and validating, beside Envoy, as a user has them.

What a user has is an installed package with its bytecode: so the pure build is installed into build/startup with pip
(anew each time, it takes seconds), the native one is what ``make native`` unpacked. Both run in a bare environment that
sees the packages of .venv, but not what an editable install adds to the start of every interpreter.

The sides take turns, so that a busy machine is busy for all of them; CPU is user and system time of all threads.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import site
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import yaml

from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import envoy_binary
from tests.support.outrider import NATIVE, ROOT
from tests.support.ports import free_port

FOLDER = ROOT / "build" / "startup"
VALIDATED = 2_000
DEADLINE_S = 60.0

Sample = tuple[float, float]  # CPU seconds, wall seconds
Argv = Callable[[str, str], list[str]]  # ("serve" or "validate", file) -> command
#: how validating is written on the two sides
VERBS = {
    "envoy": {"serve": [], "validate": ["--mode", "validate"]},
    "outrider": {"serve": ["run"], "validate": ["validate"]},
}


def many(count: int) -> Config:
    """A bootstrap with so many clusters of one host each, and a route to each of them."""
    clusters = [cluster(f"service-{index}.example", 10_000 + index) for index in range(count)]
    routes = [route_to(each["name"], f"/{each['name']}/") for each in clusters]
    return bootstrap(free_port(), [http_listener(free_port(), [virtual_host(routes)])], clusters)


# --- the sides -----------------------------------------------------------------------------------------------------


def interpreter(name: str, packages: Path) -> Path:
    """A Python that imports from ``packages`` and then what .venv has installed."""
    home = FOLDER / name
    venv.create(home, clear=True, with_pip=False, symlinks=True)
    library = next(home.glob("lib/python*/site-packages"))
    (library / "packages.pth").write_text("\n".join([str(packages), *site.getsitepackages()]) + "\n")
    return home / "bin" / "python"


def install_pure() -> Path:
    """The pure package as pip installs it; the folder."""
    target = FOLDER / "pure-site"
    source = FOLDER / "source"
    for old in (target, source):
        shutil.rmtree(old, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copytree(ROOT / "proxy", source / "proxy", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True)
    shutil.rmtree(source)
    return target


def sides(chosen: Iterable[str]) -> dict[str, Argv]:
    """The commands of each side that is there; says what is not."""
    result: dict[str, Argv] = {}
    envoy = envoy_binary()
    if "envoy" in chosen and envoy is not None:
        flags = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        result["envoy"] = lambda verb, file: [str(envoy), "-c", file, *VERBS["envoy"][verb], *flags]
    if "pure" in chosen:
        result["pure"] = _outrider(interpreter("pure", install_pure()))
    if "native" in chosen and NATIVE.is_dir():
        result["native"] = _outrider(interpreter("native", NATIVE))
    for name in chosen:
        if name not in result:
            print(
                f"{name} is not there ({'make setup' if name == 'envoy' else 'make native'})", file=sys.stderr
            )
    return result


def _outrider(python: Path) -> Argv:
    return lambda verb, file: [str(python), "-m", "proxy", *VERBS["outrider"][verb], "-c", file]


def _environment() -> dict[str, str]:
    """As a user has it: nothing that changes how Python finds or compiles modules."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


# --- measuring -----------------------------------------------------------------------------------------------------


def cpu_ns(pid: int) -> int:
    """What the threads of a process have run so far; finer than the ticks of stat."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def ready(argv: list[str], admin_port: int, folder: Path) -> Sample:
    """Until GET /ready says 200. Raises RuntimeError when that does not come."""
    with (folder / "output").open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=_environment()
        )
    try:
        while not _is_ready(admin_port):
            if process.poll() is not None or time.perf_counter() - began > DEADLINE_S:
                raise RuntimeError(f"{argv[0]} is not ready: {(folder / 'output').read_text()[-2000:]}")
            time.sleep(0.002)
        wall = time.perf_counter() - began
        return cpu_ns(process.pid) / 1e9, wall
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def validated(argv: list[str], folder: Path) -> Sample:
    """Until the process has ended well. Raises RuntimeError when it ends otherwise."""
    with (folder / "output").open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=_environment()
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv[0]} refuses: {(folder / 'output').read_text()[-2000:]}")
    return usage.ru_utime + usage.ru_stime, wall


def in_turns(commands: dict[str, Argv], rounds: int, once: Callable[[Argv], Sample]) -> dict[str, Sample]:
    """The medians of each side, measured in turns after a first round that does not count."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, argv in commands.items():
            sample = once(argv)
            if turn:
                samples[name].append(sample)
    return {
        name: (statistics.median(cpu for cpu, _ in taken), statistics.median(wall for _, wall in taken))
        for name, taken in samples.items()
    }


def measure(commands: dict[str, Argv], counts: list[int], rounds: int) -> None:
    """Run everything, print a line for each thing measured."""
    print(f"{'':<34}" + "".join(f"{name + ' CPU, wall s (ratio)':>34}" for name in commands))
    with tempfile.TemporaryDirectory(prefix="outrider-startup-") as name:
        folder = Path(name)
        for count in counts:
            config = many(count)
            port = config["admin"]["address"]["socket_address"]["port_value"]
            serve = partial(_ready, port=port, folder=folder, file=_write(folder / "many.json", config))
            _line(f"ready, {count} clusters", in_turns(commands, rounds, serve))
        for suffix in ("json", "yaml"):
            file = _write(folder / f"many.{suffix}", many(VALIDATED))
            validate = partial(_validated, folder=folder, file=file)
            _line(f"validate {VALIDATED} clusters, {suffix}", in_turns(commands, rounds, validate))


def _write(file: Path, config: Config) -> Path:
    is_json = file.suffix == ".json"
    file.write_text(json.dumps(config) if is_json else yaml.dump(config, Dumper=yaml.CSafeDumper))
    return file


def _ready(argv: Argv, port: int, folder: Path, file: Path) -> Sample:
    return ready(argv("serve", str(file)), port, folder)


def _validated(argv: Argv, folder: Path, file: Path) -> Sample:
    return validated(argv("validate", str(file)), folder)


def _line(what: str, medians: dict[str, Sample]) -> None:
    base = medians.get("envoy")
    cells = []
    for cpu, wall in medians.values():
        ratio = f" ({cpu / base[0]:.2f}, {wall / base[1]:.2f})" if base is not None else ""
        cells.append(f"{f'{cpu:.3f} {wall:.3f}{ratio}':>34}")
    print(f"{what:<34}" + "".join(cells), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="samples of each; the median counts")
    parser.add_argument("--side", action="append", choices=["envoy", "pure", "native"], help="only these")
    parser.add_argument("--clusters", action="append", type=int, help="ready with so many (100 and 1,000)")
    options = parser.parse_args()
    commands = sides(options.side or ["envoy", "pure", "native"])
    measure(commands, options.clusters or [100, 1_000], options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
