"""The table of differences between Envoy and PyYAML with ``ParseDict`` is true of the real Envoy."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.support.leniency import ROWS

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]


@pytest.mark.parametrize("name", ROWS)
def test_envoy_s_result(name: str, tmp_path: Path) -> None:
    path = tmp_path / "envoy.yaml"
    path.write_text(ROWS[name].text)
    argv = [
        str(envoy_binary()),
        "--mode",
        "validate",
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "-l",
        "off",
    ]
    done = subprocess.run([*argv, "-c", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode != 0) == bool(ROWS[name].refused), done.stderr[-2000:]
