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
* ``sub``, ``each``, ``entries`` and ``any`` give the same child objects every time, so marks persist. ``in_turn`` is
  ``each`` for what there may be thousands of, and is asked once.
* A Reader is for configuration time only.

When the whole configuration is compiled the caller asks ``unread(root)``: every set field nobody read is a finding.
A proto3 scalar without presence that equals its default counts as unset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from proxy.api.errors import Errors, Locator
from proxy.api.fields import BLOB, ENUM, FLAG, KNOWN, NUMBER, REAL, TEXT, fields_of
from proxy.api.marks import child_path, join_paths, key_step
from proxy.api.pool import (
    ANY,
    STRUCT,
    BadPayload,
    UnknownType,
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
_NO_CHILD: Any = object()
_NONE: frozenset[str] = frozenset()
_FRACTION_BASE = {"HUNDRED": 100.0, "TEN_THOUSAND": 10_000.0, "MILLION": 1_000_000.0}


def reads(*type_names: str) -> Callable[[_Compile], _Compile]:
    """Says which message (or messages) the Reader argument of a compile function wraps. Costs nothing at run time."""

    def mark(function: _Compile) -> _Compile:
        return function

    return mark


class Reader:
    """One protobuf message being compiled. ``message`` is for dumps; compile from the methods only."""

    __slots__ = (
        "_errors",
        "_fields",
        "_locator",
        "_read",
        "_settled",
        "_values",
        "message",
        "path",
        "type_name",
    )

    def __init__(
        self, message: Message, path: str = "", errors: Errors | None = None, locator: Locator | None = None
    ) -> None:
        fields = KNOWN.get(message.DESCRIPTOR) or fields_of(message)
        self.message = message
        self.path = path
        self.type_name = fields.type_name
        self._fields = fields
        self._errors = errors if errors is not None else Errors()
        self._locator = locator
        # What is set, in the order of the fields' numbers; most of what is asked for is not.
        self._values: dict[str, Any] = {}
        for field, value in message.ListFields():
            self._values[fields.names[field]] = value
        self._read: dict[str, Any] = {}  # fields that are set and were read: their children, or _NO_CHILD
        self._settled: set[str] | frozenset[str] = _NONE  # fields ("": all) about which all is said

    @property
    def errors(self) -> Errors:
        """The collector shared by the whole tree of readers."""
        return self._errors

    # --- what is set -------------------------------------------------------------------------------------------

    def has(self, field: str) -> bool:
        """Whether the field is set (repeated: non-empty; no presence: not the default). Does not mark it as read."""
        if field in self._values:
            return True
        if field not in self._fields:
            raise self._unknown(field)
        return False

    def which(self, oneof: str) -> str | None:
        """The set member of a oneof. Does not mark it as read."""
        member: str | None = self.message.WhichOneof(oneof)
        return member

    # --- scalars -----------------------------------------------------------------------------------------------

    def text(self, field: str) -> str:
        """A string field."""
        if self._fields[field].kind != TEXT:
            raise self._other_type(field)
        text: str | None = self._values.get(field)
        if text is None:
            return ""
        self._read[field] = _NO_CHILD
        return text

    def blob(self, field: str) -> bytes:
        """A bytes field."""
        value: bytes = self._scalar(field, BLOB)
        return value

    def number(self, field: str) -> int:
        """An integer field."""
        return int(self._scalar(field, NUMBER))

    def real(self, field: str) -> float:
        """A float or double field."""
        return float(self._scalar(field, REAL))

    def flag(self, field: str) -> bool:
        """A bool field."""
        return bool(self._scalar(field, FLAG))

    def enum(self, field: str) -> str:
        """The name of an enum field's value; the number as text when the schema has no name for it."""
        known = self._fields[field]
        number = self._scalar(field, ENUM)
        return known.enum_names.get(number) or known.enum_name(number)

    def values(self, field: str) -> list[Any]:
        """A repeated scalar field; enum values by name."""
        known = self._fields[field]
        values = list(self._take(field, ()))
        if known.enum is not None:
            return [known.enum_name(value) for value in values]
        return values

    # --- messages ----------------------------------------------------------------------------------------------

    def sub(self, field: str) -> Reader | None:
        """A singular message, None when unset. An Any is unpacked, as by ``any``."""
        value = self._values.get(field)
        if value is None:
            if field not in self._fields:
                raise self._unknown(field)
            return None
        known: Any = self._read.get(field, _NO_CHILD)
        if known is not _NO_CHILD:
            read: Reader | None = known
            return read
        child = self._child(self._fields[field].is_any, value, field)
        self._read[field] = child
        return child

    def any(self, field: str) -> Reader | None:
        """The message inside a google.protobuf.Any (or inside its TypedStruct): ``type_name`` is the inner one.

        None when unset, and, with a finding, when the type is not in the schema or the content does not fit it. A
        TypedStruct may name a type outside the schema: the reader then has that ``type_name`` and one field to be
        read, ``struct("value")``.
        """
        if field in self._values and self._read.get(field, _NO_CHILD) is _NO_CHILD:
            foreign = foreign_typed_struct(self._values[field])
            if foreign is not None:
                self._read[field] = self._foreign(foreign, field)
        return self.sub(field)

    def _foreign(self, typed_struct: Message, field: str) -> Reader | None:
        if not typed_struct.type_url:  # type: ignore[attr-defined]
            path = child_path(self.path, field)
            message = 'has no "type_url": a TypedStruct says by it which message its value stands for'
            self._errors.at(self._locator, path, message)
            return None
        child = Reader(typed_struct, child_path(self.path, field), self._errors, self._locator)
        child.type_name = type_name_of(typed_struct.type_url)  # type: ignore[attr-defined]
        child._take("type_url", "")
        return child

    def each(self, field: str) -> list[Reader]:
        """A repeated message field; elements of type Any are unpacked, as by ``any``."""
        values = self._values.get(field)
        if values is None:
            if field not in self._fields:
                raise self._unknown(field)
            return []
        known: Any = self._read.get(field, _NO_CHILD)
        if known is not _NO_CHILD:
            if type(known) is _Left:
                raise self._asked_again(field)
            read: list[Reader] = known
            return read
        is_any = self._fields[field].is_any
        made = [self._child(is_any, value, f"{field}[{index}]") for index, value in enumerate(values)]
        children = [child for child in made if child is not None]
        self._read[field] = children
        return children

    def in_turn(self, field: str) -> Iterator[Reader]:
        """As ``each``, once: a child of which everything is read when the next one is asked for is let go, so that those
        of a large configuration are not there all together (what they take would be the process's for ever, as holes
        between what is compiled of them)."""
        if field in self._read:
            raise self._asked_again(field)
        values = self._values.get(field)
        if values is None:
            if field not in self._fields:
                raise self._unknown(field)
            return
        is_any = self._fields[field].is_any
        left = _Left()
        for index, value in enumerate(values):
            child = self._child(is_any, value, f"{field}[{index}]")
            if child is None:
                continue
            yield child
            if child.unread():
                left.children.append(child)
        self._read[field] = left  # and not before: one who stops in the middle has not read the field

    def entries(self, field: str) -> dict[Any, Any]:
        """A map; message values as Reader (Any unpacked), enum values by name."""
        values = self._values.get(field)
        if values is None:
            if field not in self._fields:
                raise self._unknown(field)
            return {}
        known: Any = self._read.get(field, _NO_CHILD)
        if known is not _NO_CHILD:
            read: dict[Any, Any] = known
            return read
        value_field = message_type(self._fields[field].descriptor).fields_by_name["value"]
        entries = dict(self._entries(field, values, value_field))
        self._read[field] = entries
        return entries

    def _entries(self, field: str, items: Any, value_field: FieldDescriptor) -> Iterator[tuple[Any, Any]]:
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
        is_any = message_type(field).full_name == ANY
        if is_any:
            foreign = foreign_typed_struct(value)
            if foreign is not None:
                return self._foreign(foreign, step)
        return self._child(is_any, value, step)

    def _child(self, is_any: bool, value: Any, step: str) -> Reader | None:
        """A reader one step down; an Any becomes the message inside it."""
        path = f"{self.path}.{step}" if self.path else step
        if is_any:
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
        wrapper = self._take(field, None)
        return default if wrapper is None else wrapper.value

    def seconds(self, field: str, default: float | None = None) -> float | None:
        """A google.protobuf.Duration in seconds; the default when unset. A negative one is a finding."""
        duration = self._take(field, None)
        if duration is None:
            return default
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
        value = self._take(field, None)
        if value is None:
            return default
        if value.DESCRIPTOR.name == "RuntimeFractionalPercent":
            if value.runtime_key:
                self.warn(
                    field, f'runtime key "{value.runtime_key}" has no effect: the default value is used'
                )
            if not value.HasField("default_value"):
                return default
            value = value.default_value
        base = _FRACTION_BASE[fields_of(value)["denominator"].enum_name(value.denominator)]
        return min(float(value.numerator / base), 1.0)

    def struct(self, field: str) -> dict[str, Any]:
        """A google.protobuf.Struct as plain Python; {} when unset. Whole numbers come as int."""
        if self._fields[field].type_name != STRUCT:
            raise TypeError(f"{self.type_name}.{field} is not a {STRUCT}")
        struct = self._take(field, None)
        return {} if struct is None else struct_to_dict(struct)

    # --- findings ----------------------------------------------------------------------------------------------

    def ignore(self, *fields: str, why: str) -> None:
        """Accept fields that cannot change traffic or safety: one warning for each that is set, all it holds
        included."""
        for field in fields:
            if field in self._values:
                self.settle(field)
                self.warn(field, f"has no effect here: {why}")
            elif field not in self._fields:
                raise self._unknown(field)

    def fail(self, field: str, message: str) -> None:
        """A finding at the field ("" = the message itself) that refuses the configuration; compiling goes on."""
        self._find(field, message, "invalid")

    def unsupported(self, field: str, message: str = "is not supported", *, whole: bool = True) -> None:
        """A finding of kind "unsupported" at the field, when it is set ("" = the message itself, always).

        message: the whole sentence ("HTTP/2 to upstreams is not supported yet"). The finding speaks for everything
        below the field, unless ``whole`` is False: that is then looked at as well.
        """
        if field and field not in self._values:
            if field not in self._fields:
                raise self._unknown(field)
            return
        self._read.setdefault(field, _NO_CHILD)
        self._find(field, message, "unsupported")
        if whole:
            self.settle(field)

    def settle(self, *fields: str) -> None:
        """Of these fields nothing more is said: a finding already made refuses the configuration because of them.

        Never to be called without such a finding: it would drop what the operator wrote in silence.
        """
        self._settled = self._settled.union(fields)

    def is_settled(self, field: str) -> bool:
        """Whether a finding has spoken for the field."""
        return field in self._settled

    def warn(self, field: str, message: str) -> None:
        """A warning at the field ("" = the message itself)."""
        self._find(field, message, "warning")

    def _find(self, field: str, message: str, kind: str) -> None:
        self._errors.at(self._locator, self._at(field), message, kind)

    # --- marks -------------------------------------------------------------------------------------------------

    def unread(self) -> list[str]:
        """Paths of set fields that nobody read, here and in the children that somebody did read."""
        found: list[str] = []
        self._find_unread(found)
        return found

    def _find_unread(self, found: list[str]) -> None:
        settled, read = self._settled, self._read
        if "" in settled:
            return
        for field in self._values:
            if field in settled:
                continue
            child = read.get(field, found)  # which is no child
            if child is found:
                found.append(self._at(field))
            elif child is not _NO_CHILD:
                _find_unread(child, found)

    def finding(self, path: str, message: str, kind: str) -> ConfigError:
        """A ConfigError with its place in the text, not yet collected."""
        place = self._locator.locate(path) if self._locator is not None else (None, None, None)
        return ConfigError(path, message, *place, kind=kind)

    def _at(self, field: str) -> str:
        return join_paths(self.path, field)

    def _take(self, field: str, unset: Any) -> Any:
        """The value as protobuf gives it, marked as read; ``unset`` when it is not set."""
        value = self._values.get(field)
        if value is None:
            if field not in self._fields:
                raise self._unknown(field)
            return unset
        self._read.setdefault(field, _NO_CHILD)
        return value

    def _unknown(self, field: str) -> KeyError:
        """A name the message does not have is a bug of the caller."""
        return KeyError(f"{self.type_name} has no field {field}")

    def _asked_again(self, field: str) -> TypeError:
        """What is read in turn is gone."""
        return TypeError(f"{self.type_name}.{field} is read in turn, and was read already")

    def _other_type(self, field: str) -> TypeError:
        """Another bug of the caller."""
        return TypeError(f"{self.type_name}.{field} is of another type")

    def _scalar(self, field: str, kind: int) -> Any:
        known = self._fields[field]
        if known.kind != kind:
            raise self._other_type(field)
        value = self._values.get(field)
        if value is None:
            return known.default
        self._read[field] = _NO_CHILD
        return value


def unread(root: Reader) -> list[ConfigError]:
    """One "unsupported" finding for each set field that no compile function read; children of such a field are not
    reported again."""
    return [root.finding(path, "is not supported", "unsupported") for path in root.unread()]


def finish(root: Reader) -> list[ConfigError]:
    """Everything is compiled: all findings, set fields that nobody read among them."""
    for finding in unread(root):
        root.errors.add(finding)
    return root.errors.findings


def _find_unread(child: Any, found: list[str]) -> None:
    if isinstance(child, Reader):
        child._find_unread(found)
    elif isinstance(child, list | _Left):
        for one in child.children if isinstance(child, _Left) else child:
            one._find_unread(found)
    elif isinstance(child, dict):
        for one in child.values():
            _find_unread(one, found)


class _Left:
    """What ``in_turn`` has not let go."""

    __slots__ = ("children",)

    def __init__(self) -> None:
        self.children: list[Reader] = []
