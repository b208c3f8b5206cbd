"""JSON read slowly: what only protobuf's C++ parser takes (json_text), and the place of everything."""

from __future__ import annotations

import json
import re
from math import isinf
from typing import Any

from proxy.api.json_text import json_object
from proxy.api.marks import Mark
from proxy.api.yaml_text import MAX_DEPTH, TextError

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BARE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_STRING = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL) for quote in "\"'"}
#: escapes are looked at whole: behind one of a backslash a quote is bare
_QUOTE = re.compile(r'\\.|"', re.DOTALL)
_DOUBLED = {"\\'": "'", '"': '\\"'}
_LONE = re.compile("[\ud800-\udfff]")
_WORDS = {"true": True, "false": False, "null": None}


def _double(single: str) -> str:
    """The inside of a single-quoted text as the inside of a double-quoted one."""
    return _QUOTE.sub(lambda found: _DOUBLED.get(found[0], found[0]), single)


class Scanner:
    """Reads a document with the place of every value."""

    __slots__ = ("_at", "_depth", "_line", "_line_start", "_seen", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        # The line of the last place asked for: places are asked for in order.
        self._seen = 0
        self._line = 1
        self._line_start = 0

    def document(self) -> tuple[Any, Mark]:
        """The only value of the text, and its marks. Raises TextError."""
        result = self._value()
        if self._peek():
            raise self._wrong("has something after the end of the document")
        return result

    def _peek(self) -> str:
        match = _BLANK.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _place(self, at: int) -> tuple[int, int]:
        newline = self._text.rfind("\n", self._seen, at)
        if newline >= 0:
            self._line += self._text.count("\n", self._seen, at)
            self._line_start = newline + 1
        self._seen = at
        return self._line, at - self._line_start + 1

    def _wrong(self, message: str) -> TextError:
        line = self._text.count("\n", 0, self._at) + 1
        return TextError(message, line, self._at - (self._text.rfind("\n", 0, self._at) + 1) + 1)

    def _value(self) -> tuple[Any, Mark]:
        first = self._peek()
        mark = Mark(*self._place(self._at))
        if first == "{":
            return self._inside(self._pairs, mark)
        if first == "[":
            return self._inside(self._elements, mark)
        if first in ('"', "'"):
            return self._string(first), mark
        return self._word(), mark

    def _inside(self, read: Any, mark: Mark) -> tuple[Any, Mark]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"is nested deeper than {MAX_DEPTH} levels")
        self._at += 1
        value = read(mark)
        self._depth -= 1
        return value, mark

    def _pairs(self, mark: Mark) -> dict[str, Any]:
        pairs: list[tuple[str, Any]] = []
        mark.keys = {}
        while (first := self._peek()) != "}":
            place = self._place(self._at)
            key = self._string(first) if first in ('"', "'") else self._bare()
            if self._peek() != ":":
                raise self._wrong('expects ":" after a key')
            self._at += 1
            value, child = self._value()
            pairs.append((key, value))
            mark.keys[key] = child.at(*place)
            self._comma("}")
        self._at += 1
        return json_object(pairs)

    def _elements(self, mark: Mark) -> list[Any]:
        items: list[Any] = []
        mark.items = []
        while self._peek() != "]":
            value, child = self._value()
            items.append(value)
            mark.items.append(child)
            self._comma("]")
        self._at += 1
        return items

    def _comma(self, end: str) -> None:
        after = self._peek()
        if after == ",":
            self._at += 1
        elif after != end:
            raise self._wrong(f'expects "," or "{end}"')

    def _string(self, quote: str) -> str:
        match = _STRING[quote].match(self._text, self._at)
        if match is None:
            raise self._wrong("has a text without an end")
        inner = match[1] if quote == '"' else _double(match[1])
        try:
            value: str = json.loads(f'"{inner}"', strict=False)
        except ValueError:
            raise self._wrong("has a bad escape in a text") from None
        if _LONE.search(value):
            raise self._wrong("has half a surrogate pair in a text")
        self._at = match.end()
        return value

    def _bare(self) -> str:
        match = _BARE.match(self._text, self._at)
        if match is None:
            raise self._wrong("expects a key" if self._peek() else "ends too early")
        self._at = match.end()
        return match[0]

    def _word(self) -> Any:
        match = _NUMBER.match(self._text, self._at)
        if match is not None:
            if isinf(float(match[0])):
                raise self._wrong("has a number that is too large")
            self._at = match.end()
            return json.loads(match[0])
        match = _BARE.match(self._text, self._at)
        if match is None or match[0] not in _WORDS:
            raise self._wrong("expects a value" if self._peek() else "ends too early")
        self._at = match.end()
        return _WORDS[match[0]]
