"""The API's own rules (protoc-gen-validate options), compiled once per message type from the descriptors.

The options are read from the message's definition, of the pool's own class, which knows them. A test takes a value and
gives a sentence when the value breaks a rule. A field that is not set is tested here, once, with its default: what the
rules say about that is kept as ``when_unset``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from proxy.api.pool import ANY, definition, descriptor, enum_type, extension, is_map, message_type
from proxy.api.scalars import shown

Test = Callable[[Any], str | None]

DURATION = "google.protobuf.Duration"
_NOT_WRAPPERS = frozenset({"google.protobuf.ListValue", "google.protobuf.Value", "google.protobuf.NullValue"})
# validate.KnownRegex, by (number, strict).
_KNOWN_REGEX = {
    (1, True): (r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+", "is no valid HTTP header name"),
    (2, True): (r"[^\x00-\x08\x0a-\x1f\x7f]*", "is no valid HTTP header value"),
    (1, False): (r"[^\x00\n\r]*", "holds a NUL, CR or LF"),
    (2, False): (r"[^\x00\n\r]*", "holds a NUL, CR or LF"),
}
_NUMBERS = frozenset({"uint32", "uint64", "int32", "int64", "double", "float"})

#: the configuration of a load balancing policy, which Envoy 1.40 does not hold against its rules (seen)
_BALANCER = "envoy.config.cluster.v3.LoadBalancingPolicy.Policy.typed_extension_config"
_MAX_SPAN_S = 9_223_372_035  # whole nanoseconds in 63 bits, less one second (seen)

ONE, LIST, MAP = 1, 2, 3


class FieldRules:
    """shape: ONE, LIST or MAP; test: of the whole value; item, key: of each element, each key (None: no rule);
    span: what of ``test`` is about any Duration, whatever the API says of it; child: full name of the message to walk
    into, "" for none; is_any: that message is an Any; is_lenient: of what is inside, Envoy checks durations only."""

    __slots__ = (
        *("child", "deprecated", "disallowed", "is_any", "is_lenient", "item", "key", "name", "shape"),
        *("span", "test"),
    )

    def __init__(self, field: FieldDescriptor) -> None:
        self.name: str = field.name
        self.test: Test | None = None
        self.item: Test | None = None
        self.key: Test | None = None
        self.child = _child_name(field)
        self.is_any = self.child == ANY
        self.is_lenient = field.full_name == _BALANCER
        self.span: Test | None = None
        self.shape = ONE
        if field.is_repeated:
            self.shape = MAP if is_map(field) else LIST
        self.deprecated = False
        self.disallowed = False

    def add_span(self) -> None:
        """The field's type is Duration, or a list of those."""
        if self.shape == LIST:
            self.item = _all([*filter(None, (self.item,)), _span])
        else:
            self.span = _span
            self.test = _all([*filter(None, (self.test,)), _span])

    @property
    def says_anything(self) -> bool:
        """Whether there is anything to check in a field that is set."""
        return self.deprecated or bool(self.child or self.test or self.item or self.key)


class TypeRules:
    """By descriptor. fields: those about which there is anything to check; when_unset: (name, sentence); oneofs: (name,
    its members) that must be set."""

    __slots__ = ("fields", "oneofs", "type_name", "when_unset")

    def __init__(self, message: Descriptor) -> None:
        self.type_name: str = message.full_name
        self.fields: dict[FieldDescriptor, FieldRules] = {}
        self.when_unset: dict[FieldDescriptor, tuple[str, str]] = {}
        self.oneofs: list[tuple[str, list[str]]] = []
        said: Any = definition(message)
        if not _is_disabled(said.options):
            self._compile(message, said)

    def _compile(self, message: Descriptor, said: Any) -> None:
        for field, stated in zip(message.fields, said.field, strict=True):
            rules = self._field(field, stated.options)
            if field.message_type is not None and field.message_type.full_name == DURATION:
                rules.add_span()
            if rules.says_anything:
                self.fields[field] = rules
        required = _extension("validate.required")
        for oneof, stated in zip(message.oneofs, said.oneof_decl, strict=True):
            if oneof.has_options and stated.options.Extensions[required]:
                self.oneofs.append((oneof.name, [member.name for member in oneof.fields]))

    def _field(self, field: FieldDescriptor, options: Any) -> FieldRules:
        rules = FieldRules(field)
        if not field.has_options:
            return rules
        rules.deprecated = options.deprecated
        rules.disallowed = options.Extensions[_extension("envoy.annotations.disallowed_by_default")]
        extension = _extension("validate.rules")
        if not options.HasExtension(extension):
            return rules
        said = options.Extensions[extension]
        _apply(rules, field, said)
        if said.message.required or said.duration.required or said.any.required:
            if field.containing_oneof is None:
                self.when_unset[field] = (field.name, "must be set")
        elif field.is_repeated or not field.has_presence:
            broken = rules.test(() if field.is_repeated else field.default_value) if rules.test else None
            if broken is not None:
                self.when_unset[field] = (field.name, broken)
        return rules


