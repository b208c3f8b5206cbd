"""The demo's life: start everything, send, look, say what was seen, go on until told to stop, leave nothing behind."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.base.clock import Clock
from proxy.demo.check import check_answers, check_logs, check_metrics, check_traces
from proxy.demo.collector import Collector
from proxy.demo.config import backend_bootstrap, frontend_bootstrap
from proxy.demo.metrics import Hop, hops
from proxy.demo.report import Report
from proxy.demo.script import FLAKY, Call, calls, trickle
from proxy.demo.services import Frontend, backend
from proxy.demo.sidecar import Sidecar, SidecarFailed
from proxy.demo.trace import roots
from proxy.demo.wire import NoAnswer, Server, fetch

#: how long spans and log lines may take to arrive
SETTLE_S = 10.0
TRICKLE_S = 0.5
#: (stat prefix, cluster) of each sidecar's listeners, in the order a request meets them
FRONTEND_LISTENERS = [("inbound", "frontend_app"), ("outbound", "backend")]
BACKEND_LISTENERS = [("inbound", "backend_app")]


@dataclass(slots=True)
class Settings:
    """once: end after the report; requests: how many before it; folder: for the files, a new one when None.

    show: prints a report; say: prints a line
    """

    show: Callable[[Report], None]
    say: Callable[[str], None]
    once: bool = False
    requests: int = 20
    folder: Path | None = None


class Demo:
    """Services, collector and sidecars; ``start`` once, ``stop`` always."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.collector = Collector()
        self.frontend = Frontend()
        self.collector_server = Server(self.collector.handle)
        self.frontend_server = Server(self.frontend.handle)
        self.backend_server = Server(backend)
        self.frontend_sidecar = Sidecar("frontend", folder)
        self.backend_sidecar = Sidecar("backend", folder)

    @property
    def servers(self) -> tuple[Server, ...]:
        """The three that run in this process."""
        return self.collector_server, self.frontend_server, self.backend_server

    @property
    def sidecars(self) -> tuple[Sidecar, ...]:
        """In the order a request meets them."""
        return self.frontend_sidecar, self.backend_sidecar

    @property
    def entry_port(self) -> int:
        """Where a client sends its requests."""
        return self.frontend_sidecar.ports["inbound"]

    async def start(self) -> None:
        """From the far end to the near one, since each needs the next one's port. Raises SidecarFailed, OSError."""
        for server in self.servers:
            await server.start()
        collector = self.collector_server.port
        near, far = self.sidecars
        log_path = str(far.access_log_path)
        await far.start(
            backend_bootstrap(self.backend_server.port, collector, log_path), self.clock.monotonic
        )
        bootstrap = frontend_bootstrap(
            self.frontend_server.port, far.ports["inbound"], collector, str(near.access_log_path)
        )
        await near.start(bootstrap, self.clock.monotonic)
        self.frontend.outbound_port = near.ports["outbound"]

    async def stop(self) -> None:
        """End the children first, each by its own pid, then the servers."""
        await asyncio.gather(*(sidecar.stop() for sidecar in self.sidecars))
        await asyncio.gather(*(server.close() for server in self.servers))

    async def send(self, call: Call) -> int:
        """One request of the client; its status, 0 when there was no answer."""
        headers = [("host", "shop.example"), ("user-agent", "outrider-demo")]
        if call.body:
            headers.append(("content-type", "application/json"))
        try:
            return (await fetch(self.entry_port, call.method, call.path, headers, call.body)).status
        except NoAnswer:
            return 0

    # -- looking -------------------------------------------------------------------------------------------------

    async def settle(self, sent: Sequence[Call]) -> None:
        """Wait until all spans and log lines have come, or can no longer be hoped for."""
        spans = sum(call.span_count for call in sent)
        lines = sum(2 + len(call.backend) for call in sent)
        deadline = self.clock.monotonic() + SETTLE_S
        while self.clock.monotonic() < deadline:
            come = sum(map(len, self.collector.traces.values()))
            if come >= spans and sum(len(self.log_lines(each)) for each in self.sidecars) >= lines:
                return
            await asyncio.sleep(0.05)

    async def hops(self) -> list[Hop]:
        """What both sidecars have counted. Raises NoAnswer."""
        near, far = self.sidecars
        rows = hops(near.name, (await near.ask("/stats/prometheus")).decode(), FRONTEND_LISTENERS)
        return rows + hops(far.name, (await far.ask("/stats/prometheus")).decode(), BACKEND_LISTENERS)

    @staticmethod
    def log_lines(sidecar: Sidecar) -> list[str]:
        """The access log as it stands on the disk."""
        path = sidecar.access_log_path
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    async def report(self, sent: Sequence[Call], statuses: Sequence[int]) -> Report:
        """Everything that can be seen of the calls sent so far. Raises NoAnswer when a sidecar is gone."""
        rows = await self.hops()
        logs = {sidecar.name: self.log_lines(sidecar) for sidecar in self.sidecars}
        problems = check_answers(sent, statuses) + check_traces(sent, self.collector.traces)
        problems += check_metrics(sent, rows)
        problems += check_logs(sent, {name: len(lines) for name, lines in logs.items()})
        trace_id = self.most_telling_trace()
        return Report(
            summary=f"{len(sent)} requests sent to http://127.0.0.1:{self.entry_port}: "
            "client -> frontend sidecar -> frontend -> frontend sidecar -> backend sidecar -> backend",
            trace_id=trace_id,
            trace=roots(self.collector.traces.get(trace_id, [])),
            hops=rows,
            logs=[
                (name, line)
                for name, lines in logs.items()
                for line in [next((line for line in lines if trace_id and trace_id in line), "")]
                if line
            ],
            urls=self.urls(trace_id),
            files=str(self.folder),
            problems=problems,
        )

    def most_telling_trace(self) -> str:
        """The one with the retry, else the newest; "" when there is none."""
        longest = 2 + len(FLAKY.backend)
        for trace_id, spans in self.collector.traces.items():
            if len(spans) == longest:
                return trace_id
        return next(reversed(self.collector.traces), "")

    def urls(self, trace_id: str) -> list[tuple[str, str]]:
        """What to look at, and where."""
        found = [("send a request", f"curl -i http://127.0.0.1:{self.entry_port}/checkout")]
        for sidecar in self.sidecars:
            base = f"http://127.0.0.1:{sidecar.admin_port}"
            for path in ("/stats/prometheus", "/clusters", "/config_dump"):
                found.append((f"{sidecar.name} sidecar", base + path))
        collector = f"http://127.0.0.1:{self.collector_server.port}/api/v2"
        return [
            *found,
            ("collector, newest traces", f"{collector}/traces"),
            ("collector, the trace above", f"{collector}/trace/{trace_id}"),
        ]


