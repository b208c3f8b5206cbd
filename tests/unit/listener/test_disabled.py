"""Listener filters that do not look at some connections."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.errors import Errors
from proxy.api.pool import new_message
from proxy.api.reader import Reader
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts
from proxy.listener.disabled import PREDICATE, Unless, compile_predicate

LOW = {"destination_port_range": {"start": 1, "end": 100}}
HIGH = {"destination_port_range": {"start": 90, "end": 200}}


def to_port(port: int) -> Facts:
    facts = Facts()
    facts.destination_port = port
    return facts


def reader_of(config: dict[str, Any]) -> Reader:
    from google.protobuf import json_format

    message = new_message(PREDICATE)
    json_format.ParseDict(config, message)
    return Reader(message, "filter_disabled", Errors())


@pytest.mark.parametrize(
    "config, ports",
    [
        ({"any_match": True}, [1, 89, 95, 100, 150]),
        ({"any_match": False}, []),
        (LOW, [1, 89, 95]),
        ({"not_match": LOW}, [100, 150]),
        ({"and_match": {"rules": [LOW, HIGH]}}, [95]),
        ({"or_match": {"rules": [LOW, {"not_match": HIGH}]}}, [1, 89, 95]),
    ],
)
def test_predicates(config: dict[str, Any], ports: list[int]) -> None:
    holds = compile_predicate(reader_of(config))
    assert [port for port in (1, 89, 95, 100, 150) if holds(to_port(port))] == ports


def test_a_predicate_without_a_rule_is_a_finding() -> None:
    reader = reader_of({})
    compile_predicate(reader)
    assert [each.path for each in reader.errors.findings] == ["filter_disabled.rule"]


def test_a_filter_that_is_disabled_does_not_look() -> None:
    class Never(Inspector):
        def inspect(self, data: bytes, facts: Facts) -> bool | None:
            return False

    filter = Unless(compile_predicate(reader_of(LOW)), Never())
    assert filter.inspect(b"", to_port(1)) is True
    assert filter.inspect(b"", to_port(100)) is False
