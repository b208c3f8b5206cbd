"""The report as plain ASCII text: for pipes, logs and NO_COLOR."""

from __future__ import annotations

from proxy.demo.report import BAR_WIDTH, COLUMNS, UNITS, Report, cells, trace_rows


def render(report: Report) -> str:
    """The whole report, ending with a line feed."""
    lines = [report.summary, "", f"TRACE {report.trace_id}", *_trace(report)]
    lines += ["", f"METRICS PER HOP (from /stats/prometheus; {UNITS})", *_table(report)]
    lines += ["", "ACCESS LOG (that trace's line of each sidecar)"]
    lines += [f"{sidecar}: {line}" for sidecar, line in report.logs]
    width = max((len(what) for what, _ in report.urls), default=0)
    lines += ["", "LOOK AT"]
    lines += [f"  {what:<{width}}  {where}" for what, where in report.urls]
    lines += [f"  {'files':<{width}}  {report.files}", ""]
    lines += [f"PROBLEM: {problem}" for problem in report.problems]
    if not report.problems:
        lines.append("OK: one connected trace per request; metrics and access logs agree with what was sent")
    return "\n".join(lines) + "\n"


def _trace(report: Report) -> list[str]:
    lines = []
    for row in trace_rows(report.trace, "`- ", "|- ", "|  "):
        node, (before, marks) = row.node, row.bar
        drawn = (" " * before + "#" * marks).ljust(BAR_WIDTH)
        error = "  ERROR" if node.is_error else ""
        label = f"{row.branch}{node.service} {node.kind} {node.name}"
        lines.append((label, f"|{drawn}| {node.duration_ms:8.2f} ms  {node.status}{error}"))
    width = max((len(label) for label, _ in lines), default=0)
    return [f"{label:<{width}}  {rest}" for label, rest in lines] or ["(no span has come)"]


def _table(report: Report) -> list[str]:
    rows = [list(COLUMNS), *(cells(hop) for hop in report.hops)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
