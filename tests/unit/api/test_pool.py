"""Message classes by name; what is inside an Any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool

from proxy.api.pool import (
    BadPayload,
    UnknownType,
    definition,
    descriptor,
    is_map,
    message_class,
    new_message,
    pool,
    struct_to_dict,
    type_name_of,
    type_names,
    unpack,
)

ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def any_of(type_name: str, value: bytes = b"") -> Any:
    message: Any = new_message("google.protobuf.Any")
    message.type_url = f"type.googleapis.com/{type_name}"
    message.value = value
    return message


def typed_struct(package: str, inner: dict[str, Any], type_name: str = ROUTER) -> Any:
    message: Any = new_message(f"{package}.TypedStruct")
    message.type_url = f"type.googleapis.com/{type_name}"
    message.value.update(inner)
    return any_of(f"{package}.TypedStruct", message.SerializeToString())


def test_the_pool_is_private() -> None:
    assert pool() is pool()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("envoy.config.cluster.v3.Cluster")


def test_classes_by_name() -> None:
    cluster: Any = new_message("envoy.config.cluster.v3.Cluster")
    cluster.name = "a"
    assert message_class("envoy.config.cluster.v3.Cluster").FromString(cluster.SerializeToString()) == cluster
    with pytest.raises(UnknownType) as caught:
        new_message("envoy.config.cluster.v3.Clutser")
    assert caught.value.type_name == "envoy.config.cluster.v3.Clutser"


def test_type_name_is_what_follows_the_last_slash() -> None:
    assert type_name_of("type.googleapis.com/a.B") == "a.B"
    assert type_name_of("x/y/a.B") == "a.B"
    assert type_name_of("a.B") == "a.B"


def test_unpack_any() -> None:
    router: Any = new_message(ROUTER)
    router.suppress_envoy_headers = True
    assert unpack(any_of(ROUTER, router.SerializeToString())) == router


def test_unpack_refuses_what_is_not_the_message() -> None:
    with pytest.raises(BadPayload):
        unpack(any_of(ROUTER, b"\xff\xff"))
    with pytest.raises(UnknownType):
        unpack(any_of("stats.PluginConfig"))


@pytest.mark.parametrize("package", ["xds.type.v3", "udpa.type.v1"])
def test_unpack_typed_struct(package: str) -> None:
    router: Any = new_message(ROUTER)
    router.suppress_envoy_headers = True
    assert unpack(typed_struct(package, {"suppressEnvoyHeaders": True})) == router


def test_unpack_typed_struct_says_where_it_is_wrong() -> None:
    with pytest.raises(BadPayload) as caught:
        unpack(typed_struct("xds.type.v3", {"suppress_envoy_header": True}))
    [(path, message, kind)] = caught.value.findings
    assert path == "suppress_envoy_header"
    assert 'did you mean "suppress_envoy_headers"?' in message
    assert kind == "invalid"
    with pytest.raises(UnknownType):
        unpack(typed_struct("xds.type.v3", {}, "stats.PluginConfig"))


def test_struct_to_dict_keeps_whole_numbers_whole() -> None:
    struct: Any = new_message("google.protobuf.Struct")
    struct.update({"a": 1, "b": 1.5, "c": [True, None, {"d": "e"}], "f": float("inf")})
    plain = struct_to_dict(struct)
    assert plain == {"a": 1, "b": 1.5, "c": [True, None, {"d": "e"}], "f": float("inf")}
    assert type(plain["a"]) is int


def test_a_definition_knows_the_options_of_the_pool() -> None:
    found: Any = definition(descriptor("envoy.config.cluster.v3.Cluster"))
    name = next(field for field in found.field if field.name == "name")
    rules = name.options.Extensions[pool().FindExtensionByName("validate.rules")]  # type: ignore[attr-defined]
    assert rules.string.min_len == 1
    inner: Any = definition(descriptor("envoy.config.cluster.v3.Cluster.CustomClusterType"))
    assert inner.name == "CustomClusterType"


def test_maps_are_known_from_lists_of_messages() -> None:
    fields = descriptor("envoy.config.cluster.v3.Cluster").fields_by_name
    maps = [name for name, field in fields.items() if is_map(field)]
    assert maps == ["typed_extension_protocol_options"]


@pytest.mark.slow
def test_protobuf_in_pure_python_will_do(tmp_path: Path) -> None:
    """Where no wheel fits, protobuf has no compiled part."""
    file = tmp_path / "bootstrap.json"
    backend = {"name": "back", "connect_timeout": "1s", "metadata": {"filter_metadata": {"a": {"b": 1}}}}
    file.write_text(json.dumps({"static_resources": {"clusters": [backend, {"name": ""}]}}))
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "validate", str(file)],
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "static_resources.clusters[1].name: must not be empty" in done.stderr
    assert done.stderr.count("must") == 1


def test_files_are_loaded_when_their_types_are_asked_for() -> None:
    code = (
        "from proxy.api import pool as p\n"
        "p.new_message('envoy.config.bootstrap.v3.Bootstrap')\n"
        "some = len(p._schema()._left)\n"
        "p.descriptor('zipkin.proto3.Span')\n"  # stands in no folder of its package's name
        "print(some, len(p._schema()._left))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    some, none = map(int, done.stdout.split())
    assert some > 300
    assert none == 0


def test_every_type_of_the_schema_is_found() -> None:
    assert all(descriptor(name).full_name == name for name in type_names())
