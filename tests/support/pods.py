"""Pods: namespaces on one bridge, each with an application that knows no proxy, our capture rules and our sidecar."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.netns import APP_UID, PROXY_UID, Namespace, as_user
from tests.support.outrider import command

ROOT = Path(__file__).resolve().parents[2]
APP = [sys.executable, "-P", str(ROOT / "tests" / "support" / "pod_app.py")]
WORLD, WORLD6 = "10.9.0.1", "fd00:9::1"
START_S = 40.0
#: of the application, as the injection rewrites them
PROBERS = {
    "/app-health/app/livez": {"httpGet": {"path": "/", "port": 8080}, "timeoutSeconds": 5},
    "/app-health/app/readyz": {"tcpSocket": {"port": 7000}, "timeoutSeconds": 5},
    "/app-health/app/startupz": {"httpGet": {"path": "/", "port": 8081}, "timeoutSeconds": 5},
}


class Pod:
    """One pod. ip, ip6: its addresses; namespace: where it is."""

    def __init__(self, name: str, number: int, mesh: Mesh) -> None:
        self.name = name
        self.ip, self.ip6 = f"10.9.0.{number}", f"fd00:9::{number}"
        self.namespace = mesh.stack.enter_context(Namespace())
        self.namespace.connect(mesh.world, "eth0", f"{self.ip}/24", f"{self.ip6}/64", peer=f"pod{number}")
        mesh.world.run("ip", "link", "set", f"pod{number}", "master", "br0")
        self.namespace.run("ip", "route", "add", "default", "via", WORLD)
        self.namespace.run("ip", "-6", "route", "add", "default", "via", WORLD6)
        self._processes: list[subprocess.Popen[str]] = []
        self._stderr = mesh.folder / f"{name}.log"

    def start(self, *flags: str, rules: tuple[str, ...] = ()) -> None:
        """The application, the rules, the sidecar; ``wait`` for it."""
        self._spawn([*APP, "serve", self.name], APP_UID, {})
        argv, environment = command(os.environ.get("OUTRIDER_NATIVE") == "1")
        self.namespace.run(
            "env",
            *(f"{key}={value}" for key, value in environment.items()),
            *argv,
            "iptables",
            "apply",
            *rules,
        )
        probed = {"INSTANCE_IP": self.ip, "OUTRIDER_APP_PROBERS": json.dumps(PROBERS)}
        argv += ["sidecar", "--service", self.name, "--ipv6", *flags]
        self._spawn(argv, PROXY_UID, {**environment, **probed})

    def _spawn(self, argv: list[str], uid: int, environment: dict[str, str]) -> None:
        with self._stderr.open("ab") as log, self.namespace.inside():
            process = subprocess.Popen(
                as_user(argv, uid),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                text=True,
                cwd="/",
            )
        self._processes.append(process)

    def wait(self) -> None:
        """Until the sidecar is ready and the application answers. Raises AssertionError with the log."""
        deadline = time.monotonic() + START_S
        while not (self._is_ready() and "serving" in self.output()):
            assert time.monotonic() < deadline and all(each.poll() is None for each in self._processes), (
                self.output()
            )
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return self.get(15021, "/healthz/ready")[0] == 200
        except OSError:
            return False

    def output(self) -> str:
        """What its processes wrote."""
        return self._stderr.read_text(errors="replace")

    def get(self, port: int, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask a port on loopback, from inside."""
        with self.namespace.inside():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            finally:
                connection.close()

    def stats(self) -> dict[str, int]:
        """Counters and gauges by name."""
        lines = (line.partition(": ") for line in self.get(15000, "/stats")[1].splitlines())
        return {name: int(value) for name, _, value in lines if value.lstrip("-").isdigit()}

    def ask(self, *triples: str) -> list[str]:
        """As its application: KIND HOST PORT ... (tests.support.pod_app)."""
        return self.namespace.run(*APP, "ask", *triples, uid=APP_UID).stdout.splitlines()

    def stop(self) -> list[int]:
        """SIGTERM to all; their exit codes."""
        for process in self._processes:
            process.terminate()
        return [process.wait(30) for process in self._processes]

    def kill(self) -> None:
        """At the end of a test, whatever has become of it."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


class Mesh:
    """The bridge, and what is outside: ``world``."""

    def __init__(self) -> None:
        self.stack = ExitStack()
        self.world: Namespace
        self.folder: Path

    def pod(self, name: str, number: int) -> Pod:
        """A new pod, not started."""
        pod = Pod(name, number, self)
        self.stack.callback(pod.kill)
        return pod

    def __enter__(self) -> Self:
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="outrider-pods-")))
        self.folder.chmod(0o755)
        self.world = self.stack.enter_context(Namespace())
        self.world.run("ip", "link", "add", "br0", "type", "bridge")
        self.world.run("ip", "addr", "add", f"{WORLD}/24", "dev", "br0")
        self.world.run("ip", "addr", "add", f"{WORLD6}/64", "dev", "br0", "nodad")
        self.world.run("ip", "link", "set", "br0", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()
