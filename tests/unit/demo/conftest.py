"""Spans as the sidecars report them, made by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from proxy.demo.script import Call

Span = dict[str, Any]


def span(
    span_id: str, service: str, kind: str, status: int, parent: str = "", start: int = 0, duration: int = 1000
) -> Span:
    """start and duration in microseconds."""
    tags = {"http.status_code": str(status), **({"error": "true"} if status >= 500 else {})}
    made: Span = {
        "traceId": "t",
        "id": span_id,
        "kind": kind,
        "name": "GET /",
        "timestamp": 1_000_000 + start,
        "duration": duration,
        "localEndpoint": {"serviceName": service},
        "tags": tags,
    }
    return made | ({"parentId": parent} if parent else {})


@pytest.fixture
def spans_of() -> Callable[[Call], list[Span]]:
    """The spans that one call leaves behind when all is well."""
    numbers = count(1)

    def make(call: Call) -> list[Span]:
        one, two = f"{next(numbers):016x}", f"{next(numbers):016x}"
        spans = [
            span(one, "frontend", "SERVER", call.status, duration=9000),
            span(two, "frontend", "CLIENT", call.status, one, 1000, 7000),
        ]
        for at, status in enumerate(call.backend):
            own = f"{next(numbers):016x}"
            spans.append(span(own, "backend", "SERVER", status, two, 2000 + 3000 * at, 1000))
        return spans

    return make
