"""h2spec (github.com/summerwind/h2spec), where it is installed: `make h2spec` with a Go toolchain.

145 cases; what it asks beyond RFC 9113 is named in BEYOND, and nothing else may fail.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.config import bootstrap, http_listener, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet

ROOT = Path(__file__).resolve().parents[2]
#: a stream's window beyond 2^31-1: libnghttp2 ends the connection (with FLOW_CONTROL_ERROR), as RFC 9113 section 5.4.2
#: allows for any error of a stream; h2spec wants the stream reset
BEYOND = {
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream"
}


def binary() -> str | None:
    """The installed h2spec."""
    found = os.environ.get("OUTRIDER_H2SPEC") or shutil.which("h2spec")
    own = ROOT / ".venv" / "bin" / "h2spec"
    return found or (str(own) if own.exists() else None)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(binary() is None, reason="h2spec is not installed: make h2spec (wants Go)")
def test_h2spec() -> None:
    port = free_port()
    ok = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "a body of some length"}},
    }
    listener = http_listener(port, [virtual_host([ok])], hcm={"codec_type": "HTTP2"})
    with Outrider(bootstrap(free_port(), [listener], [])) as proxy:
        wrong = failures(port) - BEYOND
        if wrong:  # h2spec waits for silence: on a busy machine a case may look broken once
            wrong &= failures(port)
        assert_quiet(proxy)
    assert not wrong


def failures(port: int) -> set[str]:
    """The titles of the cases that fail."""
    argv = [str(binary()), "-h", "127.0.0.1", "-p", str(port), "-o", "5"]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=110)
    assert re.search(r"14\d tests, \d+ passed", run.stdout), run.stdout[-2000:]
    found = re.findall("\u00d7 \\d+: (.*)", run.stdout)
    return {title.removeprefix("closed: ").strip() for title in found}
