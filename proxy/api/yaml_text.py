"""YAML as Envoy's parser (yaml-cpp) understands it, into plain values; or into marks.

Works on libyaml's events, which is three times faster than PyYAML's loader and lets every bound be checked on the
way. What differs from PyYAML's own rules: only the first document counts; quoted scalars are text, whatever they
look like; plain ones are null, a boolean (y, yes, on, true and their opposites), an integer (decimal, 0x, 0 octal) or
text: no dates, no sexagesimals, no floats (a float field reads its number from the text later); whole numbers beyond
32 bits stay text; keys tagged ``!ignore`` are dropped; there are no merge keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol

from proxy.api.marks import Mark

MAX_DEPTH = 100
# What aliases may add, counted in nodes and in 64-byte pieces of text: far above real use, far below a "YAML bomb".
MAX_ALIASED = 500_000
# What has no effect and is said to have none: more of that is read by nobody.
MAX_NOTES = 100
MAX_LINES = 100_000  # beyond it nobody looks for tabs
_PIECE = 64

_INTEGER = r"[+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {
    variant: truth
    for words, truth in ((("y", "yes", "true", "on"), True), (("n", "no", "false", "off"), False))
    for word in words
    for variant in (word, word.upper(), word.capitalize())
}


# libyaml takes none of these (or takes them for line ends); to yaml-cpp they are characters like others. NUL and EOT
# stay refused: to yaml-cpp the one begins an escape within quotes, and the other ends some texts.
_ODD = "[\x01-\x03\x05-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]"
_STAND_INS = (0xF0000, 0x100000)  # planes of private characters: one of them a text does not use


class TextError(Exception):
    """The text is no YAML (or JSON) document; line and column are 1-based when known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class _Builder(Protocol):
    """What is made of the events."""

    def scalar(self, event: Any) -> Any: ...

    def mapping(self, event: Any, pairs: list[tuple[Any, Any]]) -> Any: ...

    def sequence(self, event: Any, items: list[Any]) -> Any: ...


def _key(event: Any) -> str:
    """Keys are text; a plain ``~`` reads "null", as in yaml-cpp."""
    text: str = event.value
    if text in _NULLS and event.implicit[0] and event.tag is None:
        return "null"
    return text


class Values:
    """Plain Python values: dict, list, str, int, bool, None."""

    __slots__ = ("_known", "_notes")

    def __init__(self, notes: list[TextError]) -> None:
        self._known: dict[str, Any] = {}
        self._notes = notes

    def scalar(self, event: Any) -> Any:
        """The value of a scalar event."""
        text: str = event.value
        if event.tag is None and event.implicit[0]:
            try:
                return self._known[text]
            except KeyError:
                value = self._known[text] = plain(text)
                return value
        if event.tag is None or event.tag == "!":
            return text
        return _resolve(text)

    def mapping(self, event: Any, pairs: list[tuple[Any, Any]]) -> Any:
        """A dict; the last of equal keys wins, and a note says so."""
        kept = [(_key(key), value) for key, value in pairs if key.tag != "!ignore"]
        value = dict(kept)
        if len(value) != len(kept):
            self._note_repeated([key for key, _ in pairs if key.tag != "!ignore"])
        return value

    def _note_repeated(self, keys: list[Any]) -> None:
        lines: dict[str, int] = {}
        for event in keys:
            name, mark = _key(event), event.start_mark
            if name in lines and len(self._notes) < MAX_NOTES:
                message = f'has "{name[:60]}" a second time; what stands at line {lines[name]} is not used'
                self._notes.append(_error(mark, message))
            lines[name] = mark.line + 1

    def sequence(self, event: Any, items: list[Any]) -> Any:
        """The list itself."""
        return items


