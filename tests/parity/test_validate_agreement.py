"""``envoy --mode validate`` and ``outrider validate`` agree: over small configurations written by hand, and over hundreds of
mutations of bootstraps that people wrote. The table of outcomes is printed at the end of the run.

Where Envoy accepts we may refuse what is not supported, and say so; nothing else may differ.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.server.options import Options
from proxy.server.validate import validate
from tests.parity.mutations import KINDS, SHARED, UNCHANGED, mutations
from tests.parity.validate_corpus import CASES, Case
from tests.support.envoy import ENVOY_MISSING, envoy_binary

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

BY_HAND = {f"by hand, {name}": cases for name, cases in CASES.items()}
#: (Envoy, ours): what may be
AGREED = frozenset(
    {("accepts", "accepts"), ("refuses", "error"), ("refuses", "unsupported"), ("accepts", "unsupported")}
)

#: said of LDS alone: differences.md
LISTENERS_NOT_THERE = re.compile(r"dynamic_resources\.lds_config\.path.*paths must refer to an existing path")


def envoy_verdict(path: Path) -> str:
    command = [str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "--concurrency", "1"]
    done = subprocess.run(
        [*command, "-l", "off", "-c", str(path)],
        cwd=path.parent,  # access logs of relative names
        capture_output=True,
        timeout=60,
        check=False,
    )
    return "refuses" if done.returncode else "accepts"


def refused_when_run(path: Path) -> bool:
    """Whether Envoy, which in validation mode asks for no listeners (LDS), ends when it does."""
    command = [str(envoy_binary()), "--disable-hot-restart", "--concurrency", "1"]
    done = subprocess.run(
        [*command, "-l", "off", "-c", str(path)],
        cwd=path.parent,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return b"paths must refer to an existing path" in done.stderr + done.stdout and done.returncode == 1


def our_verdict(path: Path) -> tuple[str, list[str]]:
    """The outcome, and why: each finding without its place, indexes and values."""
    findings = validate(Options(config_path=str(path))).errors.findings
    if any(finding.kind == "invalid" for finding in findings):
        return "error", [str(finding) for finding in findings if finding.kind == "invalid"]
    reasons = set()
    for finding in findings:
        field = ".".join(re.sub(r"\[.*?\]", "", finding.path).split(".")[-2:])
        reasons.add(f"{field}: {finding.message[:70]}")
    return ("unsupported" if findings else "accepts"), sorted(reasons)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("group", [*BY_HAND, *KINDS])
def test_same_verdict(
    group: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    def written(at: int, case: Case) -> Path:
        """In a folder of its own: what one case makes (an access log) is not there for another."""
        path = tmp_path / str(at) / f"envoy{case.suffix}"
        path.parent.mkdir()
        path.write_bytes(case.text.encode())
        return path

    cases = BY_HAND[group] if group in BY_HAND else mutations(group)
    paths = [written(at, case) for at, case in enumerate(cases)]
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(envoy_verdict, paths))
    apart = []
    for case, path, envoy in zip(cases, paths, theirs, strict=True):
        monkeypatch.chdir(path.parent)
        ours, why = our_verdict(path)
        if (envoy, ours) == ("accepts", "error") and all(LISTENERS_NOT_THERE.search(each) for each in why):
            envoy = "refuses" if refused_when_run(path) else envoy
        record_property("agreement", (group in KINDS, envoy, ours, why if envoy == "accepts" else []))
        if (envoy, ours) not in AGREED or (group == UNCHANGED and envoy == "refuses"):
            apart.append(f"{case.name}: Envoy {envoy}, ours: {ours} {why}")
    assert not apart, "\n".join(apart)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/fixtures (other projects' files)")
def test_the_corpus_is_large_enough() -> None:
    assert sum(len(cases) for cases in CASES.values()) >= 300
    made = {kind: mutations(kind) for kind in KINDS}
    assert sum(len(cases) for kind, cases in made.items() if kind != UNCHANGED) >= 400
    names = [case.name for cases in made.values() for case in cases]
    assert len(set(names)) == len(names)
