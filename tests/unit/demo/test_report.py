from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from proxy.demo.metrics import Hop
from proxy.demo.plain import render
from proxy.demo.pretty import show
from proxy.demo.report import BAR_WIDTH, COLUMNS, Report, bar, cells, trace_rows
from proxy.demo.script import FLAKY
from proxy.demo.trace import Node, roots


@pytest.fixture
def report(spans_of):
    return Report(
        summary="20 requests sent",
        trace_id="abc",
        trace=roots(spans_of(FLAKY)),
        hops=[Hop("frontend", "inbound", 20, {2: 18, 4: 1, 5: 1}, 3, 1.25, 9.5, 364, 2357)],
        logs=[("frontend", "[now] GET /flaky 200 trace=abc")],
        urls=[("collector", "http://127.0.0.1:1/api/v2/traces")],
        files="/tmp/somewhere",
        problems=[],
    )


def test_the_plain_tree_has_joints_bars_and_errors(report):
    text = render(report)
    assert text.isascii()
    tree = text.split("TRACE abc\n")[1].split("\n\n")[0].splitlines()
    assert [re.sub(r" +\|[ #]+\| .*", "", line) for line in tree] == [
        "frontend SERVER GET /",
        "`- frontend CLIENT GET /",
        "   |- backend SERVER GET /",
        "   `- backend SERVER GET /",
    ]
    assert all(line.count("#") >= 1 for line in tree)
    assert [line.endswith("ERROR") for line in tree] == [False, False, True, False]


@pytest.mark.parametrize("printed", ["plain", "rich"])
def test_both_printers_say_everything(report, printed):
    report.problems = ["backend inbound: requests is 1, not 2"]
    out = io.StringIO()
    if printed == "plain":
        out.write(render(report))
    else:
        show(report, Console(file=out, width=120))
    text = out.getvalue()
    for word in (
        "abc",
        "503",
        "9.00 ms",
        "18",
        "2357",
        "1.2",
        report.logs[0][1],
        report.urls[0][1],
        report.files,
    ):
        assert word in text
    assert "PROBLEM: backend inbound: requests is 1, not 2" in text
    assert "OK:" not in text


def test_a_table_row_fits_its_headings(report):
    assert len(cells(report.hops[0])) == len(COLUMNS)
    assert cells(Hop("a", "b"))[6:8] == ["-", "-"]


def test_no_trace_is_said(report):
    report.trace = []
    assert "(no span has come)" in render(report)


def node(start_ms: float, duration_ms: float) -> Node:
    return Node("1", "s", "SERVER", "n", "200", False, start_ms, duration_ms)


@pytest.mark.parametrize("start_ms", [0.0, 3.0, 9.999, 10.0])
@pytest.mark.parametrize("duration_ms", [0.0, 0.001, 5.0, 10.0])
def test_a_bar_is_seen_and_stays_within_its_frame(start_ms, duration_ms):
    before, marks = bar(node(start_ms, duration_ms), 10.0)
    assert before >= 0 and marks >= 1 and before + marks <= BAR_WIDTH


def test_a_trace_without_length_fills_the_frame():
    assert trace_rows([node(0.0, 0.0)], "", "", "")[0].bar == (0, BAR_WIDTH)
