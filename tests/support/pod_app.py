"""An application that knows no proxy, run in a pod: HTTP on 8080, gRPC on 50051, and two TCP services.

8080: / says who asked; /call?url=... asks another one and passes its answer on, with the headers that carry a trace (as
instrumented applications do). 7000 echoes; 7001 speaks first. ``ask`` KIND HOST PORT is a client of each: http, http2,
grpc, websocket, echo, banner.
"""

from __future__ import annotations

import http.client
import http.server
import socket
import sys
import threading
import urllib.parse
from concurrent import futures

PASSED_ON = ("x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
BANNER = b"220 ready\r\n"
METHOD = "/echo.Echo/Say"


class App(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, or ask another one, or speak WebSocket (bytes are echoed; frames are theirs who send them)."""
        if self.headers.get("upgrade"):
            self._upgrade()
            return
        parts = urllib.parse.urlsplit(self.path)
        status, body = 200, f"{self.server.name} asked by {self.client_address[0]}".encode()  # type: ignore[attr-defined]
        if parts.path == "/call":
            status, body = self._call(urllib.parse.parse_qs(parts.query)["url"][0])
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _upgrade(self) -> None:
        self.wfile.write(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
        )
        while data := self.connection.recv(65536):
            self.connection.sendall(data)
        self.close_connection = True

    def _call(self, url: str) -> tuple[int, bytes]:
        parts = urllib.parse.urlsplit(url)
        headers = {name: value for name in PASSED_ON if (value := self.headers.get(name)) is not None}
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=10)
        try:
            connection.request("GET", f"{parts.path or '/'}?{parts.query}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


class DualStack(http.server.ThreadingHTTPServer):
    """IPv6 and IPv4 on one socket."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def _tcp(port: int, speak: bool) -> None:
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        sock, peer = listener.accept()
        threading.Thread(target=_tcp_one, args=(sock, peer, speak), daemon=True).start()


def _tcp_one(sock: socket.socket, peer: tuple[str, int], speak: bool) -> None:
    with sock:
        if speak:
            sock.sendall(BANNER)
        while data := sock.recv(65536):
            sock.sendall(data)


def serve(name: str) -> None:
    """All services, until killed."""
    import grpc  # type: ignore[import-untyped]

    server = DualStack(("::", 8080), App)
    server.name = name  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for port, speak in ((7000, False), (7001, True)):
        threading.Thread(target=_tcp, args=(port, speak), daemon=True).start()
    say = grpc.unary_unary_rpc_method_handler(lambda request, context: name.encode() + b" heard " + request)
    handler = grpc.method_handlers_generic_handler("echo.Echo", {"Say": say})
    rpc = grpc.server(futures.ThreadPoolExecutor(2), handlers=(handler,))
    rpc.add_insecure_port("[::]:50051")
    rpc.start()
    print("serving", flush=True)
    threading.Event().wait()


def ask(kind: str, host: str, port: int) -> str:
    """One exchange as a client; what came."""
    if kind == "grpc":
        import grpc

        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        with grpc.insecure_channel(target) as channel:
            answer: bytes = channel.unary_unary(METHOD)(b"hello", timeout=10)
            return answer.decode()
    if kind == "websocket":
        with socket.create_connection((host, port), 15) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            reader = sock.makefile("rb")
            status = reader.readline().split()[1].decode()
            while reader.readline().strip():
                continue
            sock.sendall(b"\x81\x02hi")
            return f"{status} {reader.read(4)!r}"
    if kind in ("echo", "banner"):
        with socket.create_connection((host, port), 15) as sock:
            if kind == "banner":
                return sock.recv(100).decode().strip()
            sock.sendall(b"\x00\x01 not http")
            return sock.recv(100).decode().strip()
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", kind)
    answered = connection.getresponse()
    return f"{answered.status} {answered.read().decode()}"


def main(arguments: list[str]) -> None:
    """``serve NAME``, or ``ask`` and triples of KIND HOST PORT; a path as KIND asks over HTTP."""
    if arguments[0] == "serve":
        serve(arguments[1])
    for kind, host, port in zip(arguments[1::3], arguments[2::3], arguments[3::3], strict=True):
        print(ask(kind, host, int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
