from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.formatter.syntax import Command, parse


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain", ["plain"]),
        ("%%", ["%"]),
        ("100%% %PROTOCOL%%%", ["100% ", Command("PROTOCOL"), "%"]),
        ("%REQ(a?b):12%", [Command("REQ", "a?b", 12)]),
        ("%START_TIME(%Y(%m) %s)%x", [Command("START_TIME", "%Y(%m) %s"), "x"]),
        ("%A%%B%", [Command("A"), Command("B")]),
        ('%COALESCE({"o":["A)"]})%', [Command("COALESCE", '{"o":["A)"]}')]),
    ],
)
def test_parts(text: str, parts: list[str | Command]) -> None:
    assert parse(text) == parts


@pytest.mark.parametrize(
    ("text", "position"), [("%", 0), ("a %req(x)%", 2), ("%A", 0), ("%A%%%%B", 5), ("%A(\n)%", 0)]
)
def test_refuses_what_is_no_command_and_says_where(text: str, position: int) -> None:
    with pytest.raises(ValueError, match=f"Couldn't find valid command at position {position}$"):
        parse(text)


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_written_literally(text: str) -> None:
    parts = parse(text.replace("%", "%%"))
    assert parts == ([text] if text else [])
