"""Matchers of values in metadata: each kind against values that are and are not meant."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.metadata_matchers import compile_metadata_matcher, compile_value_matcher
from proxy.api.reader import unread
from tests.unit.router.tables import Config, reader_of

VALUE = "envoy.type.matcher.v3.ValueMatcher"
TEN = {"double_match": {"exact": 10}}


@pytest.mark.parametrize(
    ("config", "yes", "no"),
    [
        ({"null_match": {}}, [None], [False, "", 0]),
        ({"bool_match": False}, [False], [None, 0, "false"]),
        ({"present_match": True}, [None, 0, "x"], []),
        ({"present_match": False}, [], [None, "x"]),
        ({"string_match": {"prefix": "a"}}, ["ab"], ["b", None, 1]),
        (TEN, [10, 10.0], [9, "10", True]),
        ({"double_match": {"range": {"start": 1, "end": 2}}}, [1, 1.5], [2, 0.5, True]),
        ({"list_match": {"one_of": TEN}}, [[1, 10]], [[], 10, ["10"]]),
        ({"or_match": {"value_matchers": [TEN, {"bool_match": True}]}}, [10, True], [False, 1]),
    ],
)
def test_kinds(config: Config, yes: list[Any], no: list[Any]) -> None:
    reader = reader_of(VALUE, config)
    matches = compile_value_matcher(reader)
    assert not reader.errors.findings and not unread(reader)
    assert [value for value in yes if not matches(value)] == []
    assert [value for value in no if matches(value)] == []


def test_a_path_that_leads_nowhere_matches_nothing_unless_inverted() -> None:
    config: Config = {"filter": "f", "path": [{"key": "a"}, {"key": "b"}], "value": {"present_match": True}}
    kind = "envoy.type.matcher.v3.MetadataMatcher"
    plain = compile_metadata_matcher(reader_of(kind, config))
    inverted = compile_metadata_matcher(reader_of(kind, {**config, "invert": True}))
    for metadata in (None, {}, {"f": {"a": 1}}, {"f": {"a": {"c": 1}}}):
        assert (plain(metadata), inverted(metadata)) == (False, True)
    assert (plain({"f": {"a": {"b": None}}}), inverted({"f": {"a": {"b": 0}}})) == (True, False)
