"""A Zipkin collector in memory: takes spans at POST /api/v2/spans and gives traces back as Zipkin's query API does."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proxy.demo.wire import Request, Response

Span = dict[str, Any]
#: older traces make room for newer ones
TRACE_LIMIT = 1000
JSON = [("content-type", "application/json")]


class Collector:
    """Spans by trace id, oldest trace first."""

    def __init__(self) -> None:
        self.traces: dict[str, list[Span]] = {}
        self.refused = 0

    async def handle(self, request: Request) -> Response:
        """One request to the collector."""
        url = urlsplit(request.path)
        if request.method == "POST" and url.path == "/api/v2/spans":
            return self._take(request.body)
        if request.method != "GET":
            return Response(405)
        if url.path == "/api/v2/services":
            return _json(sorted({_service(span) for spans in self.traces.values() for span in spans}))
        if url.path == "/api/v2/traces":
            limit = parse_qs(url.query).get("limit", ["10"])[0]
            newest = list(self.traces.values())[::-1]
            return _json(newest[: int(limit) if limit.isdigit() else 10])
        prefix, _, trace_id = url.path.rpartition("/")
        if prefix == "/api/v2/trace" and trace_id in self.traces:
            return _json(self.traces[trace_id])
        return Response(404)

    def _take(self, body: bytes) -> Response:
        try:
            spans = [(str(span["traceId"]), span) for span in json.loads(body)]
        except (ValueError, KeyError, TypeError):
            self.refused += 1
            return Response(400)
        for trace_id, span in spans:
            self.traces.setdefault(trace_id, []).append(span)
        while len(self.traces) > TRACE_LIMIT:
            del self.traces[next(iter(self.traces))]
        return Response(202)


def _service(span: Span) -> str:
    return str(span.get("localEndpoint", {}).get("serviceName", "unknown"))


def _json(value: object) -> Response:
    return Response(200, json.dumps(value, indent=1).encode() + b"\n", list(JSON))
