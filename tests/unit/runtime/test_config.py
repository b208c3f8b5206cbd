"""LayeredRuntime and the Runtime* messages, compiled."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from proxy.api.pool import new_message, pool
from proxy.api.reader import Reader, unread
from proxy.runtime.config import Disk, compile_flag, compile_fraction, compile_layers
from proxy.runtime.layers import AdminLayer, DiskLayer, Layer, StaticLayer
from proxy.runtime.runtime import Runtime
from tests.support.runtime import runtime_of

DISK = Disk(lambda path: {}, lambda path: "/gone" if path.startswith("/gone/") else None)


def reader_of(type_name: str, config: dict[str, Any]) -> Reader:
    message = new_message(type_name)
    json_format.ParseDict(config, message, descriptor_pool=pool())
    return Reader(message)


def compiled(*layers: dict[str, Any]) -> tuple[list[Layer], Reader]:
    reader = reader_of("envoy.config.bootstrap.v3.LayeredRuntime", {"layers": list(layers)})
    return compile_layers(reader, "svc", DISK), reader


def test_layers_in_order() -> None:
    disk = {"symlink_root": "/r/now", "subdirectory": "sub", "append_service_cluster": True}
    layers, reader = compiled(
        {"name": "a", "static_layer": {"k": 1}},
        {"name": "b", "disk_layer": disk},
        {"name": "c", "admin_layer": {}},
        {"name": "d", "disk_layer": {"symlink_root": "/r/now"}},
    )
    assert [type(layer) for layer in layers] == [StaticLayer, DiskLayer, AdminLayer, DiskLayer]
    assert [layer.name for layer in layers] == ["a", "b", "c", "d"]
    assert [layer.path for layer in layers if isinstance(layer, DiskLayer)] == ["/r/now/sub/svc", "/r/now/"]
    assert not reader.errors.findings and not reader.errors.warnings and not unread(reader)


def test_nothing_and_an_empty_message_differ() -> None:
    assert compile_layers(None, "", DISK) == []
    layers, _ = compiled()
    assert [(type(layer), layer.name) for layer in layers] == [(AdminLayer, "")]


@pytest.mark.parametrize(
    ("layers", "path", "words"),
    [
        (
            [{"name": "a", "admin_layer": {}}, {"name": "a", "static_layer": {}}],
            "layers[1].name",
            "Duplicate",
        ),
        (
            [{"name": "a", "admin_layer": {}}, {"name": "b", "admin_layer": {}}],
            "layers[1].admin_layer",
            "Too many",
        ),
        ([{"name": "a"}], "layers[0].layer_specifier", "required"),
        ([{"name": "a", "static_layer": {"x": {"y": [1]}}}], "layers[0].static_layer", "value for x.y"),
        (
            [{"name": "a", "disk_layer": {"symlink_root": "now"}}],
            "layers[0].disk_layer.symlink_root",
            "watch",
        ),
        (
            [{"name": "a", "disk_layer": {"symlink_root": "/gone/now"}}],
            "layers[0].disk_layer.symlink_root",
            "/gone",
        ),
        (
            [{"name": "a", "rtds_layer": {"name": "r"}}],
            "layers[0].rtds_layer",
            "runtime discovery (RTDS) is not supported",
        ),
    ],
)
def test_refusals(layers: list[dict[str, Any]], path: str, words: str) -> None:
    _, reader = compiled(*layers)
    findings = reader.errors.findings + unread(reader)
    assert [finding.path for finding in findings] == [path]
    assert words in findings[0].message


def test_switches_that_are_not_there_warn() -> None:
    values = {
        "envoy.reloadable_features.max_request_headers_count": 5,
        "envoy.reloadable_features.a": True,
        "envoy": {"restart_features": {"b": False}},
    }
    _, reader = compiled({"name": "a", "static_layer": values})
    (warning,) = reader.errors.warnings
    assert warning.message.startswith("envoy.reloadable_features.a, envoy.restart_features.b: has no effect")


def test_values_without_a_message() -> None:
    assert compile_fraction(None, Runtime(), (1, 4)).share == 0.25
    assert compile_flag(None, Runtime(), True).value is True


def test_a_flag() -> None:
    runtime, change = runtime_of()
    reader = reader_of("envoy.config.core.v3.RuntimeFeatureFlag", {"default_value": True, "runtime_key": "k"})
    flag = compile_flag(reader, runtime, False)
    assert flag.value and not unread(reader)
    change(k="false")
    assert not flag.value


def test_a_fraction_without_default_value() -> None:
    runtime, change = runtime_of()
    fraction = compile_fraction(
        reader_of("envoy.config.core.v3.RuntimeFractionalPercent", {"runtime_key": "k"}), runtime, (1, 100)
    )
    assert fraction.share == 0.01
    change(k="2")
    assert fraction.share == 0.02
