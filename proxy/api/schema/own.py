"""Messages of our own, beside Envoy's: made here in code, so that the recovered schema stays what the binary holds.

message outrider.filters.http.python.v1.Python   see docs/python-filters.md
message outrider.tracers.python.v1.SpanExporter  see docs/tracing.md
"""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

_TEXT = FieldDescriptorProto.TYPE_STRING
_MESSAGE = FieldDescriptorProto.TYPE_MESSAGE
_ENUM = FieldDescriptorProto.TYPE_ENUM


def own_files() -> list[FileDescriptorProto]:
    """Every file of ours, each after what it imports; Google's well-known types are there already."""
    return [_python_filter(), _span_exporter()]


def _python_filter() -> FileDescriptorProto:
    package = "outrider.filters.http.python.v1"
    file = FileDescriptorProto(
        name="outrider/filters/http/python/v1/python.proto",
        package=package,
        syntax="proto3",
        dependency=[f"google/protobuf/{name}.proto" for name in ("duration", "struct", "wrappers")],
    )
    message = file.message_type.add(name="Python")
    on_error = message.enum_type.add(name="OnError")
    on_error.value.add(name="FAIL", number=0)
    on_error.value.add(name="CONTINUE", number=1)
    _field(message, 1, "filter", _TEXT)
    _field(message, 2, "file", _TEXT)
    _field(message, 3, "class", _TEXT)
    _field(message, 4, "config", _MESSAGE, ".google.protobuf.Struct")
    _field(message, 5, "on_error", _ENUM, f".{package}.Python.OnError")
    _field(message, 6, "timeout", _MESSAGE, ".google.protobuf.Duration")
    _field(message, 7, "max_concurrent_hooks", _MESSAGE, ".google.protobuf.UInt32Value")
    return file


def _span_exporter() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="outrider/tracers/python/v1/span_exporter.proto",
        package="outrider.tracers.python.v1",
        syntax="proto3",
        dependency=[f"google/protobuf/{name}.proto" for name in ("struct", "wrappers")],
    )
    message = file.message_type.add(name="SpanExporter")
    _field(message, 1, "exporter", _TEXT)
    _field(message, 2, "file", _TEXT)
    _field(message, 3, "class", _TEXT)
    _field(message, 4, "config", _MESSAGE, ".google.protobuf.Struct")
    _field(message, 5, "service_name", _TEXT)
    _field(message, 6, "max_cache_size", _MESSAGE, ".google.protobuf.UInt32Value")
    return file


def _field(
    message: DescriptorProto,
    number: int,
    name: str,
    kind: FieldDescriptorProto.Type.ValueType,
    type_name: str = "",
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=kind,
        type_name=type_name or None,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
