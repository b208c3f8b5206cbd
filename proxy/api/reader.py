"""A message being compiled: it knows its path, and which of its set fields nobody has read.

THE CONVENTION for every compile function of every room:

    @reads("envoy.config.cluster.v3.Cluster")          # from this module; the message the Reader argument wraps
    def compile_cluster(reader: Reader, ...) -> Cluster:
        name = reader.text("name")                     # literal field names only, in calls on a Reader
        for locality in reader.each("endpoints"): ...  # pass child Readers on to other compile functions
        reader.ignore("typed_field", why="...")        # accepted: cannot change traffic or safety; one warning
        reader.unsupported("dns_jitter", "...")        # refused when set (so is any field nobody reads)

* Annotate the parameter ``reader: Reader`` (any name will do). Read only what is honoured: reading *is* the promise.
* ``proxy.api.support`` follows these calls in the source, from each ``@reads`` and each extension's constructor, and
  writes docs/support.md. It follows local variables (``address = reader.sub("address")``), loops and calls by
  itself; where it cannot tell the message it says so and a test fails: decorate that function with ``@reads(...)``,
  with several names when it compiles several messages. A loop over a literal tuple of field names is fine as well.
* ``sub``, ``each``, ``entries`` and ``any`` give the same child objects every time, so marks persist.
* A Reader is for configuration time only.

When the whole configuration is compiled the caller asks ``unread(root)``: every set field nobody read is a finding.
A proto3 scalar without presence that equals its default counts as unset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proxy.api.errors import Errors, Locator
from proxy.api.marks import child_path, join_paths, key_step
from proxy.api.pool import (
    ANY,
    STRUCT,
    BadPayload,
    UnknownType,
    enum_type,
    foreign_typed_struct,
    is_typed_struct,
    message_type,
    struct_to_dict,
    type_name_of,
    unpack,
)
from proxy.base.errors import ConfigError

__all__ = ["Errors", "Locator", "Reader", "reads", "unread"]

_Compile = TypeVar("_Compile", bound=Callable[..., Any])
_FRACTION_BASE = {"HUNDRED": 100.0, "TEN_THOUSAND": 10_000.0, "MILLION": 1_000_000.0}


def reads(*type_names: str) -> Callable[[_Compile], _Compile]:
    """Says which message (or messages) the Reader argument of a compile function wraps. Costs nothing at run time."""

    def mark(function: _Compile) -> _Compile:
        return function

    return mark


class Reader:
    """One protobuf message being compiled. ``message`` is for dumps; compile from the methods only."""

    __slots__ = (
        "_children",
        "_errors",
        "_fields",
        "_locator",
        "_present",
        "_read",
        "_settled",
        "message",
        "path",
        "type_name",
    )

    def __init__(
        self, message: Message, path: str = "", errors: Errors | None = None, locator: Locator | None = None
    ) -> None:
        self.message = message
        self.path = path
        self.type_name: str = message.DESCRIPTOR.full_name
        self._fields = _known.get(self.type_name) or _fields_of(message)
        self._errors = errors if errors is not None else Errors()
        self._locator = locator
        # What is set, in the order of the fields' numbers; most of what is asked for is not.
        self._present: dict[str, None] = {field.name: None for field, _ in message.ListFields()}
        self._read: set[str] = set()
        self._settled: set[str] = set()  # fields ("" = the message itself) about which all is said
        self._children: dict[str, Any] = {}

    @property
    def errors(self) -> Errors:
        """The collector shared by the whole tree of readers."""
        return self._errors

    # --- what is set -------------------------------------------------------------------------------------------

    def has(self, field: str) -> bool:
        """Whether the field is set (repeated: non-empty; no presence: not the default). Does not mark it as read."""
        if field in self._present:
            return True
        self._field(field)
        return False

    def which(self, oneof: str) -> str | None:
        """The set member of a oneof. Does not mark it as read."""
        member: str | None = self.message.WhichOneof(oneof)
        return member

    # --- scalars -----------------------------------------------------------------------------------------------

    def text(self, field: str) -> str:
        """A string field."""
        value: str = self._scalar(field, FieldDescriptor.CPPTYPE_STRING)
        return value

    def blob(self, field: str) -> bytes:
        """A bytes field."""
        value: bytes = self._scalar(field, FieldDescriptor.CPPTYPE_STRING)
        return value

    def number(self, field: str) -> int:
        """An integer field."""
        return int(self._scalar(field, *_INTEGERS))

    def real(self, field: str) -> float:
        """A float or double field."""
        return float(self._scalar(field, FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT))

    def flag(self, field: str) -> bool:
        """A bool field."""
        return bool(self._scalar(field, FieldDescriptor.CPPTYPE_BOOL))

    def enum(self, field: str) -> str:
        """The name of an enum field's value; the number as text when the schema has no name for it."""
        value = self._scalar(field, FieldDescriptor.CPPTYPE_ENUM)
        return _enum_name(self._field(field), value)

    def values(self, field: str) -> list[Any]:
        """A repeated scalar field; enum values by name."""
        descriptor = self._mark(field)
        values = list(getattr(self.message, field))
        if descriptor.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
            return [_enum_name(descriptor, value) for value in values]
        return values

    # --- messages ----------------------------------------------------------------------------------------------

    def sub(self, field: str) -> Reader | None:
        """A singular message, None when unset. An Any is unpacked, as by ``any``."""
        descriptor = self._mark(field)
        if field not in self._present:
            return None
        if field not in self._children:
            self._children[field] = self._child(descriptor, getattr(self.message, field), field)
        child: Reader | None = self._children[field]
        return child

    def any(self, field: str) -> Reader | None:
        """The message inside a google.protobuf.Any (or inside its TypedStruct): ``type_name`` is the inner one.

        None when unset, and, with a finding, when the type is not in the schema or the content does not fit it. A
        TypedStruct may name a type outside the schema: the reader then has that ``type_name`` and one field to be
        read, ``struct("value")``.
        """
        self._mark(field)
        if field not in self._children and self.message.HasField(field):
            foreign = foreign_typed_struct(getattr(self.message, field))
            if foreign is not None:
                self._children[field] = self._foreign(foreign, field)
        return self.sub(field)

    def _foreign(self, typed_struct: Message, field: str) -> Reader:
        child = Reader(typed_struct, child_path(self.path, field), self._errors, self._locator)
        child.type_name = type_name_of(typed_struct.type_url)  # type: ignore[attr-defined]
        child._read.add("type_url")
        return child

    def each(self, field: str) -> list[Reader]:
        """A repeated message field; elements of type Any are unpacked, as by ``any``."""
        descriptor = self._mark(field)
        if field not in self._present:
            return []
        if field not in self._children:
            made = (
                self._child(descriptor, value, f"{field}[{index}]")
                for index, value in enumerate(getattr(self.message, field))
            )
            self._children[field] = [child for child in made if child is not None]
        children: list[Reader] = self._children[field]
        return children

    def entries(self, field: str) -> dict[Any, Any]:
        """A map; message values as Reader (Any unpacked), enum values by name."""
        descriptor = self._mark(field)
        if field not in self._children:
            value_field = message_type(descriptor).fields_by_name["value"]
            self._children[field] = dict(self._entries(field, value_field))
        entries: dict[Any, Any] = self._children[field]
        return entries

    def _entries(self, field: str, value_field: FieldDescriptor) -> Iterator[tuple[Any, Any]]:
        items = getattr(self.message, field)
        for key in items:
            value = items[key]
            if value_field.message_type is not None:
                child = self._map_child(value_field, value, field + key_step(key))
                if child is not None:
                    yield key, child
            else:
                yield key, value

    def _map_child(self, field: FieldDescriptor, value: Any, step: str) -> Reader | None:
        """As ``_child``; of an extension's own message, the reader that ``any`` gives."""
        if message_type(field).full_name == ANY:
            foreign = foreign_typed_struct(value)
            if foreign is not None:
                return self._foreign(foreign, step)
        return self._child(field, value, step)

    def _child(self, field: FieldDescriptor, value: Any, step: str) -> Reader | None:
        """A reader one step down; an Any becomes the message inside it."""
        path = child_path(self.path, step)
        if message_type(field).full_name == ANY:
            if is_typed_struct(value):
                path += ".value"
            try:
                value = unpack(value)
            except UnknownType as error:
                self._errors.at(self._locator, path, f"{error} is not supported", "unsupported")
                return None
            except BadPayload as bad:
                for inner, message, kind in bad.findings:
                    self._errors.at(self._locator, join_paths(path, inner), message, kind)
                return None
        return Reader(value, path, self._errors, self._locator)

    # --- messages that stand for a value -----------------------------------------------------------------------

    def wrapped(self, field: str, default: Any) -> Any:
        """The value of a google.protobuf.UInt32Value, BoolValue and so on; the default when unset."""
        self._mark(field)
        return getattr(self.message, field).value if field in self._present else default

    def seconds(self, field: str, default: float | None = None) -> float | None:
        """A google.protobuf.Duration in seconds; the default when unset. A negative one is a finding."""
        self._mark(field)
        if not self.message.HasField(field):
            return default
        duration = getattr(self.message, field)
        if duration.seconds < 0 or duration.nanos < 0:
            self.fail(field, "must not be negative")
            return default
        return float(duration.seconds + duration.nanos / 1e9)

    def percent(self, field: str, default: float) -> float:
        """An envoy.type.v3.Percent, 0..100; the default when unset."""
        return float(self.wrapped(field, default))

    def fraction(self, field: str, default: float) -> float:
        """A FractionalPercent, or the default_value of a RuntimeFractionalPercent, as 0..1; the default when unset.

        A runtime_key is not asked here, and warned about: proxy.runtime.config.compile_fraction follows it.
        """
        self._mark(field)
        if not self.message.HasField(field):
            return default
        value = getattr(self.message, field)
        if value.DESCRIPTOR.name == "RuntimeFractionalPercent":
            if value.runtime_key:
                self.warn(
                    field, f'runtime key "{value.runtime_key}" has no effect: the default value is used'
                )
            if not value.HasField("default_value"):
                return default
            value = value.default_value
        base = _FRACTION_BASE[_enum_name(value.DESCRIPTOR.fields_by_name["denominator"], value.denominator)]
        return min(float(value.numerator / base), 1.0)

    def struct(self, field: str) -> dict[str, Any]:
        """A google.protobuf.Struct as plain Python; {} when unset. Whole numbers come as int."""
        descriptor = self._mark(field)
        if descriptor.message_type is None or descriptor.message_type.full_name != STRUCT:
            raise TypeError(f"{self.type_name}.{field} is not a {STRUCT}")
        return struct_to_dict(getattr(self.message, field)) if self.message.HasField(field) else {}

    # --- findings ----------------------------------------------------------------------------------------------

    def ignore(self, *fields: str, why: str) -> None:
        """Accept fields that cannot change traffic or safety: one warning for each that is set, all it holds
        included."""
        for field in fields:
            self._mark(field)
            self._settled.add(field)
            if field in self._present:
                self.warn(field, f"has no effect here: {why}")

    def fail(self, field: str, message: str) -> None:
        """A finding at the field ("" = the message itself) that refuses the configuration; compiling goes on."""
        self._find(field, message, "invalid")

    def unsupported(self, field: str, message: str = "is not supported", *, whole: bool = True) -> None:
        """A finding of kind "unsupported" at the field, when it is set ("" = the message itself, always).

        message: the whole sentence ("HTTP/2 to upstreams is not supported yet"). The finding speaks for everything
        below the field, unless ``whole`` is False: that is then looked at as well.
        """
        if field:
            self._mark(field)
            if field not in self._present:
                return
        self._find(field, message, "unsupported")
        if whole:
            self._settled.add(field)

    def settle(self, *fields: str) -> None:
        """Of these fields nothing more is said: a finding already made refuses the configuration because of them.

        Never to be called without such a finding: it would drop what the operator wrote in silence.
        """
        self._settled.update(fields)

    def is_settled(self, field: str) -> bool:
        """Whether a finding has spoken for the field."""
        return field in self._settled

    def warn(self, field: str, message: str) -> None:
        """A warning at the field ("" = the message itself)."""
        self._find(field, message, "warning")

    def _find(self, field: str, message: str, kind: str) -> None:
        self._errors.at(self._locator, self._at(field), message, kind)

    # --- marks -------------------------------------------------------------------------------------------------

    def unread(self) -> Iterator[str]:
        """Paths of set fields that nobody read, here and in the children that somebody did read."""
        if "" in self._settled:
            return
        for field in self._present:
            if field in self._settled:
                continue
            if field not in self._read:
                yield self._at(field)
            elif field in self._children:
                yield from _unread_children(self._children[field])

    def finding(self, path: str, message: str, kind: str) -> ConfigError:
        """A ConfigError with its place in the text, not yet collected."""
        place = self._locator.locate(path) if self._locator is not None else (None, None, None)
        return ConfigError(path, message, *place, kind=kind)

    def _at(self, field: str) -> str:
        return join_paths(self.path, field)

    def _field(self, field: str) -> FieldDescriptor:
        """The descriptor; a name the message does not have is a bug of the caller."""
        try:
            return self._fields[field]
        except KeyError:
            raise KeyError(f"{self.type_name} has no field {field}") from None

    def _mark(self, field: str) -> FieldDescriptor:
        self._read.add(field)
        try:
            return self._fields[field]
        except KeyError:
            return self._field(field)  # says what is wrong

    def _scalar(self, field: str, *cpp_types: int) -> Any:
        descriptor = self._mark(field)
        if descriptor.cpp_type not in cpp_types or descriptor.is_repeated:
            raise TypeError(f"{self.type_name}.{field} is of another type")
        return getattr(self.message, field)


_INTEGERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)


def unread(root: Reader) -> list[ConfigError]:
    """One "unsupported" finding for each set field that no compile function read; children of such a field are not
    reported again."""
    return [root.finding(path, "is not supported", "unsupported") for path in root.unread()]


def finish(root: Reader) -> list[ConfigError]:
    """Everything is compiled: all findings, set fields that nobody read among them."""
    for finding in unread(root):
        root.errors.add(finding)
    return root.errors.findings


def _unread_children(child: Any) -> Iterator[str]:
    if isinstance(child, Reader):
        yield from child.unread()
    elif isinstance(child, list):
        for one in child:
            yield from one.unread()
    elif isinstance(child, dict):
        for one in child.values():
            yield from _unread_children(one)


# By message, since protobuf makes a new object for each look-up.
_known: dict[str, dict[str, FieldDescriptor]] = {}


def _fields_of(message: Message) -> dict[str, FieldDescriptor]:
    fields = {field.name: cast(FieldDescriptor, field) for field in message.DESCRIPTOR.fields}
    return _known.setdefault(message.DESCRIPTOR.full_name, fields)


def _enum_name(field: FieldDescriptor, number: int) -> str:
    value = enum_type(field).values_by_number.get(number)
    return str(value.name) if value is not None else str(number)
