"""The two services. They know nothing of proxies and have no tracing library.

All that tracing asks of an application is in ``Frontend``: copy the headers of TRACE_HEADERS from the request it
serves to the requests it makes meanwhile. The sidecars do the rest.
"""

from __future__ import annotations

import asyncio
import json

from proxy.demo.wire import NoAnswer, Request, Response, fetch

#: what an application behind a sidecar passes on
TRACE_HEADERS = frozenset(
    (
        *("x-request-id", "traceparent", "tracestate", "baggage", "b3"),
        *("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
    )
)
SLOW_S = 0.12
JSON = [("content-type", "application/json")]


class Frontend:
    """Serves a page by asking the backend, through its own sidecar's outbound port (0 until that is known)."""

    def __init__(self) -> None:
        self.outbound_port = 0

    async def handle(self, request: Request) -> Response:
        """The answer to one request: what the backend says, in an envelope."""
        passed_on = [field for field in request.headers if field[0] in TRACE_HEADERS]
        try:
            answer = await fetch(
                self.outbound_port,
                request.method,
                request.path,
                [("host", "backend"), *passed_on],
                request.body,
            )
        except NoAnswer:
            return Response(502, b'{"frontend":"the backend does not answer"}\n', list(JSON))
        body = b'{"frontend":"ok","backend":%b}\n' % (answer.body.strip() or b"null")
        return Response(answer.status, body, list(JSON))


async def backend(request: Request) -> Response:
    """A shop's stock: /checkout, /slow, /flaky (fails at the first try), /broken (fails always); 404 for the rest."""
    path = request.path.partition("?")[0]
    if path == "/slow":
        await asyncio.sleep(SLOW_S)
    if path == "/broken" or (path == "/flaky" and request.one("x-envoy-attempt-count") in (None, "1")):
        status = 500 if path == "/broken" else 503
        return Response(status, b'{"error":"out of order"}', list(JSON))
    if path not in ("/", "/checkout", "/slow", "/flaky"):
        return Response(404, b'{"error":"no such thing"}', list(JSON))
    items = [{"item": name, "left": 7 * len(name)} for name in ("saddle", "bridle", "lantern")]
    return Response(200, json.dumps({"stock": items}, separators=(",", ":")).encode(), list(JSON))
