"""JSON formats: one object per line, keys sorted, values typed.

A string that is one operator gives that operator's value (number, string, null); a string with text around operators
gives a string; other values stand for themselves. The object is flattened into one bytes template while it is
compiled, so that a line costs one ``%`` and one check of all its strings for characters that JSON escapes.
"""

from __future__ import annotations

from itertools import compress
from typing import Any, Final

from proxy.base.stream_info import StreamInfo
from proxy.formatter.escape import PLAIN_JSON, escape_json
from proxy.formatter.operators import compile_command
from proxy.formatter.slot import COUNT, DYNAMIC, TEXT, FormatContext, Getter, Slot
from proxy.formatter.syntax import Command, parse
from proxy.formatter.text import text_slots
from proxy.formatter.values import dumps, json_of

#: Stands for a missing value until the line is put together. It is this object that means so, not these bytes, which a
#: peer may have sent; two of them, as CPython has one object for all of a single byte.
_MISSING: Final = b"\0\0"
_QUOTED_MISSING: Final = b'"\0\0"'


class JsonFormatter:
    """A compiled JSON format; a line ends with a newline."""

    __slots__ = ("_getters", "_quoted", "_template")

    def __init__(self, template: bytes, getters: tuple[Getter, ...], quoted: tuple[bool, ...]) -> None:
        self._template = template
        self._getters = getters
        self._quoted = quoted  # of each getter: its value stands inside a JSON string

    def format_bytes(self, stream: StreamInfo) -> bytes:
        """The line."""
        values = tuple([get(stream) for get in self._getters])
        line = self._template % values
        special = b"".join(compress(values, self._quoted)).translate(None, PLAIN_JSON)
        if not special:
            return line
        left = len(special)
        for value in values:
            if value is _MISSING:
                left -= len(_MISSING)
        if left:
            return self._with_care(values)
        return line.replace(_QUOTED_MISSING, b"null")

    def format(self, stream: StreamInfo) -> str:
        """The line as text."""
        return self.format_bytes(stream).decode("utf-8", "replace")

    def _with_care(self, values: tuple[Any, ...]) -> bytes:
        cared = tuple(
            escape_json(value) if quoted and value is not _MISSING else value
            for value, quoted in zip(values, self._quoted, strict=True)
        )
        return (self._template % cared).replace(_QUOTED_MISSING, b"null")


class OmitEmptyJsonFormatter:
    """A JSON format without keys that have no value (``omit_empty_values``); objects left empty go too."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Any) -> None:
        self._tree = tree

    def format_bytes(self, stream: StreamInfo) -> bytes:
        """The line."""
        return (_write(self._tree, stream) or b"{}") + b"\n"

    def format(self, stream: StreamInfo) -> str:
        """The line as text."""
        return self.format_bytes(stream).decode("utf-8", "replace")


def _write(node: Any, stream: StreamInfo) -> bytes:
    """The node as JSON, b"" when it is left out."""
    if isinstance(node, bytes):
        return node
    if isinstance(node, dict):
        pairs = [(key, _write(item, stream)) for key, item in node.items()]
        inside = b",".join([b"%b:%b" % pair for pair in pairs if pair[1]])
        return b"{%b}" % inside if inside else b""
    if isinstance(node, list):
        items = [_write(item, stream) for item in node]
        return b"[%b]" % b",".join([item for item in items if item])
    written: bytes = node(stream)
    return written


class _Builder:
    """Flattens a struct into template pieces."""

    __slots__ = ("context", "getters", "pieces", "quoted")

    def __init__(self, context: FormatContext) -> None:
        self.context = context
        self.pieces: list[bytes] = []
        self.getters: list[Getter] = []
        self.quoted: list[bool] = []

    def literal(self, text: bytes) -> None:
        self.pieces.append(text.replace(b"%", b"%%"))

    def add(self, value: Any) -> None:
        if isinstance(value, dict):
            self.add_object(value)
        elif isinstance(value, list):
            self.add_list(value)
        elif isinstance(value, str) and "%" in value:
            self.add_template(value)
        else:
            self.literal(dumps(value))

    def add_object(self, value: dict[str, Any]) -> None:
        self.literal(b"{")
        for index, key in enumerate(sorted(value)):
            self.literal(b",%b:" % dumps(key) if index else b"%b:" % dumps(key))
            self.add(value[key])
        self.literal(b"}")

    def add_list(self, value: list[Any]) -> None:
        self.literal(b"[")
        for index, item in enumerate(value):
            if index:
                self.literal(b",")
            self.add(item)
        self.literal(b"]")

    def add_template(self, text: str) -> None:
        parts = parse(text)
        if len(parts) == 1 and isinstance(parts[0], Command):
            self.add_slot(compile_command(parts[0], self.context, _MISSING))
            return
        self.literal(b'"')
        for part in parts:
            if isinstance(part, str):
                self.literal(escape_json(part.encode()))
                continue
            _, (getter,) = text_slots([part], self.context, b"-")
            self.pieces.append(b"%b")
            self.getters.append(_as_bytes(getter))
            self.quoted.append(True)
        self.literal(b'"')

    def add_slot(self, slot: Slot) -> None:
        if slot.kind is TEXT:
            self.literal(b'"')
            self.pieces.append(b"%b")
            self.literal(b'"')
        else:
            self.pieces.append(b"%d" if slot.kind is COUNT else b"%b")
        self.getters.append(_json_getter(slot))
        self.quoted.append(slot.kind is TEXT)


def _as_bytes(get: Getter) -> Getter:
    def get_bytes(stream: StreamInfo) -> bytes:
        value = get(stream)
        return b"%d" % value if type(value) is int else value

    return get_bytes


def _json_getter(slot: Slot) -> Getter:
    get = slot.get
    if slot.kind is TEXT or slot.kind is COUNT:
        return get
    if slot.kind is DYNAMIC:
        return lambda stream: b"null" if (value := get(stream)) is _MISSING else json_of(value)

    def get_number(stream: StreamInfo) -> bytes:
        value = get(stream)
        return b"null" if value is _MISSING else b"%d" % value

    return get_number


def _tree(value: Any, context: FormatContext) -> Any:
    """The struct with bytes for constants and getters for templates; None where a literal null stood."""
    if isinstance(value, dict):
        nodes = {dumps(key): _tree(value[key], context) for key in sorted(value)}
        return {key: node for key, node in nodes.items() if node is not None}
    if isinstance(value, list):
        return [node for node in (_tree(item, context) for item in value) if node is not None]
    if value is None:
        return None
    if not isinstance(value, str) or "%" not in value:
        return dumps(value)
    parts = parse(value)
    if len(parts) == 1 and isinstance(parts[0], Command):
        slot = compile_command(parts[0], context, None)
        return lambda stream: b"" if (found := slot.get(stream)) is None else json_of(found)
    template, getters = text_slots(parts, context, b"")
    return lambda stream: json_of(template % tuple([get(stream) for get in getters]))


def compile_json_format(
    struct: dict[str, Any], *, omit_empty: bool = False, context: FormatContext | None = None
) -> JsonFormatter | OmitEmptyJsonFormatter:
    """Compile a JSON format (a google.protobuf.Struct as plain Python). Raises ValueError with Envoy's words.

    omit_empty: keys without a value are left out, in place of ``null``
    """
    context = context or FormatContext()
    if omit_empty:
        return OmitEmptyJsonFormatter(_tree(struct, context))
    builder = _Builder(context)
    builder.add(struct)
    builder.literal(b"\n")
    return JsonFormatter(b"".join(builder.pieces), tuple(builder.getters), tuple(builder.quoted))