class Marks:
    """A tree of ``Mark``."""

    __slots__ = ()

    def scalar(self, event: Any) -> Mark:
        """Where the scalar begins."""
        return Mark(event.start_mark.line + 1, event.start_mark.column + 1)

    def mapping(self, event: Any, pairs: list[tuple[Any, Any]]) -> Mark:
        """Where the mapping begins; each child stands where its key does."""
        mark = self.scalar(event)
        mark.keys = {
            _key(key): value.at(key.start_mark.line + 1, key.start_mark.column + 1) for key, value in pairs
        }
        return mark

    def sequence(self, event: Any, items: list[Any]) -> Mark:
        """Where the sequence begins."""
        mark = self.scalar(event)
        mark.items = items
        return mark


def read_yaml(text: str, notes: list[TextError] | None = None) -> Any:
    """The first document as plain values; None for an empty one. Raises TextError.

    notes: gets what stands in the text and has no effect, as Envoy reads it: repeated keys, further documents
    """
    notes = notes if notes is not None else []
    return _compose(text, Values(notes), notes)


def mark_yaml(text: str) -> Mark | None:
    """The marks of the first document; None when there is nothing to mark."""
    try:
        marks: Mark | None = _compose(text, Marks())
    except TextError:
        return None
    return marks


def plain(text: str) -> Any:
    """The value of a plain scalar."""
    return None if text in _NULLS else _resolve(text)


def _resolve(text: str) -> Any:
    truth = _BOOLS.get(text)
    if truth is not None:
        return truth
    if text[:1].isdigit() or text[:1] in ("-", "+"):
        return _integer(text)
    return text


def _integer(text: str) -> int | str:
    if len(text) > 24 or not re.fullmatch(_INTEGER, text):
        return text
    digits = text.lstrip("+-").lower()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") and len(digits) > 1 else 10
    value = int(digits, base) * (-1 if text.startswith("-") else 1)
    if not -(1 << 63) <= value < 1 << 63:
        return text
    return value if -(1 << 31) <= value < 1 << 31 else str(value)


class _Frame:
    """An open collection."""

    __slots__ = ("event", "items", "key", "pairs", "weight")

    def __init__(self, event: Any, pairs: list[tuple[Any, Any]] | None) -> None:
        self.event = event
        self.pairs = pairs
        self.items: list[Any] = []
        self.key: Any = None
        self.weight = 1


