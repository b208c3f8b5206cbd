"""Plain values (from YAML or JSON) into messages: one walk over values and descriptors together, into Any too.

Follows protobuf's C++ JSON parser with its legacy leniency, because that is what reads Envoy's configuration: names in
either spelling, enum names in any case, one element where a list is expected, lists in lists flattened, "true" for a
bool, well-known types also as objects. It writes the message itself instead of a tidied document for
``json_format.ParseDict``, which would be a second walk of the same cost; that module still does Struct, ListValue,
Value, Timestamp and FieldMask.

All findings are collected, each with its path; what is wrong is left unset, so that the rest is still looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import EncodeError, Message

from proxy.api import scalars
from proxy.api.errors import MAX_FINDINGS
from proxy.api.json_text import Repeated
from proxy.api.marks import join_paths, key_step
from proxy.api.pool import (
    ANY,
    UnknownType,
    descriptor,
    descriptor_of,
    enum_type,
    is_map,
    message_type,
    new_message,
    type_name_of,
)
from proxy.api.scalars import Wrong, nearest, shown
from proxy.api.yaml_text import MAX_DEPTH

MAX_HINTS = 10  # how often a near type is looked for, which is slow
UNKNOWN_FIELD = "is no field of "  # how the sentence about a field that the message does not have begins

Report = Callable[[str, str, str], None]  # (path, message, kind)

_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
# Read by json_format, whatever the value.
_FREE_FORM = frozenset({"google.protobuf.Struct", "google.protobuf.Value"})
# Read by json_format unless given as an object of their own fields.
_TEXT_FORM = frozenset(
    {"google.protobuf.ListValue", "google.protobuf.Timestamp", "google.protobuf.FieldMask"}
)
_DURATION = "google.protobuf.Duration"
_VALUE = "google.protobuf.Value"
_WELL_KNOWN = _WRAPPERS | _FREE_FORM | _TEXT_FORM | {_DURATION, ANY}

# Fields that people copy from pages about Envoy's v2 API, and what stands in their place.
_OF_V2 = {
    "hosts": "load_assignment",
    "tls_context": "transport_socket",
    "config": "typed_config",
    "runtime": "layered_runtime",
    "regex": "safe_regex",
    "use_websocket": "upgrade_configs",
}

_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}


class _Enough(Exception):
    """So much is wrong that looking further helps nobody."""


class _Field:
    """What is to be known of a field to fill it."""

    __slots__ = (
        "has_fields",
        "is_map",
        "is_repeated",
        "json_name",
        "key",
        "name",
        "oneof",
        "read",
        "type_name",
    )

    def __init__(self, field: FieldDescriptor) -> None:
        self.name: str = field.name
        self.json_name: str = field.json_name
        self.is_repeated: bool = field.is_repeated
        self.type_name: str = field.message_type.full_name if field.message_type is not None else ""
        self.is_map = is_map(field)
        oneof = field.containing_oneof
        self.oneof: str | None = oneof.name if oneof is not None and len(oneof.fields) > 1 else None
        self.key: Callable[[Any], Any] | None = None
        self.read = _scalar(field) if field.message_type is None else None
        if self.is_map:
            entry = message_type(field)
            value = entry.fields_by_name["value"]
            self.key = _map_key(entry.fields_by_name["key"])
            self.type_name = value.message_type.full_name if value.message_type is not None else ""
            self.read = _scalar(value) if value.message_type is None else None
        # a message that JSON has no other form for
        self.has_fields = self.read is None and self.type_name not in _WELL_KNOWN


_Plan = dict[str, _Field]
_plans: dict[Any, _Plan] = {}  # by descriptor


def _plan(descriptor: Descriptor) -> _Plan:
    """The fields of a message by both of their names; made once per type."""
    plan = _plans.get(descriptor)
    if plan is None:
        plan = {}
        for field in descriptor.fields:
            plan[field.name] = plan[field.json_name] = _Field(field)
        _plans[descriptor] = plan
    return plan


def _scalar(field: FieldDescriptor) -> Callable[[Any], Any]:
    """The reader of one value of a scalar field."""
    kind = field.cpp_type
    if kind in _BOUNDS:
        low, high = _BOUNDS[kind]
        return lambda value: scalars.whole_number(value, low, high)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        numbers = {value.name.upper(): value.number for value in enum_type(field).values}
        return lambda value: scalars.enum_number(value, numbers)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return scalars.boolean
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return scalars.octets if field.type == FieldDescriptor.TYPE_BYTES else scalars.string
    is_32_bit = kind == FieldDescriptor.CPPTYPE_FLOAT
    return lambda value: scalars.real_number(value, is_32_bit)


def _map_key(field: FieldDescriptor) -> Callable[[Any], Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return lambda key: scalars.boolean(key if key in ("true", "false") else None)
    return _scalar(field)


class Converter:
    """Fills messages from plain values; findings go to ``report(path, message, kind)``."""

    __slots__ = ("_hints", "_left", "_path", "_report", "_unknown_kind")

    def __init__(self, report: Report, path: str = "", allow_unknown: bool = False) -> None:
        self._hints = MAX_HINTS
        self._left = MAX_FINDINGS
        self._report = report
        self._path = [path] if path else []
        self._unknown_kind = "warning" if allow_unknown else "invalid"

    def fill(self, message: Message, value: Any) -> None:
        """Fill an empty message of any type. Ends early after MAX_FINDINGS findings."""
        try:
            self._message(message, message.DESCRIPTOR.full_name, value)
        except _Enough:
            pass

    # --- findings ----------------------------------------------------------------------------------------------

    def _say(self, text: str, kind: str = "invalid", *steps: str) -> None:
        self._report(reduce(join_paths, (*self._path, *steps), ""), text, kind)
        self._left -= 1
        if not self._left:
            raise _Enough

    # --- messages ----------------------------------------------------------------------------------------------

    def _message(self, message: Message, type_name: str, value: Any) -> None:
        if type_name not in _WELL_KNOWN:
            self._fields(message, value)
        elif type_name == ANY:
            self._any(message, value)
        else:
            self._well_known(message, type_name, value)

    def _well_known(self, message: Any, type_name: str, value: Any) -> None:
        try:
            if type_name in _FREE_FORM or (type_name in _TEXT_FORM and not isinstance(value, dict)):
                self._free_form(message, value)
            elif isinstance(value, dict):
                self._fields(message, value)
            elif type_name == _DURATION:
                message.seconds, message.nanos = scalars.duration(value)
            else:
                read = _plan(descriptor_of(message))["value"].read
                if value is not None and read is not None:
                    message.value = read(value)
        except Wrong as wrong:
            self._say(str(wrong))

    def _free_form(self, message: Any, value: Any) -> None:
        from google.protobuf import json_format  # most configurations need none

        if message.DESCRIPTOR.name == "Struct" and not isinstance(value, dict):
            raise Wrong(f"expects an object, not {shown(value)}")
        try:
            json_format.ParseDict(value, message, max_recursion_depth=3 * MAX_DEPTH)
        except (json_format.ParseError, RecursionError, OverflowError) as error:
            raise Wrong(f"cannot be read as {message.DESCRIPTOR.name}: {error}") from error
        repeated = _repeated_key(value)
        if repeated is not None:
            raise Wrong(f"has the key {shown(repeated)} more than once")

    def _fields(self, message: Any, value: Any) -> None:
        """The bulk of a configuration goes through here."""
        if not isinstance(value, dict):
            self._say(f"expects an object, not {shown(value)}")
            return
        plan = _plans.get(message.DESCRIPTOR) or _plan(message.DESCRIPTOR)
        seen: set[str] = set()
        path = self._path
        path.append("")
        for name, given in value.pairs if type(value) is Repeated else value.items():
            field = plan.get(name)
            if field is None:
                self._unknown(message.DESCRIPTOR, name)
                continue
            if given is None and field.type_name != _VALUE:
                continue  # the same as not given
            path[-1] = field.name
            if field.oneof is not None and given is not None:
                if field.oneof in seen:
                    self._say("cannot be set together with another member of its oneof " + field.oneof)
                    continue
                seen.add(field.oneof)
            if field.is_repeated:
                if given is not None:
                    self._collection(getattr(message, field.name), field, given, value)
            elif field.read is not None:
                try:
                    setattr(message, field.name, field.read(given))
                except Wrong as wrong:
                    self._say(str(wrong))
            else:
                if not given and field.name == "typed_config" and isinstance(given, dict):
                    continue  # says as much as none: a name alone. (FilterConfig's "config: {}" says "run here")
                child = getattr(message, field.name)
                child.SetInParent()
                if field.has_fields:
                    self._fields(child, given)
                else:
                    self._message(child, field.type_name, given)
        path.pop()

    def _unknown(self, descriptor: Descriptor, name: str) -> None:
        self._path.pop()
        if name == "<<":
            message = 'has the merge key "<<", which Envoy does not take'
        else:
            known = [field.name for field in descriptor.fields]
            now = _OF_V2.get(name, "")
            hint = f' (of the v2 API: now "{now}")' if now in known else nearest(name, known)
            message = f"{UNKNOWN_FIELD}{descriptor.full_name}{hint}"
        self._say(message, self._unknown_kind, name if name.isidentifier() else key_step(name))
        self._path.append("")

    def _collection(self, target: Any, field: _Field, value: Any, frame: dict[str, Any]) -> None:
        """A list or a map; frame: the object in which it is given."""
        if value and len(target):
            _reopen(target, field, frame)
        if field.is_map:
            self._map(target, field, value)
        else:
            self._list(target, field, value)

    def _list(self, target: Any, field: _Field, value: Any) -> None:
        name = field.name
        items: Iterable[Any] = value if isinstance(value, list) else (value,)
        if list in map(type, items):
            items = _flat(value, field.type_name)
        for item in items:
            self._path[-1] = f"{name}[{len(target)}]"
            if field.read is None:
                child = target.add()
                if field.has_fields and item is not None:
                    self._fields(child, item)
                elif item is not None or field.type_name == _VALUE:
                    self._message(child, field.type_name, item)
                continue
            try:
                target.append(field.read(item) if item is not None else _zero(field))
            except Wrong as wrong:
                self._say(str(wrong))

    def _map(self, target: Any, field: _Field, value: Any) -> None:
        if not isinstance(value, dict):
            self._say(f"expects an object, not {shown(value)}")
            return
        if type(value) is Repeated:
            self._say(f"has the key {shown(_repeated_key(value))} more than once")
        for name, given in value.items():
            self._path[-1] = field.name + key_step(name)
            try:
                key = cast(Callable[[Any], Any], field.key)(name)
                if field.read is not None:
                    target[key] = field.read(given) if given is not None else _zero(field)
                    continue
            except Wrong as wrong:
                self._say(str(wrong))
                continue
            child = target[key]  # makes the entry
            if given is not None:
                self._message(child, field.type_name, given)

    # --- Any ---------------------------------------------------------------------------------------------------

    def _any(self, message: Any, value: Any) -> None:
        if not isinstance(value, dict):
            self._say(f'expects an object with "@type", not {shown(value)}')
            return
        url = value.get("@type")
        if not isinstance(url, str):
            if value:
                self._say('has no "@type": Envoy v3 takes extensions by the type of their configuration only')
            return
        try:
            if url.rfind("/") < 1:
                raise UnknownType(url)
            inner = new_message(type_name_of(url))
        except UnknownType as unknown:
            self._say(self._unknown_type(unknown.type_name, url), "invalid", '["@type"]')
            return
        self._inner(inner, {name: given for name, given in value.items() if name != "@type"})
        message.type_url = url
        try:
            message.value = inner.SerializePartialToString(deterministic=True)
        except (EncodeError, ValueError):  # the wire format has a bound of its own
            self._say("is nested too deep")

    def _unknown_type(self, type_name: str, url: str) -> str:
        near = type_name if _is_known(type_name) else self._nearest_type(type_name)
        hint = f' (did you mean "type.googleapis.com/{near}"?)' if near else ""
        if "/" not in url:
            return f'is no type URL: {shown(url)} has no "/"{hint}'
        if url.rfind("/") == 0:
            return f'is no type URL: {shown(url)} has nothing before the "/"{hint}'
        return f'names a type that Envoy 1.40 without contrib extensions does not have: "{type_name[:200]}"{hint}'

    def _nearest_type(self, type_name: str) -> str:
        from proxy.api.near_types import nearest_type  # only for those who err

        self._hints -= 1
        return nearest_type(type_name) if self._hints >= 0 else ""

    def _inner(self, inner: Message, value: dict[str, Any]) -> None:
        type_name = inner.DESCRIPTOR.full_name
        if type_name not in _WELL_KNOWN:
            self._fields(inner, value)
            return
        for name, given in value.items():
            if name == "value":
                self._path.append("value")
                self._message(inner, type_name, given)
                self._path.pop()
            else:
                self._say(f'is not expected beside "@type" and "value" of {type_name}', "invalid", name)


def _is_known(type_name: str) -> bool:
    try:
        descriptor(type_name)
    except UnknownType:
        return False
    return True


def _reopen(target: Any, field: _Field, frame: dict[str, Any]) -> None:
    """A list or a map that is there already comes from a message given twice, which Envoy merges, but for these: the
    later replaces the earlier. Within one object it is the other way round: they are joined."""
    has_both = field.name != field.json_name and field.name in frame and field.json_name in frame
    if type(frame) is not Repeated and not has_both:
        if field.is_map:
            target.clear()
        else:
            del target[:]


def _flat(value: list[Any], type_name: str) -> Iterable[Any]:
    """Lists within a list are part of it, except where a list is a value."""
    if type_name in (_VALUE, "google.protobuf.ListValue"):
        yield from value
        return
    stack = [iter(value)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            yield item
        else:
            stack.pop()


def _zero(field: _Field) -> Any:
    """What null stands for in a list or a map of scalars: an unset value."""
    if field.read is scalars.string:
        return ""
    if field.read is scalars.octets:
        return b""
    return False if field.read is scalars.boolean else 0


def _repeated_key(value: Any) -> str | None:
    """A key given more than once, anywhere inside a free-form value."""
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is Repeated:
            keys = [key for key, _ in item.pairs]
            return next(key for key in keys if keys.count(key) > 1)
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return None
