"""``outrider demo`` as a person runs it: one command, everything by itself, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 45.0


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process; killed with its children should the test fail."""
    argv = [sys.executable, "-m", "proxy", "demo", "--folder", str(folder), "--output", "plain", *arguments]
    process = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def children(folder: Path) -> list[tuple[int, str]]:
    """Pid and configuration of the processes that run one of this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        found += [
            (int(path.parent.name), word)
            for option, word in pairwise(words)
            if option == "-c" and Path(word).parent == folder
        ]
    return found


def read_until(process: subprocess.Popen[str], mark: str) -> str:
    """What it prints up to a line with the mark."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if mark in line:
            return "".join(lines)
    raise AssertionError(f"{mark!r} was never printed:\n{''.join(lines)}")


def json_at(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_once_shows_a_connected_trace_and_leaves_nothing(tmp_path):
    with demo(tmp_path / "d", "--once") as process:
        out = process.communicate(timeout=LIMIT_S)[0]
    assert process.returncode == 0, out
    assert re.search(r"^OK: one connected trace per request", out, re.MULTILINE), out
    assert re.search(r"^frontend SERVER GET /flaky .* 200$", out, re.MULTILINE)
    assert (
        len(re.findall(r"^   [|`]- backend SERVER GET /flaky .* (?:200|503  ERROR)$", out, re.MULTILINE)) == 2
    )
    assert re.search(r"^frontend outbound +20 +18 +1 +1 +1 ", out, re.MULTILINE)
    assert re.search(r"^backend inbound +21 +18 +1 +2 +0 ", out, re.MULTILINE)
    assert sorted(path.name for path in (tmp_path / "d").glob("*.yaml")) == ["backend.yaml", "frontend.yaml"]
    assert children(tmp_path / "d") == []


def test_two_at_once_do_not_meet(tmp_path):
    with demo(tmp_path / "a", "--once") as one, demo(tmp_path / "b", "--once") as two:
        outs = [each.communicate(timeout=LIMIT_S)[0] for each in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], "\n".join(outs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_until_interrupted(tmp_path, number):
    with demo(tmp_path / "d", "--requests", "5") as process:
        out = read_until(process, "Ctrl-C ends the demo")
        url = re.search(r"(http://\S+/api/v2)/traces", out)
        assert url is not None, out
        # oldest first: one of each of the five requests; those of the trickle may come already
        oldest = json_at(f"{url[1]}/traces?limit=1000")[: -5 - 1 : -1]
        assert sorted(map(path_of, oldest)) == ["/broken", "/checkout", "/flaky", "/missing", "/slow"]
        deadline = time.monotonic() + 10
        while len(json_at(f"{url[1]}/traces?limit=1000")) <= 5:
            assert time.monotonic() < deadline, "the trickle does not arrive"
            time.sleep(0.1)
        check_every_trace(json_at(f"{url[1]}/traces?limit=1000"))
        assert len(children(tmp_path / "d")) == 2
        process.send_signal(number)
        rest = process.communicate(timeout=LIMIT_S)[0]
    assert process.returncode == 0, rest
    assert children(tmp_path / "d") == []


def path_of(trace: list[dict[str, Any]]) -> str:
    """What the request of a trace asked for."""
    (path,) = {urlsplit(span["tags"]["http.url"]).path for span in trace}
    return path


def check_every_trace(traces: list[list[dict[str, Any]]]) -> None:
    """128-bit ids, one root, every other span's parent in the same trace, a client span between the services."""
    for spans in traces:
        ids = {span["id"] for span in spans}
        assert len(ids) == len(spans)
        assert len({span["traceId"] for span in spans}) == 1
        assert all(re.fullmatch("[0-9a-f]{32}", span["traceId"]) for span in spans)
        kinds = {(span["localEndpoint"]["serviceName"], span["kind"]) for span in spans}
        if ("backend", "SERVER") not in kinds or ("frontend", "SERVER") not in kinds:
            continue  # still on its way
        assert kinds == {("frontend", "SERVER"), ("frontend", "CLIENT"), ("backend", "SERVER")}
        assert [span["kind"] for span in spans if "parentId" not in span] == ["SERVER"]
        assert {span["parentId"] for span in spans if "parentId" in span} <= ids


def test_it_ends_cleanly_when_interrupted_while_starting(tmp_path):
    with demo(tmp_path / "d") as process:
        deadline = time.monotonic() + 20
        while not (tmp_path / "d" / "backend.yaml").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=LIMIT_S)[0]
    assert process.returncode == 0, out
    assert children(tmp_path / "d") == []


def test_a_sidecar_s_death_is_told(tmp_path):
    with demo(tmp_path / "d", "--requests", "1") as process:
        read_until(process, "Ctrl-C ends the demo")
        (pid,) = (pid for pid, words in children(tmp_path / "d") if words.endswith("backend.yaml"))
        os.kill(pid, signal.SIGKILL)
        out = process.communicate(timeout=LIMIT_S)[0]
    assert process.returncode == 1
    assert "a sidecar has ended" in out
    assert children(tmp_path / "d") == []
