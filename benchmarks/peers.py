"""The load, the upstream and the collector: everything that is not the proxy, on a CPU of its own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.machine import load_cpu
from benchmarks.server import BODY, EVERY
from tests.support.ports import free_port
from tests.support.process import on_cpu

CONNECTIONS = 32
ROOT = Path(__file__).resolve().parents[1]

NGINX = """
daemon off;
master_process off;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    log_format trace '$http_x_b3_traceid $http_x_b3_sampled';
    split_clients $request_id $kept {{ {percent}% 1; * 0; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        default_type application/json;
        access_log {samples} trace if=$kept;
        location / {{ return 200 '{body}'; }}
    }}
}}
"""


class Peer:
    """A server process on the load's CPU, up when its port answers, ended by its pid."""

    def __init__(self, argv: list[str], port: int, log: Path) -> None:
        self.port = port
        with log.open("wb") as output, on_cpu(load_cpu()):
            self.process = subprocess.Popen(
                argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=ROOT
            )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError(f"{argv[0]} did not start: {log.read_text()}") from None
                time.sleep(0.02)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Server(Peer):
    """benchmarks.server: the collector, and the upstream without nginx."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        super().__init__(
            [sys.executable, "-m", "benchmarks.server", str(port)], port, folder / f"server-{port}.log"
        )

    def counts(self) -> dict[str, Any]:
        """What it has counted so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counts", timeout=10) as page:
            counts: dict[str, Any] = json.load(page)
            return counts

    def samples(self) -> list[list[str]]:
        """[trace id, sampled] of every 100th request."""
        return list(self.counts()["samples"])


class Nginx(Peer):
    """nginx answering a small body, keeping the trace headers of one request in a hundred."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.log = folder / f"samples-{port}.log"
        config = folder / f"nginx-{port}.conf"
        config.write_text(
            NGINX.format(
                folder=folder, port=port, samples=self.log, percent=100 // EVERY, body=BODY.decode().strip()
            )
        )
        argv = [str(nginx_binary()), "-p", str(folder), "-c", str(config), "-e", "stderr"]
        super().__init__(argv, port, folder / f"nginx-{port}.log")

    def samples(self) -> list[list[str]]:
        """[trace id, sampled] of one request in a hundred."""
        return [line.split(" ") for line in self.log.read_text().splitlines()]


def nginx_binary() -> str | None:
    """nginx, also where only root has it in its path."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


def upstream(folder: Path) -> Nginx | Server:
    """nginx, or our own server where it is not installed."""
    return Nginx(folder) if nginx_binary() else Server(folder)


@dataclass(slots=True, frozen=True)
class Load:
    """One run of wrk: requests answered, how many not 2xx or 3xx, socket errors, rate and the 99th percentile."""

    requests: int
    bad: int
    errors: int
    per_second: float
    p99_ms: float


def load(port: int, seconds: float, path: str = "/hello?a=1", headers: Sequence[str] = ()) -> Load:
    """Keep-alive GETs as fast as they are answered. Raises RuntimeError when wrk is missing or fails."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed (make system-deps)")
    argv = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency", "--timeout", "5s"]
    argv += [word for field in ("User-Agent: bench/1", "Accept: */*", *headers) for word in ("-H", field)]
    argv += [f"http://127.0.0.1:{port}{path}"]
    with on_cpu(load_cpu()):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    return _read(done.stdout)


def _read(output: str) -> Load:
    def number(pattern: str) -> float:
        found = re.search(pattern, output)
        return float(found.group(1)) if found else 0.0

    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return Load(
        requests=int(number(r"(\d+) requests in")),
        bad=int(number(r"Non-2xx or 3xx responses: (\d+)")),
        errors=sum(map(int, errors.groups())) if errors else 0,
        per_second=number(r"Requests/sec:\s+([\d.]+)"),
        p99_ms=float(p99.group(1)) * scale[p99.group(2)] if p99 else 0.0,
    )
