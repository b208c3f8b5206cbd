"""Values of DYNAMIC slots (metadata, filter state, COALESCE) as text and as JSON."""

from __future__ import annotations

from typing import Any

from proxy.base.filter_state import FilterState
from proxy.formatter.escape import PLAIN_JSON, decode_json, escape_json


def dumps(value: Any) -> bytes:
    """JSON of a plain value, whole floats as ints."""
    import orjson  # brings ten modules along, and most processes never write JSON

    return orjson.dumps(plain(value))


def text_of(value: Any) -> bytes:
    """Strings as they are, everything else as JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, FilterState):  # proto3's names
        return dumps(value.message_in_text())
    return dumps(value)


def json_of(value: Any) -> bytes:
    """As JSON, strings in quotes."""
    if isinstance(value, bytes):
        if not value.translate(None, PLAIN_JSON):
            return b'"%b"' % value
        value = decode_json(value)
    if isinstance(value, str):
        return b'"%b"' % escape_json(value.encode())
    if isinstance(value, FilterState):  # protobuf's own names
        return dumps(value.message())
    return b"%d" % value if type(value) is int else dumps(value)


def plain(value: Any) -> Any:
    """Whole floats as ints: numbers of a protobuf Struct are doubles, and Envoy prints 5, not 5.0. Sorted keys."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
