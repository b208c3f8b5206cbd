"""Secrets hidden in the JSON of a configuration: fields that the API marks as sensitive, as Envoy hides them.

The mark (``udpa.annotations.sensitive``) is an option of the field, so what the schema learns is hidden from that day on.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from proxy.api.pool import (
    TYPED_STRUCTS,
    UnknownType,
    definition,
    descriptor,
    extension,
    is_map,
    type_name_of,
)

REDACTED = "[redacted]"
REDACTED_BYTES = b64encode(REDACTED.encode()).decode()
_TEXTS = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


@dataclass(slots=True, frozen=True)
class _Field:
    """child: full name of the message it holds, "" for none."""

    child: str
    is_map: bool
    is_text: bool
    is_bytes: bool
    is_sensitive: bool


def redact(value: Any, type_name: str) -> Any:
    """The proto JSON of a message, its secrets replaced: texts by "[redacted]", bytes by the same, all else left out.

    Looks into Any and TypedStruct; where a TypedStruct names a type of nobody's schema, it stays as it is.
    """
    return _message(value, type_name, False)


def _message(value: Any, type_name: str, hidden: bool) -> Any:
    if not isinstance(value, dict):
        return _hidden(value) if hidden else value
    if "@type" in value:
        type_name = type_name_of(str(value["@type"]))
    if type_name in TYPED_STRUCTS:
        inner = type_name_of(str(value.get("type_url", "")))
        return value | {"value": _message(value.get("value", {}), inner, hidden)}
    fields = _fields(type_name)
    if fields is None:
        return _hidden(value) if hidden else value
    return dict(_pairs(value, fields, hidden))


def _pairs(value: dict[str, Any], fields: dict[str, _Field], hidden: bool) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        field = fields.get(name)
        if field is None:  # "@type", "value" of a well-known type in an Any
            yield name, inner if name == "@type" or not hidden else _hidden(inner)
        elif field.child:
            below = hidden or field.is_sensitive
            if field.is_map:
                yield name, {key: _message(one, field.child, below) for key, one in inner.items()}
            elif isinstance(inner, list):
                yield name, [_message(one, field.child, below) for one in inner]
            else:
                yield name, _message(inner, field.child, below)
        elif not (hidden or field.is_sensitive):
            yield name, inner
        elif field.is_text:
            yield name, _hidden(inner, REDACTED_BYTES if field.is_bytes else REDACTED)


def _hidden(value: Any, mark: str = REDACTED) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(inner, mark) for key, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner, mark) for inner in value]
    return mark


@cache
def _fields(type_name: str) -> dict[str, _Field] | None:
    """By name, in both spellings; None where JSON has a form of its own, or the type is not in the schema."""
    if type_name.startswith("google.protobuf."):
        return None
    try:
        message = descriptor(type_name)
    except UnknownType:
        return None
    sensitive = extension("udpa.annotations.sensitive")
    said: Any = definition(message)
    found: dict[str, _Field] = {}
    for field, stated in zip(message.fields, said.field, strict=True):
        mapped = is_map(field)
        held: FieldDescriptor = field.message_type.fields_by_name["value"] if mapped else field  # type: ignore[union-attr]
        found[field.name] = found[field.json_name] = _Field(
            held.message_type.full_name if held.message_type is not None else "",
            mapped,
            held.type in _TEXTS,
            held.type == FieldDescriptor.TYPE_BYTES,
            field.has_options and stated.options.Extensions[sensitive],
        )
    return found
