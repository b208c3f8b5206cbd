"""docs/python-filters.md is true: its ten lines run, in memory, and so does its test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "python-filters.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    found = re.search(rf"<!-- ten lines: {re.escape(name)} -->\n```\w+\n(.*?)```", DOC, re.DOTALL)
    assert found is not None, name
    return found[1]


def write(folder: Path, per_route: dict[str, object] | None = None) -> Path:
    for name in ("filters/greeting.py", "test_greeting.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(block(name))
    one = {**route_to("up"), "typed_per_filter_config": per_route or {}}
    listener = http_listener(10000, [virtual_host([one])], hcm=yaml.safe_load(block("http_filters")))
    file = folder / "envoy.json"
    file.write_text(json.dumps(bootstrap(9901, [listener], [cluster("up", 9)])))
    return file


def explain(file: Path) -> str:
    argv = [
        sys.executable,
        "-m",
        "proxy",
        "explain",
        "-c",
        str(file),
        "-o",
        "json",
        "GET",
        "http://example.com/",
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_the_ten_lines_run_and_explain_shows_them(tmp_path: Path) -> None:
    assert len(block("filters/greeting.py").strip().splitlines()) <= 10
    said = explain(write(tmp_path))
    assert "x-greeting" in said and "good morning" in said


def test_a_route_has_its_own(tmp_path: Path) -> None:
    [own] = re.findall(r"```yaml\n(typed_per_filter_config:.*?)```", DOC, re.DOTALL)
    said = explain(write(tmp_path, yaml.safe_load(own)["typed_per_filter_config"]))
    assert "good evening" in said and "good morning" not in said


def test_its_test_passes(tmp_path: Path) -> None:
    write(tmp_path)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_greeting.py"]
    done = subprocess.run(
        argv, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout
