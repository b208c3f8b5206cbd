"""The grammar of format strings: literal text, ``%%`` and ``%COMMAND(ARGUMENT):LENGTH%``.

Source: "Format Rules" of Envoy's access-log documentation; messages and corner cases as Envoy 1.40.0 was seen to have.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# The argument ends at the first ")" after which the command can end, so it may hold ")" itself.
_COMMAND: Final = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%")


class Command(NamedTuple):
    """One ``%...%``. ``max_length``: bytes at which the value is cut, None for no limit."""

    name: str
    argument: str = ""
    max_length: int | None = None


def parse(text: str) -> list[str | Command]:
    """Literal strings and commands in order; never two literals side by side. Raises ValueError."""
    parts: list[str | Command] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        mark = text.find("%", at)
        if mark < 0:
            literal.append(text[at:])
            break
        literal.append(text[at:mark])
        if text.startswith("%%", mark):
            literal.append("%")
            at = mark + 2
            continue
        found = _COMMAND.match(text, mark)
        if found is None:
            raise ValueError(
                f"Incorrect configuration: {text}. Couldn't find valid command at position {mark}"
            )
        if any(literal):
            parts.append("".join(literal))
        literal.clear()
        name, argument, length = found.groups()
        parts.append(Command(name, argument or "", None if length is None else int(length)))
        at = found.end()
    if any(literal):
        parts.append("".join(literal))
    return parts
