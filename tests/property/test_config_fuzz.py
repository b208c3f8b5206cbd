"""Mutated configurations and bombs: reading them ends soon, with a message or with findings, within bounds of memory.

A slice of the campaign of ``python -m tests.support.config_fuzz``, which runs 200,000 inputs.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.config_fuzz import MAX_MIB, ROOT, bombs


def run(*arguments: str) -> str:
    """The campaign in a process of its own, whose memory is nobody else's; its report."""
    command = [sys.executable, "-m", "tests.support.config_fuzz", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(120)
def test_a_slice_and_every_bomb() -> None:
    report = run("1000", "1", "7")
    assert "0 problems" in report
    counted = next(line for line in report.splitlines() if line.startswith("inputs"))
    assert int(counted.split()[1]) == 1000 + len(bombs())
    assert float(report.partition("peak ")[2].split()[0]) < MAX_MIB
    for kind in ("json refused", "yaml refused", "yaml accepted", "pb refused"):
        assert kind in report


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_more_of_it() -> None:
    assert "0 problems" in run("10000", "2", "8")
