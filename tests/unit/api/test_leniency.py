"""Where PyYAML with ``ParseDict`` and Envoy do not agree, ours is Envoy's result (tests.support.leniency).
``tests/parity/test_leniency_table.py`` holds the same table against the real Envoy."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from proxy.api.load import BOOTSTRAP, load_text
from proxy.api.pool import new_message, pool
from tests.support.leniency import ROWS, Row


def at(value: Any, path: str) -> Any:
    """What stands at a path of a message in proto3-JSON form."""
    for name, index, key in re.findall(r'\.?([a-z_0-9]+)|\[(\d+)\]|\["([^"]*)"\]', path):
        value = value[int(index)] if index else value[name or key]
    return value


def test_there_are_22() -> None:
    assert len(ROWS) == 22


@pytest.mark.parametrize("name", ROWS)
def test_as_envoy_reads_it(name: str) -> None:
    row = ROWS[name]
    loaded = load_text(BOOTSTRAP, row.text)
    assert [finding.path for finding in loaded.errors.findings] == ([row.refused] if row.refused else [])
    if not row.refused:
        read = json_format.MessageToDict(
            loaded.message, preserving_proto_field_name=True, descriptor_pool=pool()
        )
        found = at(read, row.path)
        assert (found, type(found)) == (row.value, type(row.value))


def plain_parser_accepts(row: Row) -> bool:
    """What the table is about: PyYAML and protobuf's own JSON parser."""
    try:
        json_format.ParseDict(yaml.safe_load(row.text), new_message(BOOTSTRAP), descriptor_pool=pool())
    except (yaml.YAMLError, json_format.ParseError, ValueError, TypeError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("name", ROWS)
def test_the_row_belongs_in_the_table(name: str) -> None:
    """Each is a difference: the plain parser says the opposite."""
    row = ROWS[name]
    assert plain_parser_accepts(row) == bool(row.refused)
