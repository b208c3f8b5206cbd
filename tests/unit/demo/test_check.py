from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from proxy.demo.check import check_answers, check_logs, check_metrics, check_traces
from proxy.demo.metrics import Hop
from proxy.demo.script import BROKEN, CHECKOUT, FLAKY, MISSING

SENT = [CHECKOUT, FLAKY, MISSING, BROKEN]


@pytest.fixture
def traces(spans_of: Callable[..., Any]) -> dict[str, Any]:
    return {str(number): spans_of(call) for number, call in enumerate(SENT)}


def good_hops() -> list[Hop]:
    body = len(CHECKOUT.body)
    return [
        Hop("frontend", "inbound", 4, {2: 2, 4: 1, 5: 1}, 0, body_bytes_in=body),
        Hop("frontend", "outbound", 4, {2: 2, 4: 1, 5: 1}, 1, body_bytes_in=body),
        Hop("backend", "inbound", 5, {2: 2, 4: 1, 5: 2}, 0, body_bytes_in=body),
    ]


def test_all_well_is_no_sentence(traces):
    assert check_answers(SENT, [200, 200, 404, 500]) == []
    assert check_traces(SENT, traces) == []
    assert check_metrics(SENT, good_hops()) == []
    assert check_logs(SENT, {"frontend": 8, "backend": 5}) == []


def test_wrong_answers_are_named_and_counted():
    assert check_answers([CHECKOUT, CHECKOUT, BROKEN], [0, 0, 500]) == [
        "2 x POST /checkout was answered 0, not 200"
    ]


def test_a_cut_trace_is_both_missing_and_unexpected(traces):
    del traces["3"][1]
    problems = check_traces(SENT, traces)
    assert len(problems) == 2
    assert (
        "no trace of the form frontend SERVER 500 > frontend CLIENT 500 > backend SERVER 500" in problems[0]
    )
    assert "unexpected trace" in problems[1]


def test_two_traces_run_together_are_found(traces):
    traces["0"] += traces.pop("3")
    assert check_traces(SENT, traces)


@pytest.mark.parametrize(
    ("at", "field", "value"),
    [(0, "requests", 3), (1, "retries", 0), (2, "classes", {2: 5}), (0, "body_bytes_in", 1)],
)
def test_a_wrong_number_is_named(at, field, value):
    rows = good_hops()
    setattr(rows[at], field, value)
    (problem,) = check_metrics(SENT, rows)
    assert f"{rows[at].sidecar} {rows[at].listener}: {field} is {value}, not " in problem


def test_a_missing_hop_and_missing_lines_are_named():
    assert check_metrics(SENT, good_hops()[:2]) == ["backend inbound: not on the metrics page"]
    assert check_logs(SENT, {"frontend": 8}) == ["backend: 0 access-log lines, not 5"]
