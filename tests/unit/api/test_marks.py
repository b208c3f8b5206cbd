"""A field path leads to its place in the text."""

from __future__ import annotations

from functools import partial

import pytest

from proxy.api.json_text import mark_json
from proxy.api.marks import TextLocator, child_path, join_paths, key_step, parent_path, paths_around
from proxy.api.yaml_text import mark_yaml

BASE = """\
node: {id: a}
static_resources:
  clusters:
  - name: one
    lbPolicy: RANDOM
  - name: two
    metadata:
      filter_metadata:
        "a.b": {x: 1}
  listeners:
    name: alone
"""
OVERLAY = """\
node: {id: b}
static_resources:
  clusters:
  - name: three
"""


def locator(*texts: tuple[str, str]) -> TextLocator:
    return TextLocator([(file, partial(mark_yaml, text)) for file, text in texts])


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("", 1, 1),
        ("node.id", 1, 8),
        ("static_resources.clusters[0].lb_policy", 5, 5),
        ("static_resources.clusters[1].name", 6, 5),
        ('static_resources.clusters[1].metadata.filter_metadata["a.b"].x', 9, 17),
        ("static_resources.listeners[0].name", 11, 5),
        ("static_resources.clusters[1].metadata.gone.further", 7, 5),
        ("static_resources.clusters[7].name", 3, 3),
        ("admin.address", 1, 1),
    ],
)
def test_places(path: str, line: int, column: int) -> None:
    assert locator(("f", BASE)).locate(path) == ("f", line, column)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("node.id", ("over", 1, 8)),
        ("static_resources.clusters[1].name", ("base", 6, 5)),
        ("static_resources.clusters[2].name", ("over", 4, 5)),
        ("static_resources.listeners[0].name", ("base", 11, 5)),
        ("", ("base", 1, 1)),
    ],
)
def test_places_in_merged_texts(path: str, place: tuple[str, int, int]) -> None:
    assert locator(("base", BASE), ("over", OVERLAY)).locate(path) == place


def test_without_marks_there_is_still_the_file() -> None:
    assert locator(("f", "a: [")).locate("a") == ("f", None, None)
    assert TextLocator([]).locate("a") == (None, None, None)


def test_marks_are_made_only_when_asked_for() -> None:
    calls = []
    lazy = TextLocator([("f", lambda: calls.append(1) or mark_json("{}"))])  # type: ignore[func-returns-value]
    assert calls == []
    lazy.locate("a")
    lazy.locate("b")
    assert calls == [1]


def test_paths() -> None:
    assert child_path("", "a") == "a"
    assert child_path("a", "b") == "a.b"
    assert join_paths("a", "[1].b") == "a[1].b"
    assert join_paths("a", "") == "a"
    assert join_paths("", "b") == "b"
    assert key_step('x"y\\') == '["x\\"y\\\\"]'
    nested = TextLocator([("f", partial(mark_json, '{"a": {"x\\"]y": {"b": 1}}}'))])
    assert nested.locate("a" + key_step('x"]y') + ".b") == ("f", 1, 18)


@pytest.mark.parametrize(
    ("path", "above"),
    [
        ("admin", ""),
        ("a.b_c", "a"),
        ("a.b[12]", "a.b"),
        ("a[0].b", "a[0]"),
        ('a["x.y[0]"]', "a"),
        (join_paths("a", key_step('q"]["')), "a"),
        ('a.b["@type"]', "a.b"),
        ("", ""),
    ],
)
def test_one_step_up(path: str, above: str) -> None:
    assert parent_path(path) == above


def test_everything_around() -> None:
    assert list(paths_around("a[0].b")) == ["a[0].b", "a[0]", "a"]
