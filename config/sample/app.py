"""One service of the sample: answers, after asking the next one. See README.md."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: what an application has to copy so that traces hang together
TRACE_HEADERS = (
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
)
TIMEOUT_S = 5.0


class Handler(BaseHTTPRequestHandler):
    """GET /health answers for itself; GET of anything else asks NEXT first."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"name": NAME, "ok": True})
            return
        if not NEXT:
            self.answer(200, {"name": NAME, "in_stock": 7})
            return
        headers = {}
        if PROPAGATE:
            headers = {name: self.headers[name] for name in TRACE_HEADERS if name in self.headers}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(NEXT, headers=headers), timeout=TIMEOUT_S
            ) as answer:
                self.answer(200, {"name": NAME, "next": json.load(answer)})
        except (OSError, ValueError) as error:
            status = error.code if isinstance(error, urllib.error.HTTPError) else 502
            self.answer(status, {"name": NAME, "error": str(error)})

    def answer(self, status: int, content: dict[str, object]) -> None:
        body = (json.dumps(content) + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        sys.stderr.write(f"{NAME}: {format % args}\n")


NAME = os.environ.get("NAME", "service")
NEXT = os.environ.get("NEXT", "")
PROPAGATE = os.environ.get("PROPAGATE", "true") == "true"


def main() -> None:
    address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
    server = ThreadingHTTPServer(address, Handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stderr.write(f"{NAME}: listening on {server.server_address[0]}:{server.server_address[1]}\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
