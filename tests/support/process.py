"""A proxy process: started from a bootstrap, awaited at /ready, stopped by its own pid."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 20.0
STOP_S = 35.0


@contextmanager
def on_cpu(cpu: int | None) -> Iterator[None]:
    """Processes started inside stay on the CPU with all their threads; on any when None."""
    if cpu is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class ProxyFailed(AssertionError):
    """The process did not do what a proxy does; carries what it wrote to stderr."""


class ProxyProcess:
    """One running proxy. A context manager: stopped at the end, also when the test failed.

    argv: the command, up to and without ``-c file``; arguments: what follows the file
    bootstrap: written as JSON into a file of its own. Its admin address tells where to ask.
    folder: working directory, made when not given; stdout and stderr are kept in files there
    cpu: the CPU to stay on, any when None; suffix: of the file (JSON is YAML too)
    """

    name = "proxy"

    def __init__(
        self,
        argv: Sequence[str],
        bootstrap: Mapping[str, Any],
        arguments: Sequence[str] = (),
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        cpu: int | None = None,
        suffix: str = ".json",
    ) -> None:
        self._made = None if folder else tempfile.TemporaryDirectory(prefix="outrider-test-")
        self.folder = folder or Path(self._made.name if self._made else ".")
        self.bootstrap = bootstrap
        config = self.folder / f"{self.name}{suffix}"
        config.write_text(json.dumps(bootstrap))
        self.argv = [*argv, "-c", str(config), *arguments]
        self.environment = {**os.environ, **(environment or {})}
        self.cpu = cpu
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    @property
    def admin_port(self) -> int:
        return int(self.bootstrap["admin"]["address"]["socket_address"]["port_value"])

    def output(self, stream: str = "stderr") -> str:
        """What the process wrote so far to "stderr" or "stdout"."""
        file = self.folder / f"{self.name}.{stream}"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> Self:
        """Start and wait for /ready. Raises ProxyFailed when it ends or stays silent."""
        with (
            (self.folder / f"{self.name}.stdout").open("wb") as stdout,
            (self.folder / f"{self.name}.stderr").open("wb") as stderr,
        ):
            with on_cpu(self.cpu):
                self.process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=self.environment,
                    cwd=self.folder,
                )
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self.process.poll() is not None:
                raise ProxyFailed(
                    f"{self.name} ended with {self.process.returncode}:\n{self.output()[-4000:]}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise ProxyFailed(f"{self.name} was not ready in {START_S} s:\n{self.output()[-4000:]}")
            time.sleep(0.02)
        return self

    def _is_ready(self) -> bool:
        try:
            return self.admin("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def admin(self, path: str, method: str = "GET", timeout_s: float = 10.0) -> tuple[int, str]:
        """Ask the admin interface: (status, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=timeout_s)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def stats(self, query: str = "") -> dict[str, int]:
        """Counters and gauges of /stats by name; ``query`` such as "?usedonly"."""
        pairs = (line.partition(": ") for line in self.admin("/stats" + query)[1].splitlines())
        return {name: int(value) for name, _, value in pairs if value.lstrip("-").isdigit()}

    def wait_for_stat(self, name: str, at_least: int, timeout_s: float = 5.0) -> int:
        """Wait until a counter has come so far. Raises ProxyFailed when it does not."""
        deadline = time.monotonic() + timeout_s
        while (value := self.stats().get(name, 0)) < at_least:
            if time.monotonic() > deadline:
                raise ProxyFailed(f"{self.name}: {name} is {value}, not {at_least}")
            time.sleep(0.02)
        return value

    def wait_until_draining(self) -> None:
        """Wait until it serves what runs and takes nothing new. Raises ProxyFailed when it does not come to that."""
        self.wait_for_stat("server.state", 1)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send one signal and go on."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = STOP_S) -> int:
        """Wait for the end; the exit code. Raises ProxyFailed, and kills, when it does not end."""
        assert self.process is not None, "not started"
        try:
            self.exit_code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ProxyFailed(f"{self.name} did not end in {timeout_s} s:\n{self.output()[-4000:]}") from None
        return self.exit_code

    def stop(self, expect: int | None = 0) -> int:
        """SIGTERM, wait, check the exit code (any when None). May be called twice."""
        if self.process is None or self.exit_code is not None:
            return self.exit_code or 0
        if self.process.poll() is None:
            self.signal()
        code = self.wait()
        if expect is not None and code != expect:
            raise ProxyFailed(f"{self.name} ended with {code}, not {expect}:\n{self.output()[-4000:]}")
        return code

    def kill(self) -> None:
        """SIGKILL, for the end of a failed test."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.exit_code = self.process.wait(STOP_S)

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.stop()
            else:
                self.kill()
        finally:
            if self._made is not None:
                self._made.cleanup()
