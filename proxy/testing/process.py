"""A real proxy as a child process: started from a bootstrap, awaited until it serves, ended by its pid."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from proxy.testing.upstream import Upstream

STEP_S = 0.02
#: for one page of the admin interface
ASK_S = 5.0
#: from SIGTERM to SIGKILL; the first DRAIN_S of it are for requests in flight
STOP_S = 15.0
DRAIN_S = 2.0
FLAGS = ("--concurrency", "1", "--drain-time-s", f"{DRAIN_S:g}", "--file-flush-interval-msec", "50")
#: of what the process has written, in the words of a failure: so many characters from the end
LAST_WORDS = 8000


class ProxyFailed(Exception):
    """A proxy did not start, or did not end well. Says what it wrote: what is wrong with a configuration stands there."""


class Proxy:
    """One proxy; a context manager that starts and ends it.

    config: the path of a bootstrap, or a bootstrap as a mapping
    arguments: flags of ``outrider run`` besides ("--expand-env")
    clusters: cluster name -> where its requests go instead of to the configured hosts: "ip:port", or an Upstream
    keep_addresses: listeners listen where the bootstrap says; else each on a free port of 127.0.0.1. The admin
        interface has such a port in any case, whether the bootstrap has one or not
    env: variables besides ours; cwd: the process's folder; timeout_s: it must be ready in that time
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Mapping[str, Any],
        *arguments: str,
        clusters: Mapping[str, str | Upstream] | None = None,
        keep_addresses: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="outrider-")
        self._folder = Path(self._made.name)
        if isinstance(config, Mapping):
            written = self._folder / "bootstrap.json"
            written.write_text(json.dumps(config, indent=2), encoding="utf-8")
            config = written
        places = {
            name: place if isinstance(place, str) else place.address
            for name, place in (clusters or {}).items()
        }
        changes = json.dumps({"clusters": places, "keep_addresses": keep_addresses})
        self._admin_file = self._folder / "admin"
        self._argv = [sys.executable, "-P", "-m", "proxy.testing.launch", changes, "-c", os.fspath(config)]
        self._argv += [*FLAGS, "--admin-address-path", str(self._admin_file), *arguments]
        self._env = {**os.environ, **(env or {})}
        self._cwd = cwd
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners: list[tuple[str, str]] = []  # name, "ip:port"
        self.admin = ""

    # -- what a test asks ----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process's."""
        assert self._process is not None, "not started"
        return self._process.pid

    def address(self, listener: str | int = 0) -> str:
        """ "ip:port" of a listener, by its name or its place in the bootstrap. Raises LookupError."""
        known = dict(self._listeners)
        try:
            return known[listener] if isinstance(listener, str) else self._listeners[listener][1]
        except LookupError:
            raise LookupError(f"no listener {listener!r}; there are: {', '.join(known) or 'none'}") from None

    def url(self, listener: str | int = 0, path: str = "/", scheme: str = "http") -> str:
        """ "http://ip:port/path" of a listener."""
        return f"{scheme}://{self.address(listener)}{path}"

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """A page of the admin interface: (status, text)."""
        connection = http.client.HTTPConnection(urlsplit(self.admin).netloc, timeout=ASK_S)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def stats(self) -> dict[str, int]:
        """Counters and gauges by name, as they are now."""
        pairs = (line.partition(": ") for line in self.ask("/stats")[1].splitlines())
        return {name: int(value) for name, _, value in pairs if value.lstrip("-").isdigit()}

    def output(self, stream: str = "stderr") -> str:
        """What it has written so far: its log, or on "stdout" what access loggers write there."""
        file = self._folder / stream
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the process and wait until it serves. Raises ProxyFailed."""
        __tracebackhide__ = True
        with (self._folder / "stdout").open("wb") as out, (self._folder / "stderr").open("wb") as err:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,  # its end tells the child of ours, however that comes
                stdout=out,
                stderr=err,
                env=self._env,
                cwd=self._cwd,
            )
        try:
            self._wait_until_ready(self._process)
            self._listeners = self._bound()
        except BaseException:
            self._end(self._process, kill=True)
            self._process = None
            self._made.cleanup()
            raise
        return self

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        __tracebackhide__ = True
        deadline = time.monotonic() + self._timeout_s
        answer = "it has no admin interface yet"
        while True:
            if process.poll() is not None:
                raise ProxyFailed(f"outrider ended with {process.returncode}:\n{self._last_words()}")
            if not self.admin and self._admin_file.exists() and (place := self._admin_file.read_text()):
                self.admin = f"http://{place}"
            if self.admin:
                try:
                    status, answer = self.ask("/ready")
                    if status == 200:
                        return
                except (OSError, http.client.HTTPException) as error:
                    answer = str(error)
            if time.monotonic() > deadline:
                raise ProxyFailed(
                    f"outrider was not ready in {self._timeout_s:g} s ({answer.strip()}):\n{self._last_words()}"
                )
            time.sleep(STEP_S)

    def _bound(self) -> list[tuple[str, str]]:
        found = []
        for one in json.loads(self.ask("/listeners?format=json")[1]).get("listener_statuses", ()):
            place = one.get("local_address", {}).get("socket_address")
            if place is not None:
                ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(place["address"], place["address"])
                found.append(
                    (
                        one["name"],
                        f"[{ip}]:{place['port_value']}" if ":" in ip else f"{ip}:{place['port_value']}",
                    )
                )
        return found

    def stop(self, expect: int | None = 0) -> int:
        """SIGTERM, and SIGKILL if that takes too long; the exit code. Raises ProxyFailed when it is not the expected one
        (None: any). May be called again."""
        __tracebackhide__ = True
        if self._process is None:
            return 0
        code = self._end(self._process)
        if expect is not None and code != expect:
            raise ProxyFailed(f"outrider ended with {code}, not {expect}:\n{self._last_words()}")
        return code

    @staticmethod
    def _end(process: subprocess.Popen[bytes], kill: bool = False) -> int:
        if process.poll() is None:
            process.kill() if kill else process.terminate()
        try:
            code = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait(STOP_S)
        assert process.stdin is not None
        process.stdin.close()
        return code

    def _last_words(self) -> str:
        return self.output()[-LAST_WORDS:]

    def __enter__(self) -> Self:
        __tracebackhide__ = True
        return self if self._process is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        try:
            self.stop(expect=0 if kind is None else None)
        finally:
            sys.stderr.write(self.output())  # pytest shows it where the test has failed
            self._made.cleanup()
