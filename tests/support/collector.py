"""A Zipkin collector: takes what a tracer posts, chunked or not, and keeps the spans."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

from tests.support.upstream import Request, Script, Upstream, reply

Span = dict[str, Any]
ACCEPTED = reply(202, b"", reason="Accepted")


class Collector(Upstream):
    """Answers 202. ``requests`` holds the posts as they came, ``spans`` what was in them.

    A post that is not a JSON array of spans is kept in ``refused`` with its reason.
    """

    def __init__(self, script: Script = (ACCEPTED,), port: int = 0) -> None:
        self.spans: list[Span] = []
        self.refused: list[str] = []
        super().__init__(script, port)

    def on_request(self, request: Request) -> None:
        body = gzip.decompress(request.body) if request.one("content-encoding") == "gzip" else request.body
        try:
            spans = json.loads(body)
            self.spans += [span for span in spans if span["traceId"] and span["id"]]
        except (ValueError, KeyError, TypeError) as error:
            self.refused.append(f"{request.start_line}: {error!r}")

    def reset(self, script: Script | None = None) -> None:
        super().reset(script)
        self.spans, self.refused = [], []

    def wait_for_spans(self, count: int, timeout_s: float = 12.0) -> list[Span]:
        """Wait until so many spans have come, oldest first. Raises AssertionError when they do not."""
        deadline = time.monotonic() + timeout_s
        while len(self.spans) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.spans)} spans came, not {count}; refused: {self.refused}")
            time.sleep(0.02)
        return sorted(self.spans, key=lambda span: int(span.get("timestamp", 0)))
