"""The report in colour, by rich; imported only when somebody looks at a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.demo.report import BAR_WIDTH, COLUMNS, UNITS, Report, cells, trace_rows

KIND_STYLE = {"SERVER": "cyan", "CLIENT": "magenta"}


def show(report: Report, console: Console | None = None) -> None:
    """Print the whole report."""
    console = console or Console(highlight=False)
    console.print(report.summary, soft_wrap=True)
    console.rule(f"trace [bold]{report.trace_id}", align="left")
    console.print(_trace(report))
    console.rule("metrics per hop, from /stats/prometheus", align="left")
    console.print(_table(report))
    console.rule("access log, that trace's line of each sidecar", align="left")
    for sidecar, line in report.logs:
        console.print(Text.assemble((f"{sidecar} ", "bold"), line), soft_wrap=True)
    console.rule("look at", align="left")
    for what, where in [*report.urls, ("files", report.files)]:
        console.print(Text.assemble((f"{what:<32}", "dim"), where), soft_wrap=True)
    for problem in report.problems:
        console.print(Text(f"PROBLEM: {problem}", "bold red"), soft_wrap=True)
    if not report.problems:
        console.print(
            Text(
                "OK: one connected trace per request; metrics and access logs agree with what was sent",
                "green",
            )
        )


def _trace(report: Report) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, justify="right")
    grid.add_column(no_wrap=True)
    for row in trace_rows(report.trace, "└─ ", "├─ ", "│  "):
        node, (before, marks) = row.node, row.bar
        style = "red" if node.is_error else "green"
        kind = (node.kind, KIND_STYLE.get(node.kind, ""))
        grid.add_row(
            Text.assemble((row.branch, "dim"), (node.service, "bold"), " ", kind, f" {node.name}"),
            Text.assemble(
                ("·" * before, "dim"), ("█" * marks, style), ("·" * (BAR_WIDTH - before - marks), "dim")
            ),
            f"{node.duration_ms:.2f} ms",
            Text(node.status + (" error" if node.is_error else ""), style),
        )
    return grid


def _table(report: Report) -> Table:
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, caption=UNITS, caption_justify="left"
    )
    for at, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="right" if at else "left", no_wrap=True)
    for hop in report.hops:
        table.add_row(*cells(hop))
    return table
