"""The real W3C trace-context suite against real processes: ``python -m tests.w3c.run_suite FOLDER``.

FOLDER: a checkout of github.com/w3c/trace-context, or its ``test`` folder; nothing of it is part of this project.

    suite → inbound proxy → app that copies headers → outbound proxy → suite

--proxy envoy runs the real Envoy instead of outrider (31 of 41 with 1.40.0); --topology leaves one proxy out.
Prints the suite's own output when something failed, and "N of 41". The exit code is 0 when every test passed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.collector import Collector
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port

PROXIES = {"envoy": Envoy, "outrider": Outrider}
TOPOLOGIES = ("both", "inbound", "outbound")
SUITE_S = 300.0
COPIED = ("traceparent", "tracestate", "b3", "x-request-id")


def suite_folder(folder: Path) -> Path:
    """The folder with the suite's test.py. Raises SystemExit when there is none."""
    for candidate in (folder, folder / "test"):
        if (candidate / "test.py").is_file() and (candidate / "tracecontext").is_dir():
            return candidate
    raise SystemExit(f"{folder} holds no W3C trace-context suite (test/test.py)")


class App:
    """The dumb app: asked to call URLs, it calls them through ``proxy_port`` (0: directly) and copies headers."""

    def __init__(self, proxy_port: int) -> None:
        self.proxy_port = proxy_port
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._run(),), daemon=True)
        self.stop = asyncio.Event()

    def __enter__(self) -> App:
        self.thread.start()
        if not self.started.wait(10):
            raise RuntimeError("the app did not start")
        return self

    def __exit__(self, *exception: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)
        self.loop.close()

    async def _run(self) -> None:
        from aiohttp import web

        application = web.Application()
        application.add_routes([web.post("/test", self._handle)])
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.started.set()
        await self.stop.wait()
        await runner.cleanup()

    async def _handle(self, request: object) -> object:
        from aiohttp import ClientSession, web
        from multidict import CIMultiDict

        assert isinstance(request, web.Request)
        copied = CIMultiDict(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() in COPIED or name.lower().startswith("x-b3-")
        )
        async with ClientSession() as session:
            for action in await request.json():
                url = action["url"]
                headers = copied.copy()
                if self.proxy_port:
                    headers["Host"] = re.sub(r"^http://([^/]+)/.*$", r"\1", url)
                    url = re.sub(r"^http://[^/]+", f"http://127.0.0.1:{self.proxy_port}", url)
                async with session.post(url, json=action["arguments"], headers=headers) as response:
                    await response.read()
        return web.json_response({})


def configuration(
    admin_port: int, listeners: list[Config], suite_port: int, app_port: int, zipkin: int
) -> Config:
    return bootstrap(
        admin_port,
        listeners,
        [cluster("app", app_port), cluster("suite", suite_port), cluster("zipkin", zipkin)],
    )


def listener(port: int, target: str, direction: str) -> Config:
    """One side's listener: everything goes to ``target``, traced with B3 and W3C."""
    provider = {
        "name": "envoy.tracers.zipkin",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "zipkin",
            "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": "HTTP_JSON",
            "trace_context_option": "USE_B3_WITH_W3C_PROPAGATION",
        },
    }
    return http_listener(
        port,
        [virtual_host([route_to(target)])],
        hcm={"tracing": {"provider": provider}},
        stat_prefix=direction.lower(),
        traffic_direction=direction,
    )


@contextmanager
def world(proxy: str, topology: str, suite_port: int) -> Iterator[str]:
    """Everything but the suite, running; gives the URL that the suite calls."""
    inbound, outbound, app_outbound = free_port(), free_port(), topology != "inbound"
    with ExitStack() as stack:
        app = stack.enter_context(App(outbound if app_outbound else 0))
        collector = Collector()
        stack.callback(collector.close)
        sides = [(inbound, "app", "INBOUND"), (outbound, "suite", "OUTBOUND")]
        wanted = {"both": sides, "inbound": sides[:1], "outbound": sides[1:]}[topology]
        for port, target, direction in wanted:
            config = configuration(
                free_port(), [listener(port, target, direction)], suite_port, app.port, collector.port
            )
            stack.enter_context(PROXIES[proxy](config))
        yield f"http://127.0.0.1:{app.port if topology == 'outbound' else inbound}/test"


def run_suite(folder: Path, proxy: str = "outrider", topology: str = "both") -> tuple[int, int, str]:
    """(passed, run, the suite's output)."""
    suite_port = free_port()
    with world(proxy, topology, suite_port) as url:
        environment = {
            **os.environ,
            "HARNESS_PORT": str(suite_port),
            "HARNESS_HOST": "127.0.0.1",
            "SPEC_LEVEL": "2",
            "STRICT_LEVEL": "2",
        }
        done = subprocess.run(
            [sys.executable, "test.py", url],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SUITE_S,
            check=False,
        )
    output = done.stdout + done.stderr
    ran = re.search(r"^Ran (\d+) tests", output, re.MULTILINE)
    if ran is None:
        return 0, 0, output
    failed = sum(int(count) for count in re.findall(r"(?:failures|errors)=(\d+)", output))
    return int(ran[1]) - failed, int(ran[1]), output


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--proxy", choices=sorted(PROXIES), default="outrider")
    parser.add_argument("--topology", choices=TOPOLOGIES, default="both")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")
    options = parser.parse_args()
    passed, ran, output = run_suite(suite_folder(options.folder).resolve(), options.proxy, options.topology)
    if options.json:
        sys.stdout.write(json.dumps({"passed": passed, "ran": ran}) + "\n")
    else:
        if passed != ran or not ran:
            sys.stdout.write(output)
        sys.stdout.write(f"W3C trace-context, {options.proxy}, {options.topology}: {passed} of {ran}\n")
    return 0 if ran and passed == ran else 1


if __name__ == "__main__":
    raise SystemExit(main())