class _Composer:
    """Turns events into whatever the builder makes, without recursion."""

    __slots__ = ("aliased", "anchors", "builder", "open_anchors", "result", "stack", "yaml")

    def __init__(self, builder: _Builder, yaml: Any) -> None:
        self.builder = builder
        self.yaml = yaml
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open_anchors: set[str] = set()
        self.aliased = 0
        self.result: Any = None

    def run(self, events: Iterator[Any]) -> Any:
        """The value of the first document."""
        yaml = self.yaml
        scalar, sequence, mapping = yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent
        for event in events:
            kind = type(event)
            if kind is scalar:
                self._scalar(event)
            elif kind is mapping or kind is sequence:
                self._open(event, kind is mapping)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentEndEvent:
                break
        return self.result

    def further(self, events: Iterator[Any]) -> TextError | None:
        """A note about what follows the first document, when something does."""
        event = next(events)
        if type(event) is not self.yaml.DocumentStartEvent:
            return None
        return _error(event.start_mark, "begins another document here; only the first one is used")

    def _scalar(self, event: Any) -> None:
        stack = self.stack
        if stack and (frame := stack[-1]).pairs is not None and frame.key is None:
            frame.key = event
            if event.anchor is not None:
                self.anchors[event.anchor] = (self.builder.scalar(event), 1)
            return
        self._add(self.builder.scalar(event), 1 + len(event.value) // _PIECE, event.anchor)

    def _open(self, event: Any, is_mapping: bool) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise _error(event.start_mark, f"is nested deeper than {MAX_DEPTH} levels")
        if self.stack and self.stack[-1].pairs is not None and self.stack[-1].key is None:
            raise _error(event.start_mark, "has a mapping or a sequence as a key")
        if event.anchor is not None:
            self.open_anchors.add(event.anchor)
            self.anchors.pop(event.anchor, None)
        self.stack.append(_Frame(event, [] if is_mapping else None))

    def _close(self) -> None:
        frame = self.stack.pop()
        if frame.pairs is not None:
            value = self.builder.mapping(frame.event, frame.pairs)
        else:
            value = self.builder.sequence(frame.event, frame.items)
        self.open_anchors.discard(frame.event.anchor)
        self._add(value, frame.weight, frame.event.anchor)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            why = "refers to itself" if event.anchor in self.open_anchors else "has no anchor"
            raise _error(event.start_mark, f"alias *{event.anchor} {why}")
        value, weight = self.anchors[event.anchor]
        if self.stack and self.stack[-1].pairs is not None and self.stack[-1].key is None:
            raise _error(event.start_mark, f"alias *{event.anchor} stands as a key")
        self.aliased += weight
        if self.aliased > MAX_ALIASED:
            raise _error(event.start_mark, "grows too large through its aliases")
        self._add(value, weight, None)

    def _add(self, value: Any, weight: int, anchor: str | None) -> None:
        if anchor is not None:
            self.anchors[anchor] = (value, weight)
        if not self.stack:
            self.result = value
            return
        frame = self.stack[-1]
        frame.weight += weight
        if frame.pairs is None:
            frame.items.append(value)
        else:
            frame.pairs.append((frame.key, value))
            frame.key = None


def _error(mark: Any, message: str) -> TextError:
    return TextError(message, mark.line + 1, mark.column + 1)


def _tab(text: str, mark: Any) -> str:
    """What libyaml does not say of a character that cannot begin anything: that it is a tab."""
    lines = text.split("\n", mark.line + 1) if mark.line < MAX_LINES else []
    line = lines[mark.line] if mark.line < len(lines) else ""
    return ": a tab, and YAML is indented by spaces" if line[mark.column : mark.column + 1] == "\t" else ""


def _without_odd(text: str) -> tuple[str, dict[int, int]]:
    """The text with a stand-in for every odd character, and what turns them back; no character more or less."""
    odd = {ord(mark) for mark in re.findall(_ODD, text)}
    base = next((base for base in _STAND_INS if not any(chr(base + mark) in text for mark in odd)), None)
    if "\0" in text or "\x04" in text or base is None:
        return text, {}
    return text.translate({mark: base + mark for mark in odd}), {base + mark: mark for mark in odd}


def _with_odd(events: Iterator[Any], back: dict[int, int], scalar: Any) -> Iterator[Any]:
    for event in events:
        if type(event) is scalar:
            event.value = event.value.translate(back)
        yield event


def _compose(text: str, builder: _Builder, notes: list[TextError] | None = None) -> Any:
    import yaml  # only when a configuration is YAML

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text, back = _without_odd(text) if re.search(_ODD, text) else (text, {})
        events = yaml.parse(text, Loader=loader)
        if back:
            events = _with_odd(events, back, yaml.ScalarEvent)
        composer = _Composer(builder, yaml)
        value = composer.run(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = error.context or ""
        if context and error.context_mark:
            context += f" that begins at {error.context_mark.line + 1}:{error.context_mark.column + 1}"
        problem = f"{error.problem}{_tab(text, mark)}" if mark else error.problem
        message = f"is no valid YAML: {'; '.join(part for part in (context, problem) if part)}"
        raise TextError(message, mark.line + 1, mark.column + 1) if mark else TextError(message) from error
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position]  # libyaml counts bytes
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        raise TextError(f"is no valid YAML: {error.reason}", line, column) from error
    except yaml.YAMLError as error:
        raise TextError(f"is no valid YAML: {error}") from error
    if notes is not None:
        try:
            note = composer.further(events)
        except (yaml.YAMLError, StopIteration):  # nobody reads it
            note = None
        if note is not None:
            notes.append(note)
    return value
