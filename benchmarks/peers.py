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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import load_cpu
from benchmarks.server import BODY, EVERY
from tests.support.certs import Authority
from tests.support.closing import Closing
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
        client_max_body_size 4m;
        location / {{ return 200 '{body}'; }}
        location /files/ {{ alias {folder}/files/; }}
    }}
    server {{
        listen 127.0.0.1:{http2_port} http2 backlog=1024;
        default_type application/json;
        http2_max_requests 1000000000;
        location / {{ return 200 '{body}'; }}
        location /bench. {{
            default_type application/grpc;
            add_trailer grpc-status 0;
            return 200 'as long as a message';
        }}
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl backlog=1024;
        ssl_certificate {folder}/host.crt;
        ssl_certificate_key {folder}/host.key;
        ssl_client_certificate {folder}/roots.pem;
        ssl_verify_client on;
        default_type application/json;
        location / {{ return 200 '{body}'; }}
    }}
}}
"""
#: what the upstream shows over TLS and who signs it; the proxies are given certificates of the same authority
CA = Authority("Bench CA")
HOST = CA.signs("host", dns=("host.bench",))
#: of a call: six bytes, framed
MESSAGE = b"\0\0\0\0\x06\x0a\x04pong"
FILES = {"64k": b"x" * 64 * 1024, "1m": b"x" * 1024 * 1024}


class Peer(Closing):
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


class Echo(Peer):
    """benchmarks.websocket: every message sent back."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        argv = [sys.executable, "-m", "benchmarks.websocket", "serve", str(port)]
        super().__init__(argv, port, folder / f"echo-{port}.log")

    def samples(self) -> list[list[str]]:
        """None: messages have no headers."""
        return []


class Nginx(Peer):
    """nginx answering a small body, keeping the trace headers of one request in a hundred."""

    def __init__(self, folder: Path) -> None:
        port, self.http2_port, self.tls_port = free_port(), free_port(), free_port()
        self.log = folder / f"samples-{port}.log"
        config = folder / f"nginx-{port}.conf"
        HOST.write(folder, "host")
        (folder / "roots.pem").write_text(CA.pem)
        (folder / "files").mkdir()
        for name, content in FILES.items():
            (folder / "files" / name).write_bytes(content)
        config.write_text(
            NGINX.format(
                folder=folder,
                port=port,
                http2_port=self.http2_port,
                tls_port=self.tls_port,
                samples=self.log,
                percent=100 // EVERY,
                body=BODY.decode().strip(),
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


ANEW = """local count = 0
function request()
  count = count + 1
  wrk.headers["Cookie"] = "session=" .. count
  wrk.headers["X-Order"] = "order-" .. count
  return wrk.format("GET", "/hello?a=" .. count)
end
"""


@dataclass(slots=True, frozen=True)
class Drive:
    """How requests are sent. tool: "wrk" or "h2load" (HTTP/2, ``streams`` at a time on each connection); over_tls: to
    the proxy; path; headers: beside Host, User-Agent and Accept; sends: bytes of each request's body (a POST then);
    anew: each request has a path and two fields that none had before (wrk)"""

    tool: str = "wrk"
    over_tls: bool = False
    path: str = "/hello?a=1"
    headers: tuple[str, ...] = ()
    sends: bytes = b""
    streams: int = 20
    anew: bool = False


@dataclass(slots=True, frozen=True)
class Load:
    """One run: requests answered, how many not 2xx or 3xx, socket errors, rate and the 99th percentile."""

    requests: int
    bad: int
    errors: int
    per_second: float
    p99_ms: float


def load(port: int, seconds: float, drive: Drive, folder: Path) -> Load:
    """Requests as fast as they are answered. Raises RuntimeError when the tool is missing or fails."""
    tool = shutil.which(drive.tool)
    if tool is None:
        raise RuntimeError(f"{drive.tool} is not installed (make system-deps)")
    url = f"{'https' if drive.over_tls else 'http'}://127.0.0.1:{port}{drive.path}"
    if drive.tool == "wrk":
        return _read(_run([tool, *_wrk(drive, seconds, folder), url], seconds))
    log = folder / f"h2load-{port}.log"
    log.unlink(missing_ok=True)
    argv = [tool, "-t1", "-c8", f"-m{drive.streams}", f"-D{max(1, round(seconds))}", f"--log-file={log}"]
    argv += [
        word for field in ("user-agent: bench/1", "accept: */*", *drive.headers) for word in ("-H", field)
    ]
    if drive.sends:
        body = folder / "h2load-body"
        body.write_bytes(drive.sends)
        argv.append(f"--data={body}")
    return _read_h2load(_run([*argv, url], seconds), log)


def _run(argv: list[str], seconds: float) -> str:
    with on_cpu(load_cpu()):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def _wrk(drive: Drive, seconds: float, folder: Path) -> list[str]:
    argv = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--latency", "--timeout", "5s"]
    argv += [
        word for field in ("User-Agent: bench/1", "Accept: */*", *drive.headers) for word in ("-H", field)
    ]
    if drive.sends:
        script = folder / "post.lua"
        script.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {len(drive.sends)})\n')
        argv += ["-s", str(script)]
    if drive.anew:
        script = folder / "anew.lua"
        script.write_text(ANEW)
        argv += ["-s", str(script)]
    return argv


def _read_h2load(output: str, log: Path) -> Load:
    """The percentile comes from the log of all requests: start, status, microseconds."""
    done = re.search(
        r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", output
    )
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", output)
    assert done is not None, output
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    return Load(
        requests=int(done[1]),
        bad=int(done[2]),
        errors=int(done[3]),
        per_second=float(rate[1]) if rate is not None else 0.0,
        p99_ms=times[len(times) * 99 // 100] / 1000 if times else 0.0,
    )


def load_messages(port: int, seconds: float) -> Load:
    """WebSocket messages of 100 bytes, each sent when the one before it has come back. Raises RuntimeError."""
    argv = [sys.executable, "-m", "benchmarks.websocket", "load", str(port), str(CONNECTIONS), f"{seconds:g}"]
    with on_cpu(load_cpu()):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + 30, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"no messages could be sent: {done.stderr}")
    said = json.loads(done.stdout)
    return Load(said["messages"], said["bad"], 0, said["messages"] / seconds, said["p99_ms"])


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
