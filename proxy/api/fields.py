"""What is known of the fields of a message type, worked out once: asking a descriptor costs more than reading a value.

For ``reader`` alone, which asks at every step.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proxy.api.pool import ANY, enum_type

#: Kinds of singular fields; OTHER: no scalar.
OTHER: Final = 0
TEXT: Final = 1
BLOB: Final = 2
NUMBER: Final = 3
REAL: Final = 4
FLAG: Final = 5
ENUM: Final = 6
_KINDS: Final = {
    FieldDescriptor.CPPTYPE_BOOL: FLAG,
    FieldDescriptor.CPPTYPE_DOUBLE: REAL,
    FieldDescriptor.CPPTYPE_ENUM: ENUM,
    FieldDescriptor.CPPTYPE_FLOAT: REAL,
    FieldDescriptor.CPPTYPE_INT32: NUMBER,
    FieldDescriptor.CPPTYPE_INT64: NUMBER,
    FieldDescriptor.CPPTYPE_STRING: TEXT,
    FieldDescriptor.CPPTYPE_UINT32: NUMBER,
    FieldDescriptor.CPPTYPE_UINT64: NUMBER,
}


class Field:
    """What is to be known of a field to read it: kind, default when unset, whether it holds an Any (or several)."""

    __slots__ = ("default", "descriptor", "enum", "enum_names", "is_any", "kind", "type_name")

    def __init__(self, field: FieldDescriptor) -> None:
        kind = OTHER if field.is_repeated else _KINDS.get(field.cpp_type, OTHER)
        self.kind = BLOB if kind == TEXT and field.type == FieldDescriptor.TYPE_BYTES else kind
        self.descriptor = field
        self.default: Any = None if kind == OTHER else field.default_value
        self.type_name: str = field.message_type.full_name if field.message_type is not None else ""
        self.is_any = self.type_name == ANY
        self.enum = field.enum_type
        self.enum_names: dict[int, str] = {}  # those that were asked for

    def enum_name(self, number: int) -> str:
        """The name of a value; the number as text when the schema has no name for it."""
        value = enum_type(self.descriptor).values_by_number.get(number)
        name = self.enum_names[number] = str(value.name) if value is not None else str(number)
        return name


class Fields(dict[str, Field]):
    """Those of one message type by name; ``names`` by descriptor, since ``descriptor.name`` makes a new text."""

    __slots__ = ("names", "type_name")

    def __init__(self, message: Any) -> None:
        super().__init__((field.name, Field(field)) for field in message.fields)
        self.type_name: str = message.full_name
        self.names: dict[Any, str] = {field.descriptor: name for name, field in self.items()}

    def __missing__(self, name: str) -> Field:
        raise KeyError(f"{self.type_name} has no field {name}")


#: types that were read, by their descriptors: as many as the schema has
KNOWN: Final[dict[Any, Fields]] = {}


def fields_of(message: Message) -> Fields:
    """The fields of a message's type."""
    fields = KNOWN.get(message.DESCRIPTOR)
    if fields is None:
        fields = KNOWN[message.DESCRIPTOR] = Fields(message.DESCRIPTOR)
    return fields
