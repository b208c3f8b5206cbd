from __future__ import annotations

import sys

import pytest

from proxy.cli import demo


@pytest.mark.parametrize(
    ("output", "is_terminal", "no_color", "colour"),
    [
        (None, True, "", True),
        (None, True, "1", False),
        (None, False, "", False),
        ("rich", False, "1", True),
        ("plain", True, "", False),
    ],
)
def test_colours_are_for_terminals_unless_asked_for(monkeypatch, output, is_terminal, no_color, colour):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert demo.wants_colour(output) is colour


@pytest.mark.parametrize("arguments", [["--requests", "0"], ["--output", "xml"], ["extra"], ["--twice"]])
def test_a_bad_command_line_is_exit_code_2(arguments, capsys):
    assert demo.main(arguments) == 2
    assert "Error" in capsys.readouterr().err
