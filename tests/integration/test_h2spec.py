"""h2spec (github.com/summerwind/h2spec), where it is installed: `make h2spec` with a Go toolchain.

All of its 145 cases pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet
from tests.support.upstream import Upstream, reply

ROOT = Path(__file__).resolve().parents[2]


def binary() -> str | None:
    """The installed h2spec."""
    found = os.environ.get("OUTRIDER_H2SPEC") or shutil.which("h2spec")
    own = ROOT / ".venv" / "bin" / "h2spec"
    return found or (str(own) if own.exists() else None)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(binary() is None, reason="h2spec is not installed: make h2spec (wants Go)")
def test_h2spec() -> None:
    """The host answers at the request's end: an answer that comes before would excuse what is wrong with its body."""
    port = free_port()
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm={"codec_type": "HTTP2"})
    with (
        Upstream([reply(200, b"a body of some length")]) as upstream,
        Outrider(bootstrap(free_port(), [listener], [cluster("up", upstream.port)])) as proxy,
    ):
        run = subprocess.run(
            [str(binary()), "-h", "127.0.0.1", "-p", str(port), "-o", "5"],
            capture_output=True,
            text=True,
            timeout=170,
        )
        assert_quiet(proxy)
    failed = re.findall("\u00d7 \\d+: (.*)", run.stdout)
    assert re.search(r"145 tests, 145 passed, 0 skipped, 0 failed", run.stdout), failed or run.stdout[-3000:]
