"""Laws of the configuration loader: what protobuf writes we read back; nothing an operator writes can raise."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.convert import Converter
from proxy.api.json_text import mark_json, read_json
from proxy.api.load import BOOTSTRAP, load_text
from proxy.api.marks import Mark
from proxy.api.pool import descriptor, new_message, pool
from proxy.api.yaml_text import TextError, mark_yaml, read_yaml

TYPES = [
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.core.v3.Node",
    "envoy.config.route.v3.Route",
    "envoy.config.listener.v3.Listener",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
]
BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, (1 << 64) - 1),
}
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def scalar(draw: Any, field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if kind in BOUNDS:
        return draw(st.integers(*BOUNDS[kind]))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        assert field.enum_type is not None
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return draw(
            st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=8)
        )
    return draw(st.floats(width=32, allow_nan=False))


def fill(draw: Any, message: Any, depth: int) -> None:
    """Set some fields at random."""
    type_descriptor: Descriptor = message.DESCRIPTOR
    if type_descriptor.full_name == "google.protobuf.Struct":
        message.update(draw(st.dictionaries(st.text(max_size=5), PLAIN, max_size=3)))
        return
    if type_descriptor.full_name == "google.protobuf.Duration":
        message.seconds = draw(st.integers(0, 10_000))
        message.nanos = draw(st.integers(0, 999_999_999))
        return
    if type_descriptor.full_name == "google.protobuf.Any":
        inner = new_message(draw(st.sampled_from(TYPES)))
        fill(draw, inner, 0)
        message.type_url = "type.googleapis.com/" + inner.DESCRIPTOR.full_name
        message.value = inner.SerializeToString(deterministic=True)
        return
    if type_descriptor.full_name.startswith("google.protobuf.") and not type_descriptor.full_name.endswith(
        "Value"
    ):
        return
    if type_descriptor.full_name == "google.protobuf.Value":
        return
    for field in (
        draw(st.lists(st.sampled_from(list(type_descriptor.fields)), max_size=4))
        if type_descriptor.fields
        else []
    ):
        set_field(draw, message, field, depth)


def set_field(draw: Any, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is None:
        if field.is_repeated:
            getattr(message, field.name).append(scalar(draw, field))
        else:
            setattr(message, field.name, scalar(draw, field))
        return
    if field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        key = scalar(draw, field.message_type.fields_by_name["key"])
        if value.message_type is None:
            getattr(message, field.name)[key] = scalar(draw, value)
        elif depth > 0:
            fill(draw, getattr(message, field.name)[key], depth - 1)
        return
    if depth <= 0 or field.message_type.full_name in (
        "google.protobuf.Timestamp",
        "google.protobuf.ListValue",
    ):
        return
    child = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
    child.SetInParent()
    fill(draw, child, depth - 1)


@st.composite
def messages(draw: Any) -> Any:
    message = new_message(draw(st.sampled_from(TYPES)))
    fill(draw, message, 4)
    return message


def converted(type_name: str, value: Any) -> tuple[Any, list[Any]]:
    findings: list[Any] = []
    message = new_message(type_name)
    Converter(lambda *finding: findings.append(finding)).fill(message, value)
    return message, findings


@settings(max_examples=150, deadline=None)
@given(messages(), st.booleans())
def test_what_protobuf_writes_is_read_back(message: Any, snake: bool) -> None:
    text = json_format.MessageToJson(message, preserving_proto_field_name=snake, descriptor_pool=pool())
    read, findings = converted(message.DESCRIPTOR.full_name, read_json(text))
    assert findings == []
    assert read == message


@settings(max_examples=100, deadline=None)
@given(PLAIN)
def test_the_scanner_reads_json_as_the_library_does(value: Any) -> None:
    text = json.dumps(value)
    assert read_json(text) == value
    mark = mark_json(text)
    assert mark is not None
    compare(mark, value)
    if isinstance(value, (dict, list)) and value:
        assert read_json(text[:-1] + "," + text[-1]) == value


def compare(mark: Mark, value: Any) -> None:
    """The marks have the shape of the value."""
    assert (set(mark.keys) if mark.keys is not None else None) == (
        set(value) if isinstance(value, dict) else None
    )
    assert (len(mark.items) if mark.items is not None else None) == (
        len(value) if isinstance(value, list) else None
    )
    for key, child in (mark.keys or {}).items():
        compare(child, value[key])
    for child, inner in zip(mark.items or [], value if isinstance(value, list) else [], strict=True):
        compare(child, inner)


FIELDS = sorted({field.name for name in (BOOTSTRAP, *TYPES) for field in descriptor(name).fields})
SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["1s", "STATIC", "a/b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS, "@type", "value", "seconds", "<<"]) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([BOOTSTRAP, *TYPES]), SHAPES)
def test_any_shape_gives_a_message_and_findings(type_name: str, value: Any) -> None:
    message, findings = converted(type_name, value)
    assert message.DESCRIPTOR.full_name == type_name
    assert all(isinstance(path, str) and words and kind == "invalid" for path, words, kind in findings)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab:- \n[]{}\"'&*!|>#,~0x1.\\u%@`?\t", max_size=40), st.booleans())
def test_any_text_gives_a_result_or_findings(text: str, is_json: bool) -> None:
    loaded = load_text(BOOTSTRAP, text, "f", is_json=is_json)
    for finding in loaded.errors.findings:
        assert finding.file == "f"
        assert finding.message


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:- \n[]{}\"'&*!|>#,~", max_size=30))
def test_marks_have_the_shape_of_what_was_read(text: str) -> None:
    try:
        value = read_yaml(text)
    except TextError:
        assert mark_yaml(text) is None
        return
    mark = mark_yaml(text)
    if mark is not None and "!" not in text:
        compare(mark, value)
    else:
        assert mark is not None or value is None
