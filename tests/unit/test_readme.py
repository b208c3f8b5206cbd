"""README.md is true: its commands run, its demo output has today's shape, its filter works, its links lead somewhere.

Commands in blocks marked ``tested`` run as they stand; only ports and the file name of the reader's own bootstrap are
replaced.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.client import get
from tests.support.ports import free_port
from tests.support.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OUTRIDER = [sys.executable, "-m", "proxy"]


def block(marker: str) -> str:
    """The fenced block after the comment."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, f"no block is marked {marker!r}"
    return found[1]


CONSOLE = re.findall(r"<!-- tested -->\n```console\n(.*?)```", README, re.DOTALL)


def test_every_console_block_is_tested():
    assert len(CONSOLE) == len(re.findall(r"```console\n", README)) == 6


@contextmanager
def running(argv: list[str], folder: Path) -> Iterator[None]:
    """outrider in the background, packages in the folder installed; it must end with 0."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen([*OUTRIDER, *argv], cwd=folder, stdout=out, stderr=out, env=environment)
    try:
        yield
        assert process.poll() is None, (folder / "out").read_text()
        process.terminate()
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def fetch(url: str) -> str:
    """A page, once the server is up."""
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, f"no answer from {url}"
            time.sleep(0.05)


@pytest.mark.parametrize("text", CONSOLE, ids=lambda text: text.splitlines()[0][2:40])
def test_commands_do_what_they_say(text, tmp_path, upstream):
    ports = {"10000": str(free_port()), "9901": str(free_port()), "8080": str(upstream.port)}
    (tmp_path / "envoy.yaml").write_text(
        re.sub(r"\b(10000|9901|8080)\b", lambda m: ports[m[1]], (ROOT / "config/standalone.yaml").read_text())
    )
    (tmp_path / "config").symlink_to(ROOT / "config")
    output = ""
    with ExitStack() as stack:
        for line in text.splitlines():
            if not line.startswith("$ "):
                assert line in output.splitlines(), f"{line!r} is not printed, but {output!r}"
                continue
            argv = shlex.split(re.sub(r"\b(10000|9901|8080)\b", lambda m: ports[m[1]], line[2:]))
            if argv[0] == "make":
                output = dry_run(argv[1:])
            elif argv[0] == "curl":
                output = fetch(argv[1])
                assert output
            elif argv[:2] == ["outrider", "run"]:
                stack.enter_context(running(argv[1:], tmp_path))
                if len(text.splitlines()) == 1:
                    assert fetch(f"http://127.0.0.1:{ports['10000']}/") == "ok"
            else:
                assert argv[0] == "outrider"
                done = subprocess.run(
                    [*OUTRIDER, *argv[1:]], cwd=ROOT, capture_output=True, text=True, timeout=20
                )
                assert done.returncode == 0, done.stderr
                output = done.stdout


def dry_run(targets: list[str]) -> str:
    """What make would run; the demo's own command runs in tests/integration/test_demo.py."""
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    if targets == ["demo"]:
        assert re.search(r"python -m proxy demo\b", done.stdout)
    return done.stdout


def shape(text: str) -> list[str]:
    """A report without what differs each time: ids, numbers, bars, folder."""
    text = re.sub(r"\S*outrider-demo-\S+", "FOLDER", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\|[ #]{28}\|", "BAR", text)
    text = re.sub(r"\d+(\.\d+)?", "N", text)
    return [re.sub(r" +", " ", line) for line in text.strip().splitlines()]


def test_the_demo_s_picture_is_today_s(tmp_path):
    done = subprocess.run(
        [*OUTRIDER, "demo", "--once", "--output", "plain"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert shape(block("demo output")) == shape(done.stdout)


def test_the_filter_works_as_written(tmp_path, upstream: Upstream):
    package = tmp_path / "acme_filters"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "greeting.py").write_text(block("filter: acme_filters/greeting.py"))
    group, line = block("filter: pyproject").strip().splitlines()
    name, target = (part.strip().strip('"') for part in line.split(" = "))
    group = re.fullmatch(r'\[project\.entry-points\."(.*)"\]', group)[1]
    info = tmp_path / "acme_filters-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-filters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")

    port = free_port()
    config = (ROOT / "config/standalone.yaml").read_text()
    filters = block("filter: http_filters")
    config = re.sub(
        r"^( +)http_filters:\n(?:\1 +.*\n)+",
        lambda m: "".join(f"{m[1]}{line}\n" for line in filters.splitlines()),
        config,
        flags=re.MULTILINE,
    )
    assert "acme.filters.greeting" in config
    for was, now in (("10000", port), ("9901", free_port()), ("8080", upstream.port)):
        config = re.sub(rf"\b{was}\b", str(now), config)
    (tmp_path / "envoy.yaml").write_text(config)
    with running(["run", "-c", "envoy.yaml"], tmp_path):
        fetch(f"http://127.0.0.1:{port}/")
        assert get(port).one("x-greeting") == "good morning"


def test_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    told = re.search(r"the extras ((?:`\w+`|[^`.])+) bring", README)
    assert told is not None and re.findall(r"`(\w+)`", told[1]) == list(extras)
    dev = project["dependency-groups"]["dev"]
    assert f"outrider[{','.join(extras)}]" in dev
    names = [
        re.match(r"[\w.-]+", line)[0] for line in (*dev, *(line for each in extras.values() for line in each))
    ]
    assert len(names) == len(set(names)), "a version in two places"


PAGES = [
    "README.md",
    "SECURITY.md",
    "ARCHITECTURE.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_documented_flags_and_endpoints_exist():
    from proxy.admin.pages import ROUTES
    from proxy.cli.run import parser

    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    known = {name for action in parser()._actions for name in action.option_strings}
    known |= {"--once", "--requests", "--output", "--folder", "--at"}  # of demo and request
    assert sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - known) == []
    table = text.split("## Admin interface")[1].split("\n## ")[0]
    paths = set(re.findall(r"`(/[a-z_/]+)`", table))
    assert paths == {endpoint.path for endpoint in ROUTES} - {"/"}


def test_named_tests_and_targets_exist():
    for name in re.findall(r"`(tests/[\w/.]+)`", README):
        assert (ROOT / name).exists(), name
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert {"test", "check"} <= set(re.findall(r"`make ([\w-]+)", README))
