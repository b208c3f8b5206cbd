"""What the demo shows, as plain values: two printers make text (``plain``) and colours (``pretty``) of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from proxy.demo.metrics import Hop
from proxy.demo.trace import Node

BAR_WIDTH = 28

#: headings of the metrics table; the first column is text, the others are numbers
COLUMNS = ("sidecar, listener", "requests", "2xx", "4xx", "5xx", "retries", "p50", "p95", "in", "out")
UNITS = "p50, p95: ms, estimated from buckets; in, out: body bytes"


@dataclass(slots=True)
class Report:
    """trace: the roots of the one that is drawn (one root, when it is connected)

    logs: (sidecar, its access-log line of that trace); urls: (what, where); problems: sentences of ``check``
    """

    summary: str
    trace_id: str
    trace: list[Node]
    hops: list[Hop]
    logs: list[tuple[str, str]]
    urls: list[tuple[str, str]]
    files: str
    problems: list[str]


def cells(hop: Hop) -> list[str]:
    """One row of the metrics table."""
    counts = [hop.requests, hop.of_class(2), hop.of_class(4), hop.of_class(5), hop.retries]
    times = ["-" if isnan(ms) else f"{ms:.1f}" for ms in (hop.p50_ms, hop.p95_ms)]
    sizes = [hop.body_bytes_in, hop.body_bytes_out]
    return [f"{hop.sidecar} {hop.listener}", *map(str, counts), *times, *map(str, sizes)]


@dataclass(slots=True)
class Row:
    """One line of the drawn trace. branch: what joins it to its parent; bar: (blanks before it, marks) in BAR_WIDTH."""

    branch: str
    node: Node
    bar: tuple[int, int]


def trace_rows(trace: list[Node], last: str, other: str, pipe: str) -> list[Row]:
    """The trees line by line; last and other: the joints of a last and of any other child, pipe: passes one by."""
    total_ms = max((each.start_ms + each.duration_ms for top in trace for _, each in top.walk()), default=0.0)
    rows: list[Row] = []

    def grow(node: Node, joint: str, before: str) -> None:
        rows.append(Row(joint, node, bar(node, total_ms)))
        for at, child in enumerate(node.children):
            is_last = at == len(node.children) - 1
            blank = " " * len(pipe)
            grow(child, before + (last if is_last else other), before + (blank if is_last else pipe))

    for top in trace:
        grow(top, "", "")
    return rows


def bar(node: Node, total_ms: float, width: int = BAR_WIDTH) -> tuple[int, int]:
    """Where in the trace the span stood: (blanks before it, marks); at least one mark, all within the width."""
    if total_ms <= 0.0:
        return 0, width
    start = min(round(width * node.start_ms / total_ms), width - 1)
    marks = max(1, round(width * node.duration_ms / total_ms))
    return start, min(marks, width - start)
