"""Runs the real W3C trace-context suite: harness → proxy → an app that only copies headers → proxy → harness.

``python -m tests.support.w3c FOLDER [--proxy envoy] [--tracer opentelemetry]``; FOLDER is a checkout of github.com/w3c/trace-context, whose code
is run where it lies. Exit code 0 when every case passes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.client import Client
from tests.support.client import request as http_request
from tests.support.config import (
    Config,
    bootstrap,
    cluster,
    http_listener,
    opentelemetry,
    route_to,
    virtual_host,
    zipkin,
)
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Request, Steps, Upstream, reply

COPIED = re.compile(r"^(traceparent|tracestate|b3|x-b3-.*|x-request-id)$", re.IGNORECASE)
SUITE_S = 300
TRACERS: dict[str, Config] = {
    "zipkin": zipkin("nowhere", trace_id_128bit=True, trace_context_option="USE_B3_WITH_W3C_PROPAGATION"),
    "opentelemetry": opentelemetry("nowhere"),
}


def config(inbound: int, outbound: int, app: int, harness: int, tracer: str) -> Config:
    """One proxy on both sides of the app."""

    def listener(port: int, to: str, direction: str) -> Config:
        tracing = TRACERS[tracer]
        hosts = [virtual_host([route_to(to)])]
        return http_listener(
            port, hosts, hcm={"tracing": tracing}, stat_prefix=direction.lower(), traffic_direction=direction
        )

    return bootstrap(
        free_port(),
        [listener(inbound, "app", "INBOUND"), listener(outbound, "harness", "OUTBOUND")],
        [cluster("app", app), cluster("harness", harness), cluster("nowhere", free_port())],
    )


class App(Upstream):
    """Calls every url it is told to call, through the outbound proxy, with the trace headers it was called with."""

    outbound = 0

    def __init__(self) -> None:
        super().__init__(self.call_all)

    def call_all(self, got: Request) -> Steps:
        copied = [(name, value) for name, value in got.headers if COPIED.match(name)]
        for call in json.loads(got.body or b"null") or []:
            url = urlsplit(call["url"])
            body = json.dumps(call.get("arguments") or []).encode()
            headers = [("Content-Type", "application/json"), *copied]
            with Client(self.outbound) as client:
                client.send(http_request("POST", url.path, headers, body, host=url.netloc)).read()
        return [reply(200, b"{}", [("content-type", "application/json")])]


def run(folder: Path, kind: type[Envoy] | type[Outrider], patterns: list[str], tracer: str) -> int:
    """Run the suite through one kind of proxy; the number of cases that failed. Raises when it does not run."""
    script = next(
        (place for place in (folder / "test.py", folder / "test" / "test.py") if place.exists()), None
    )
    if script is None:
        raise SystemExit(f"{folder} holds no test/test.py: name a checkout of github.com/w3c/trace-context")
    inbound, outbound, harness = free_port(), free_port(), free_port()
    with App() as app, kind(config(inbound, outbound, app.port, harness, tracer)):
        app.outbound = outbound
        environment = {**os.environ, "HARNESS_PORT": str(harness), "SPEC_LEVEL": "2", "STRICT_LEVEL": "2"}
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, script.name, f"http://127.0.0.1:{inbound}/test", *patterns],
            cwd=script.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SUITE_S,
        )
    print(done.stderr)
    ran = re.search(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)
    total = int(ran.group(1)) if ran else 0
    if not total:
        raise SystemExit(f"the suite did not run:\n{done.stdout}{done.stderr}")
    skipped = int((re.search(r"skipped=(\d+)", done.stderr) or [0, 0])[1])
    passed = total - done.returncode - skipped
    print(f"{kind.name}, {tracer}: {passed} of {total} passed in {time.monotonic() - began:.0f} s")
    return total - passed


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.support.w3c", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("patterns", nargs="*", help="suites or cases; all when none is named")
    parser.add_argument("--proxy", choices=["outrider", "envoy"], default="outrider")
    parser.add_argument("--tracer", choices=[*TRACERS, "both"], default="both")
    options = parser.parse_args()
    kind = Envoy if options.proxy == "envoy" else Outrider
    tracers = [*TRACERS] if options.tracer == "both" else [options.tracer]
    failed = [run(options.folder, kind, options.patterns, tracer) for tracer in tracers]
    return 1 if any(failed) else 0


if __name__ == "__main__":
    sys.exit(main())