async def run(settings: Settings) -> int:
    """The whole demo; 0 well, 1 when something does not agree or could not be started. Ends on SIGINT, SIGTERM, SIGHUP."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    folder = settings.folder or Path(tempfile.mkdtemp(prefix="outrider-demo-"))
    demo = Demo(folder)
    playing = asyncio.ensure_future(play(demo, settings))
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((playing, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            settings.say("stopping")
            playing.cancel()
            return 0
        return playing.result()
    except (SidecarFailed, NoAnswer, OSError) as error:
        settings.say(f"the demo failed: {error}")
        return 1
    finally:
        waiting.cancel()
        await asyncio.wait((playing,))
        await demo.stop()


async def play(demo: Demo, settings: Settings) -> int:
    """Start, send, report; without ``once`` then send on for ever. The exit code."""
    demo.folder.mkdir(parents=True, exist_ok=True)
    await demo.start()
    sent = calls(settings.requests)
    statuses = [await demo.send(call) for call in sent]
    await demo.settle(sent)
    report = await demo.report(sent, statuses)
    settings.show(report)
    if settings.once:
        return 1 if report.problems else 0
    settings.say(f"sending {1 / TRICKLE_S:g} requests a second; Ctrl-C ends the demo")
    number = 0
    while not any(sidecar.has_ended for sidecar in demo.sidecars):
        await demo.send(trickle(number))
        number += 1
        await asyncio.sleep(TRICKLE_S)
    raise SidecarFailed("a sidecar has ended by itself; see its log")
