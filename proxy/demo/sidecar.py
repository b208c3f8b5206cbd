"""One sidecar: ``python -m proxy run -c FILE`` as a child process, and where it listens."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL

import yaml

from proxy.demo.config import Config
from proxy.demo.wire import NoAnswer, fetch

READY_S = 20.0
DRAIN_S = 2.0
POLL_S = 0.02


class SidecarFailed(Exception):
    """A sidecar did not come up; the message carries the end of its own log."""


class Sidecar:
    """folder/<name>.yaml, .log (its own words), -access.log; ``ports`` by listener name once it is ready."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.config_path = folder / f"{name}.yaml"
        self.log_path = folder / f"{name}.log"
        self.access_log_path = folder / f"{name}-access.log"
        self.admin_port = 0
        self.ports: dict[str, int] = {}
        self._address_path = folder / f"{name}.admin"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def argv(self) -> list[str]:
        """The command, as anybody could type it."""
        return [sys.executable, "-m", "proxy", "run", "-c", str(self.config_path)]

    async def start(self, bootstrap: Config, now: Callable[[], float]) -> None:
        """Write the file, start the process, wait until it serves. Raises SidecarFailed."""
        self.config_path.write_text(yaml.safe_dump(bootstrap, sort_keys=False), encoding="utf-8")
        flags = ["--admin-address-path", str(self._address_path), "--log-path", str(self.log_path)]
        flags += ["--file-flush-interval-msec", "100", "--drain-time-s", f"{DRAIN_S:g}"]
        self._process = await asyncio.create_subprocess_exec(*self.argv, *flags, stdin=DEVNULL)
        deadline = now() + READY_S
        while not await self._is_ready():
            if self._process.returncode is not None:
                raise SidecarFailed(
                    f"{self.name} ended with {self._process.returncode}:\n{self._last_words()}"
                )
            if now() > deadline:
                raise SidecarFailed(f"{self.name} was not ready in {READY_S:g} s:\n{self._last_words()}")
            await asyncio.sleep(POLL_S)
        listeners = json.loads((await self.ask("/listeners?format=json")).decode())["listener_statuses"]
        self.ports = {
            each["name"]: each["local_address"]["socket_address"]["port_value"] for each in listeners
        }

    async def ask(self, path: str) -> bytes:
        """A page of the admin interface. Raises NoAnswer, also for anything but 200."""
        answer = await fetch(self.admin_port, "GET", path)
        if answer.status != 200:
            raise NoAnswer(f"{path}: {answer.status}")
        return answer.body

    @property
    def has_ended(self) -> bool:
        """Whether the process was started and is gone."""
        return self._process is not None and self._process.returncode is not None

    async def stop(self) -> int | None:
        """SIGTERM to this one process, and SIGKILL if it does not drain in time; its exit code."""
        process = self._process
        if process is None:
            return None
        for end in (process.terminate, process.kill):
            if process.returncode is None:
                try:
                    end()
                    await asyncio.wait_for(process.wait(), DRAIN_S + 3.0)
                except (ProcessLookupError, TimeoutError):
                    pass
        return process.returncode

    async def _is_ready(self) -> bool:
        if not self.admin_port:
            if not self._address_path.exists():
                return False
            self.admin_port = int(self._address_path.read_text().rpartition(":")[2] or 0)
        try:
            await self.ask("/ready")
        except NoAnswer:
            return False
        return True

    def _last_words(self) -> str:
        return self.log_path.read_text(errors="replace")[-2000:] if self.log_path.exists() else ""
