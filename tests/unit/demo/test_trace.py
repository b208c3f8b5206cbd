from __future__ import annotations

from proxy.demo.script import BROKEN, FLAKY
from proxy.demo.trace import roots, shape


def test_spans_become_a_tree_by_their_parents(spans_of):
    (top,) = roots(spans_of(FLAKY))
    assert [(depth, node.service, node.kind, node.status, node.is_error) for depth, node in top.walk()] == [
        (0, "frontend", "SERVER", "200", False),
        (1, "frontend", "CLIENT", "200", False),
        (2, "backend", "SERVER", "503", True),
        (2, "backend", "SERVER", "200", False),
    ]
    assert [(node.start_ms, node.duration_ms) for _, node in top.walk()] == [(0, 9), (1, 7), (2, 1), (5, 1)]


def test_arrival_order_does_not_matter(spans_of):
    spans = spans_of(FLAKY)
    assert shape(spans[::-1]) == shape(spans)


def test_a_missing_span_splits_the_trace(spans_of):
    spans = spans_of(BROKEN)
    assert len(roots(spans)) == 1
    assert len(roots([spans[0], spans[2]])) == 2
    assert shape([spans[0], spans[2]]) != shape(spans)


def test_no_spans_no_tree():
    assert roots([]) == []
