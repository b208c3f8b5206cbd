"""Spans as a collector gives them → the tree they form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.demo.collector import Span


@dataclass(slots=True)
class Node:
    """One span and those it caused, oldest first. start_ms: since the trace began."""

    span_id: str
    service: str
    kind: str
    name: str
    status: str
    is_error: bool
    start_ms: float
    duration_ms: float
    children: list[Node] = field(default_factory=list)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all below it with their depth, top down."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


def roots(spans: list[Span]) -> list[Node]:
    """The trees of one trace's spans; a connected trace has one. A span whose parent is not there is a root."""
    if not spans:
        return []
    began = min(int(span["timestamp"]) for span in spans)
    nodes = {str(span["id"]): _node(span, began) for span in spans}
    tops: list[Node] = []
    for span in sorted(spans, key=lambda each: int(each["timestamp"])):
        parent = nodes.get(str(span.get("parentId")))
        (parent.children if parent is not None else tops).append(nodes[str(span["id"])])
    return tops


def _node(span: Span, began: int) -> Node:
    tags = span.get("tags", {})
    return Node(
        span_id=str(span["id"]),
        service=str(span.get("localEndpoint", {}).get("serviceName", "?")),
        kind=str(span.get("kind", "?")),
        name=str(span.get("name", "")),
        status=str(tags.get("http.status_code", "?")),
        is_error=tags.get("error") == "true",
        start_ms=(int(span["timestamp"]) - began) / 1000.0,
        duration_ms=int(span["duration"]) / 1000.0,
    )


def shape(spans: list[Span]) -> tuple[tuple[int, str, str, str], ...]:
    """What of a trace is the same each time: (depth, service, kind, status) of every span, top down."""
    return tuple(
        (depth, node.service, node.kind, node.status) for top in roots(spans) for depth, node in top.walk()
    )
