"""The private DescriptorPool: message classes by full name; Any and TypedStruct unpacked.

Private, so that no other package's ``envoy.*`` or ``google.*`` files can clash with ours. Loaded when first asked for.
"""

from __future__ import annotations

import os.path
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError, Message

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

ANY = "google.protobuf.Any"
STRUCT = "google.protobuf.Struct"
# Both carry {type_url, value: Struct}; the Struct stands for the message in its JSON form.
TYPED_STRUCTS = frozenset({"xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"})

MAX_PARTS = 32  # of a type's name that is looked for

_SCHEMA = os.path.join(os.path.dirname(__file__), "schema", "envoy_v3.binpb")


class UnknownType(Exception):
    """A type URL names no message of the schema; ``type_name`` is its last part."""

    def __init__(self, type_name: str) -> None:
        super().__init__(f'unknown type "{type_name}"')
        self.type_name = type_name


class BadPayload(Exception):
    """The content of an Any does not fit the type it names; ``findings`` are (path inside, message, kind)."""

    def __init__(self, findings: list[tuple[str, str, str]]) -> None:
        super().__init__(
            "; ".join(f"{path}: {message}" if path else message for path, message, _ in findings)
        )
        self.findings = findings


# What google.protobuf's own modules stand on is taken from where it is: those modules bring the implementation in pure
# Python along (a tenth of all that starting imports), and make a class of every message that a message can reach.
_IS_UPB = api_implementation.Type() == "upb"


def _new_pool() -> DescriptorPool:
    if not _IS_UPB:
        from google.protobuf import descriptor_pool

        return descriptor_pool.DescriptorPool()
    from google._upb import _message

    return cast("DescriptorPool", _message.DescriptorPool())


def _class_of(message: Descriptor) -> type[Message]:
    if not _IS_UPB:
        from google.protobuf import message_factory

        return message_factory.GetMessageClass(message)
    from google._upb import _message

    made = _message.MessageMeta(message.name, (Message,), {"DESCRIPTOR": message, "__module__": None})
    return cast(type[Message], made)


def _schema_bytes() -> bytes:
    with open(_SCHEMA, "rb") as file:
        return file.read()


class _Schema:
    """The files of the schema. A file goes into the pool when a type of its package is asked for, or a file that
    imports it is: a process needs a sixth of them."""

    __slots__ = ("_folders", "_has_own", "_left", "pool")

    def __init__(self) -> None:
        self._has_own = False
        self.pool = _new_pool()
        self._left = {_name_of(file): file for file in _split(_schema_bytes())}
        self._folders: dict[str, list[str]] = {}  # a package's files stand in a folder of its name
        for name in self._left:
            self._folders.setdefault(name.rpartition("/")[0], []).append(name)

    def load(self, name: str) -> None:
        """One file, after those it imports."""
        file = self._left.pop(name, None)
        if file is not None:
            for imported in _first_strings(file)[2:]:
                self.load(imported)
            self.pool.AddSerializedFile(file)

    def load_package_of(self, type_name: str) -> None:
        """The files of the type's package."""
        if type_name.startswith("outrider."):
            self._load_own()
        parts = type_name.split(".")[:MAX_PARTS]
        for end in range(len(parts) - 1, 0, -1):
            for name in self._folders.pop("/".join(parts[:end]), ()):
                self.load(name)

    def load_all(self) -> None:
        """Every file that is left."""
        for name in list(self._left):
            self.load(name)
        self._load_own()

    def _load_own(self) -> None:
        """Messages of our own, which are made with protobuf's public modules."""
        if self._has_own:
            return
        self._has_own = True
        from proxy.api.schema.own import own_files

        for file in own_files():
            for imported in file.dependency:
                self.load(imported)
            self.pool.AddSerializedFile(file.SerializeToString())


@cache
def _schema() -> _Schema:
    return _Schema()


@cache
def pool() -> DescriptorPool:
    """The pool with every file of the schema, for what looks into it by itself."""
    _schema().load_all()
    return _schema().pool


def type_names() -> list[str]:
    """Full names of all messages of the schema that stand in no other message. Reads the schema again: for findings."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from proxy.api.schema.own import own_files

    files = (FileDescriptorProto.FromString(one) for one in _split(_schema_bytes()))
    return [
        f"{file.package}.{message.name}" for file in [*files, *own_files()] for message in file.message_type
    ]


def _split(data: bytes) -> list[bytes]:
    """The files of a serialized FileDescriptorSet: repeated field 1, so no second parse is needed."""
    result = []
    at = 0
    while at < len(data):
        at += 1
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        result.append(data[at : at + length])
        at += length
    return result


def _name_of(file: bytes) -> str:
    """The first of ``_first_strings``: a start asks this of every file, and of few for the rest."""
    length = file[1]
    return file[2 : 2 + length].decode() if length < 0x80 else _first_strings(file)[0]


def _first_strings(file: bytes) -> list[str]:
    """Name, package and imports of a serialized FileDescriptorProto: its fields 1, 2 and 3, which come first."""
    result = []
    at = 0
    while at < len(file) and file[at] in (0x0A, 0x12, 0x1A):
        length, at = file[at + 1], at + 2
        if length >= 0x80:
            length, at = length - 0x80 + (file[at] << 7), at + 1
        result.append(file[at : at + length].decode())
        at += length
    return result


def descriptor(type_name: str) -> Descriptor:
    """The descriptor of a message by full name. Raises UnknownType."""
    schema = _schema()
    for load in (None, schema.load_package_of, lambda _: schema.load_all()):
        if load is not None:
            load(type_name)
        try:
            return schema.pool.FindMessageTypeByName(type_name)
        except KeyError:
            pass
    raise UnknownType(type_name)


def extension(name: str) -> FieldDescriptor:
    """An option by full name, such as Envoy's rules. Raises KeyError."""
    try:
        return _schema().pool.FindExtensionByName(name)
    except KeyError:
        return pool().FindExtensionByName(name)


