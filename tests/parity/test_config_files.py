"""The bootstraps that this project ships or writes itself are Envoy's API and nothing else: Envoy takes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.config import backend_bootstrap, frontend_bootstrap
from tests.support.config import names_ours
from tests.support.envoy import ENVOY_MISSING, envoy_binary

pytestmark = pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAPS = sorted(file for file in (ROOT / "config").glob("*.yaml") if not names_ours(file))
DEMO = {
    "frontend": frontend_bootstrap(1, 2, 3, "/dev/null"),
    "backend": backend_bootstrap(1, 2, "/dev/null"),
}


def check(path: Path) -> None:
    argv = [str(envoy_binary()), "--mode", "validate", "--concurrency", "1", "--disable-hot-restart"]
    done = subprocess.run([*argv, "-c", str(path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("path", BOOTSTRAPS, ids=lambda path: path.name)
def test_envoy_takes_the_ready_bootstraps(path: Path) -> None:
    check(path)


@pytest.mark.parametrize("name", DEMO)
def test_envoy_takes_the_demo_s_bootstraps(name: str, tmp_path: Path) -> None:
    config: dict[str, Any] = DEMO[name]
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(config))
    check(path)
