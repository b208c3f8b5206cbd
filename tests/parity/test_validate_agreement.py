"""``envoy --mode validate`` and our loader accept and refuse the same configurations."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.api.load import load_bootstrap
from tests.parity.validate_corpus import CASES, Case
from tests.support.envoy import ENVOY_MISSING, envoy_binary

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

# Refused by Envoy for reasons that no descriptor holds: the room that compiles the message refuses them here.
COMPILED_LATER = {"other: listener without address"}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Whether Envoy accepts each case."""
    folder = tmp_path_factory.mktemp("validate")
    with ThreadPoolExecutor(2) as pool:
        return dict(
            zip(
                [case.name for case in CASES], pool.map(lambda case: _envoy(case, folder), CASES), strict=True
            )
        )


def _write(case: Case, folder: Path) -> Path:
    path = folder / f"{CASES.index(case)}{case.suffix}"
    path.write_bytes(case.text.encode())
    return path


def _envoy(case: Case, folder: Path) -> bool:
    command = [str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "-l", "off", "-c"]
    done = subprocess.run([*command, str(_write(case, folder))], capture_output=True, timeout=30, check=False)
    return done.returncode == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_verdict(case: Case, verdicts: dict[str, bool], tmp_path: Path) -> None:
    loaded = load_bootstrap(str(_write(case, tmp_path)))
    accepted = not loaded.errors
    if case.name in COMPILED_LATER:
        assert accepted
        assert not verdicts[case.name]
        return
    assert accepted == verdicts[case.name], [str(finding) for finding in loaded.errors.findings]


def test_the_corpus_has_both_kinds(verdicts: dict[str, bool]) -> None:
    accepted = sum(verdicts.values())
    assert len(CASES) >= 300
    assert accepted >= 80
    assert len(CASES) - accepted >= 150
