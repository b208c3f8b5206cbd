from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from proxy.cli import main as cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def seen(monkeypatch):
    """Which verb was run with which arguments."""
    calls: list[tuple[str, list[str]]] = []

    def stub(module: str) -> SimpleNamespace:
        return SimpleNamespace(main=lambda arguments: calls.append((module, arguments)) or 7)

    monkeypatch.setattr(cli, "import_module", stub)
    return calls


@pytest.mark.parametrize(
    ("arguments", "module", "rest"),
    [
        (["run", "-c", "x"], "proxy.cli.run", ["-c", "x"]),
        (["-c", "x"], "proxy.cli.run", ["-c", "x"]),
        (["--mode", "validate", "-c", "x"], "proxy.cli.run", ["--mode", "validate", "-c", "x"]),
        (["validate", "x"], "proxy.cli.validate", ["x"]),
        (["demo", "--once"], "proxy.cli.demo", ["--once"]),
        (["explain", "GET", "http://a/"], "proxy.cli.explain", ["GET", "http://a/"]),
        (["test", "-c", "x"], "proxy.cli.test", ["-c", "x"]),
        (["diff", "a", "b"], "proxy.cli.diff", ["a", "b"]),
        (["proxy-config", "routes"], "proxy.cli.proxy_config", ["routes"]),
        (["config-dump"], "proxy.cli.config_dump", []),
        (["--version"], "proxy.cli.version", []),
        (["-V"], "proxy.cli.version", []),
    ],
)
def test_verbs_and_their_absence(seen, arguments, module, rest):
    assert cli.main(arguments) == 7
    assert seen == [(module, rest)]


def test_help_is_an_answer_and_silence_a_mistake(seen, capsys):
    assert cli.main(["--help"]) == 0
    assert cli.main([]) == 2
    out = capsys.readouterr().out
    assert all(verb in out for verb in cli.VERBS)
    assert seen == []


def test_an_unknown_verb_is_named(seen, capsys):
    assert cli.main(["walk"]) == 2
    assert "'walk' is not a verb" in capsys.readouterr().err


def test_an_interrupt_has_the_shell_s_code(monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(main=interrupted))
    assert cli.main(["run"]) == 130


def test_every_verb_s_module_has_a_main():
    for module, _ in cli.VERBS.values():
        __import__(module)
        assert callable(sys.modules[module].main)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["validate", "config/standalone.yaml"]])
def test_a_full_disk_is_told_in_one_line(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *arguments], stdout=full, stderr=subprocess.PIPE, cwd=ROOT
        )
    assert done.returncode == 1
    assert done.stderr == b"outrider: standard output: No space left on device\n"


def test_a_reader_that_has_left_is_no_mistake():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--help"], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