@cache
def rules_of(type_name: str) -> TypeRules:
    """The rules of a message type by full name; made once. Raises pool.UnknownType."""
    return TypeRules(descriptor(type_name))


# --- options ---------------------------------------------------------------------------------------------------


@cache
def _extension(name: str) -> Any:
    return extension(name)


def _is_disabled(options: Any) -> bool:
    names = ("validate.disabled", "validate.ignored")
    return any(options.Extensions[_extension(name)] for name in names)


def _is_wrapper(name: str) -> bool:
    return name.startswith("google.protobuf.") and name.endswith("Value") and name not in _NOT_WRAPPERS


def _child_name(field: FieldDescriptor) -> str:
    if field.message_type is None:
        return ""
    message = field.message_type
    if is_map(field):
        value = message.fields_by_name["value"]
        if value.message_type is None:
            return ""
        message = value.message_type
    name: str = message.full_name
    return "" if name.startswith("google.protobuf.") and name != ANY else name


# --- rules into tests ------------------------------------------------------------------------------------------


def _apply(rules: FieldRules, field: FieldDescriptor, said: Any) -> None:
    kind = said.WhichOneof("type")
    if said.message.skip:
        rules.child = ""
    if kind == "repeated":
        _apply_list(rules, field, said.repeated)
    elif kind == "map":
        _apply_map(rules, field, said.map)
    elif kind is not None:
        rules.test = _test(field, said)


def _apply_list(rules: FieldRules, field: FieldDescriptor, said: Any) -> None:
    rules.test = _all(_count(said, "min_items", "max_items", "element"), [_unique] if said.unique else [])
    rules.item = _test(field, said.items)


def _apply_map(rules: FieldRules, field: FieldDescriptor, said: Any) -> None:
    entry = message_type(field)
    rules.test = _all(_count(said, "min_pairs", "max_pairs", "entry"))
    rules.key = _test(entry.fields_by_name["key"], said.keys)
    rules.item = _test(entry.fields_by_name["value"], said.values)


def _test(field: FieldDescriptor, said: Any) -> Test | None:
    """The test of one value (an element, for a list) under FieldRules; None when nothing is said about values."""
    kind = said.WhichOneof("type")
    if kind is None:
        return None
    tests: list[Test]
    if kind in _NUMBERS:
        tests = _number(getattr(said, kind))
    elif kind == "string":
        tests = _string(said.string)
    elif kind == "bytes":
        tests = _length(said.bytes, "byte", len)
    elif kind == "duration":
        tests = _duration(said.duration)
    elif kind == "enum":
        tests = _enum(field, said.enum)
    elif kind == "bool":
        wanted = said.bool.const
        text = "true" if wanted else "false"
        tests = (
            [lambda value: None if value is wanted else f"must be {text}"]
            if said.bool.HasField("const")
            else []
        )
    else:
        tests = []
    if kind in ("string", *_NUMBERS) and getattr(said, kind).ignore_empty:
        tests = [_unless_empty(test) for test in tests]
    test = _all(tests)
    wrapped = field.message_type is not None and _is_wrapper(field.message_type.full_name)
    return _inside(test) if test is not None and wrapped else test


def _all(*groups: list[Test]) -> Test | None:
    tests = [test for group in groups for test in group]
    if len(tests) < 2:
        return tests[0] if tests else None
    return lambda value: next((broken for test in tests if (broken := test(value)) is not None), None)


def _inside(test: Test) -> Test:
    return lambda wrapper: test(wrapper.value)


def _unless_empty(test: Test) -> Test:
    return lambda value: test(value) if value else None


def _unique(values: Any) -> str | None:
    return "must not have the same element twice" if len(set(values)) != len(values) else None


def _count(said: Any, least: str, most: str, word: str) -> list[Test]:
    tests: list[Test] = []
    if low := getattr(said, least):
        plural = word if low == 1 else f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
        tests.append(lambda value: None if len(value) >= low else f"must have at least {low} {plural}")
    if said.HasField(most):
        high = getattr(said, most)
        tests.append(
            lambda value: (
                None if len(value) <= high else f"must have at most {high} of them, not {len(value)}"
            )
        )
    return tests