@cache
def message_class(type_name: str) -> type[Message]:
    """The message class by full name ("envoy.config.cluster.v3.Cluster"); made once. Raises UnknownType."""
    return _class_of(descriptor(type_name))


def definition(message: Descriptor) -> Message:
    """The google.protobuf.DescriptorProto of a message: its fields and their options, which Envoy's rules are.

    ``GetOptions()`` of the descriptors imports protobuf's implementation in pure Python, and does not know the options
    of a private pool.
    """
    if _IS_UPB:
        result = new_message("google.protobuf.DescriptorProto")
        message.CopyToProto(result)  # type: ignore[arg-type]  # any class of that name will do
        return result
    file: Any = new_message("google.protobuf.FileDescriptorProto")
    file.ParseFromString(message.file.serialized_pb)
    inside = file.message_type
    for name in message.full_name[len(file.package) :].lstrip(".").split("."):
        found = next(one for one in inside if one.name == name)
        inside = found.nested_type
    return cast(Message, found)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map: protobuf makes it a list of messages of their own, marked by an option."""
    entry = field.message_type
    if entry is None or not entry.has_options or entry.containing_type != field.containing_type:
        return False
    return bool(definition(entry).options.map_entry)  # type: ignore[attr-defined]


def new_message(type_name: str) -> Message:
    """An empty message by full name. Raises UnknownType."""
    return message_class(type_name)()


def type_name_of(type_url: str) -> str:
    """ "type.googleapis.com/envoy.X" → "envoy.X"; Envoy, too, takes whatever stands before the last slash."""
    return type_url.rpartition("/")[2]


def is_typed_struct(any_message: Message) -> bool:
    """Whether the Any holds a TypedStruct."""
    return type_name_of(any_message.type_url) in TYPED_STRUCTS  # type: ignore[attr-defined]


def foreign_typed_struct(any_message: Message) -> Message | None:
    """The TypedStruct in an Any when the type it names is outside the schema: an extension's own; else None."""
    if not is_typed_struct(any_message):
        return None
    typed_struct = new_message(type_name_of(any_message.type_url))  # type: ignore[attr-defined]
    try:
        typed_struct.ParseFromString(any_message.value)  # type: ignore[attr-defined]
        descriptor(type_name_of(typed_struct.type_url))  # type: ignore[attr-defined]
    except UnknownType:
        return typed_struct
    except DecodeError:
        pass  # unpack() says so
    return None


def unpack(any_message: Message) -> Message:
    """The message inside a google.protobuf.Any; a TypedStruct inside it is turned into the message it names.

    Raises UnknownType for a type outside the schema and BadPayload for content that does not fit its type (paths
    inside the TypedStruct's ``value``).
    """
    message = new_message(type_name_of(any_message.type_url))  # type: ignore[attr-defined]
    try:
        message.ParseFromString(any_message.value)  # type: ignore[attr-defined]
    except DecodeError as error:
        raise BadPayload(
            [("", f"holds bytes that are no {message.DESCRIPTOR.full_name}", "invalid")]
        ) from error
    return unpack_typed_struct(message) if is_typed_struct(any_message) else message


def unpack_typed_struct(typed_struct: Message) -> Message:
    """The message a TypedStruct stands for. Raises UnknownType and BadPayload."""
    from proxy.api.convert import Converter  # it imports this module

    message = new_message(type_name_of(typed_struct.type_url))  # type: ignore[attr-defined]
    findings: list[tuple[str, str, str]] = []
    value = struct_to_dict(typed_struct.value)  # type: ignore[attr-defined]
    Converter(lambda path, text, kind: findings.append((path, text, kind))).fill(message, value)
    if findings:
        raise BadPayload(findings)
    return message


def struct_to_dict(struct: Message) -> dict[str, Any]:
    """A google.protobuf.Struct as plain Python; whole numbers come as int."""
    fields = struct.fields  # type: ignore[attr-defined]
    return {name: _plain(fields[name]) for name in fields}


def _plain(value: Any) -> Any:
    """A google.protobuf.Value as plain Python."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return struct_to_dict(value.struct_value)
    if kind == "list_value":
        return [_plain(one) for one in value.list_value.values]
    if kind == "number_value":
        number: float = value.number_value
        return int(number) if number.is_integer() else number
    return getattr(value, kind) if kind not in (None, "null_value") else None


def message_type(field: FieldDescriptor) -> Descriptor:
    """The message a field holds. Raises TypeError when it holds none."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} holds no message")
    return field.message_type


def enum_type(field: FieldDescriptor) -> EnumDescriptor:
    """The enum a field holds. Raises TypeError when it holds none."""
    if field.enum_type is None:
        raise TypeError(f"{field.full_name} holds no enum")
    return field.enum_type


def descriptor_of(message: Message) -> Descriptor:
    """The message's own descriptor (the stubs give two names to one type)."""
    return cast(Descriptor, message.DESCRIPTOR)