def _number(said: Any) -> list[Test]:
    tests: list[Test] = []
    if said.HasField("gt"):
        above = said.gt
        tests.append(
            lambda value: None if value > above else f"must be greater than {above:g}, not {value:g}"
        )
    if said.HasField("gte"):
        low = said.gte
        tests.append(lambda value: None if value >= low else f"must be at least {low:g}, not {value:g}")
    if said.HasField("lt"):
        below = said.lt
        tests.append(
            lambda value: None if value < below else f"must be less than {below:.12g}, not {value:.12g}"
        )
    if said.HasField("lte"):
        high = said.lte
        tests.append(
            lambda value: None if value <= high else f"must be at most {high:.12g}, not {value:.12g}"
        )
    return tests


def _length(said: Any, unit: str, measure: Callable[[Any], int]) -> list[Test]:
    tests: list[Test] = []
    if low := said.min_len:
        words = "must not be empty" if low == 1 else f"must have at least {low} {unit}s"
        tests.append(lambda value: None if measure(value) >= low else words)
    if said.HasField("max_len"):
        high = said.max_len
        tests.append(lambda value: None if measure(value) <= high else f"must have at most {high} {unit}s")
    return tests


def _string(said: Any) -> list[Test]:
    tests = _length(said, "character", len)
    if said.HasField("max_bytes"):
        most = said.max_bytes
        tests.append(lambda value: None if len(value.encode()) <= most else f"must have at most {most} bytes")
    if said.HasField("min_bytes"):
        least = said.min_bytes
        tests.append(
            lambda value: None if len(value.encode()) >= least else f"must have at least {least} bytes"
        )
    if said.HasField("prefix"):
        prefix = said.prefix
        tests.append(lambda value: None if value.startswith(prefix) else f"must begin with {shown(prefix)}")
    if said.HasField("suffix"):
        suffix = said.suffix
        tests.append(lambda value: None if value.endswith(suffix) else f"must end with {shown(suffix)}")
    if len(getattr(said, "in")):
        tests.append(_one_of(list(getattr(said, "in"))))
    if said.HasField("pattern"):
        tests.append(_pattern(said.pattern))
    if said.well_known_regex:
        tests.append(
            _known(*_KNOWN_REGEX[said.well_known_regex, said.strict if said.HasField("strict") else True])
        )
    return tests


def _one_of(allowed: list[str]) -> Test:
    words = ", ".join(shown(one) for one in allowed)
    return lambda value: None if value in allowed else f"must be one of {words}, not {shown(value)}"


def _pattern(pattern: str) -> Test:
    # The patterns are the API's, not the operator's: a dozen simple classes, safe in ``re``.
    matches = re.compile(pattern).fullmatch
    return lambda value: None if matches(value) else f"must match {pattern}, which {shown(value)} does not"


def _known(regex: str, words: str) -> Test:
    matches = re.compile(regex).fullmatch
    return lambda value: None if matches(value) else f"{words}: {shown(value)}"


def _enum(field: FieldDescriptor, said: Any) -> list[Test]:
    values = enum_type(field).values_by_number
    names = {number: value.name for number, value in values.items()}
    tests: list[Test] = []
    if said.defined_only:
        tests.append(
            lambda value: (
                None if value in names else f"has no value {value}; one of {', '.join(names.values())}"
            )
        )
    if len(said.not_in):
        refused = frozenset(said.not_in)
        tests.append(lambda value: f"must not be {names.get(value, value)}" if value in refused else None)
    return tests


def _duration(said: Any) -> list[Test]:
    compare: tuple[tuple[str, str, Callable[[int, int], bool]], ...] = (
        ("gt", "longer than", lambda value, bound: value > bound),
        ("gte", "at least", lambda value, bound: value >= bound),
        ("lt", "shorter than", lambda value, bound: value < bound),
        ("lte", "at most", lambda value, bound: value <= bound),
    )
    tests: list[Test] = []
    for name, words, holds in compare:
        if said.HasField(name):
            tests.append(_duration_bound(_nanos(getattr(said, name)), words, holds))
    return tests


def _duration_bound(bound: int, words: str, holds: Callable[[int, int], bool]) -> Test:
    text = f"{bound / 1e9:g}s"

    def test(value: Message) -> str | None:
        nanos = _nanos(value)
        return None if holds(nanos, bound) else f"must be {words} {text}, not {nanos / 1e9:g}s"

    return test


def _span(value: Any) -> str | None:
    """What Envoy asks of every Duration, read or not."""
    if value.seconds < 0 or value.nanos < 0:
        return "must not be negative"
    if value.nanos > 999_999_999:
        return f"has more nanos than a second: {value.nanos}"
    return f"is longer than {_MAX_SPAN_S}s" if value.seconds > _MAX_SPAN_S else None


def _nanos(value: Any) -> int:
    return int(value.seconds * 1_000_000_000 + value.nanos)
