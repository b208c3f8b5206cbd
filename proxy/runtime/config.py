"""The runtime messages of Envoy's API, compiled: LayeredRuntime into layers, Runtime* values into slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from proxy.api.reader import Reader, reads
from proxy.runtime.entry import DENOMINATORS
from proxy.runtime.layers import AdminLayer, DiskLayer, Layer, LayerError, ReadDirectory, StaticLayer
from proxy.runtime.runtime import Runtime
from proxy.runtime.slots import BooleanSlot, DoubleSlot, FractionSlot, IntegerSlot

# Envoy's switches between an older and a newer way of doing the same thing, named here by their beginning. Two of the
# names hold numbers that are honoured (http.hcm_config reads them).
_SWITCHES = ("envoy.reloadable_features.", "envoy.restart_features.")
MAX_REQUEST_HEADERS_KB = "envoy.reloadable_features.max_request_headers_size_kb"
MAX_REQUEST_HEADERS_COUNT = "envoy.reloadable_features.max_request_headers_count"
_HONOURED = frozenset({MAX_REQUEST_HEADERS_KB, MAX_REQUEST_HEADERS_COUNT})
_LAYER = "envoy.config.bootstrap.v3.RuntimeLayer"


class Disk(NamedTuple):
    """How disk layers reach the disk. missing_parent: the directory in which a symlink_root should stand, when there
    is none; None when there is."""

    read: ReadDirectory
    missing_parent: Callable[[str], str | None]


@reads("envoy.config.bootstrap.v3.LayeredRuntime")
def compile_layers(reader: Reader | None, service_cluster: str, disk: Disk) -> list[Layer]:
    """Without the message there is no layer at all; with an empty one there is an admin layer, as in Envoy."""
    if reader is None:
        return []
    entries = reader.each("layers")
    if not entries:
        return [AdminLayer("")]
    layers: list[Layer] = []
    names: set[str] = set()
    for entry in entries:
        layer = _compile_layer(entry, service_cluster, disk)
        if layer is None:
            continue
        if layer.name in names:
            entry.fail("name", f"Duplicate layer name: {layer.name}")
        if isinstance(layer, AdminLayer) and any(isinstance(other, AdminLayer) for other in layers):
            entry.fail("admin_layer", "Too many admin layers specified, at most one may be")
        names.add(layer.name)
        layers.append(layer)
    return layers


@reads(_LAYER)
def _compile_layer(reader: Reader, service_cluster: str, disk: Disk) -> Layer | None:
    name = reader.text("name")
    kind = reader.which("layer_specifier")
    if kind == "static_layer":
        return _compile_static(reader, name)
    if kind == "disk_layer":
        return _compile_disk(reader.sub("disk_layer"), name, service_cluster, disk)
    if kind == "admin_layer":
        reader.sub("admin_layer")
        return AdminLayer(name)
    if kind is None:
        reader.fail("layer_specifier", "is required: one of static_layer, disk_layer, admin_layer")
    reader.unsupported(
        "rtds_layer",
        "runtime discovery (RTDS) is not supported; static_layer, disk_layer and admin_layer are",
    )
    return None


@reads(_LAYER)
def _compile_static(reader: Reader, name: str) -> Layer | None:
    try:
        layer = StaticLayer(name, reader.struct("static_layer"))
    except LayerError as error:
        message = f"{error}: a number, a text, a boolean, a fraction or a map of those is needed"
        reader.fail("static_layer", message)
        return None
    switches = sorted(key for key in layer.entries() if key.startswith(_SWITCHES) and key not in _HONOURED)
    if switches:
        message = (
            f"{', '.join(switches)}: has no effect, there is no such switch here (docs/configuration.md)"
        )
        reader.warn("static_layer", message)
    return layer


@reads(f"{_LAYER}.DiskLayer")
def _compile_disk(reader: Reader | None, name: str, service_cluster: str, disk: Disk) -> Layer | None:
    if reader is None:
        return None
    root = reader.text("symlink_root")
    path = f"{root}/{reader.text('subdirectory')}"
    if reader.flag("append_service_cluster"):
        path += f"/{service_cluster}"
    if "/" not in root:
        reader.fail("symlink_root", f'"{root}" is not a path with a directory to watch')
        return None
    missing = disk.missing_parent(root)
    if missing is not None:
        reader.fail("symlink_root", f"cannot be watched: there is no directory {missing}")
        return None
    return DiskLayer(name, root, path, disk.read)


# -- values -------------------------------------------------------------------------------------------------------


@reads("envoy.config.core.v3.RuntimeFractionalPercent")
def compile_fraction(
    reader: Reader | None, runtime: Runtime, default: tuple[int, int] = (100, 100)
) -> FractionSlot:
    """default: (numerator, denominator) without the message or its default_value."""
    if reader is None:
        return FractionSlot("", *default)
    value = reader.sub("default_value")
    numerator, denominator = fraction_of(value) if value is not None else default
    return runtime.fraction(reader.text("runtime_key"), numerator, denominator)


@reads("envoy.type.v3.FractionalPercent")
def fraction_of(reader: Reader) -> tuple[int, int]:
    """(numerator, denominator)."""
    return reader.number("numerator"), DENOMINATORS.get(reader.enum("denominator"), 100)


@reads("envoy.config.core.v3.RuntimeUInt32")
def compile_uint32(reader: Reader, runtime: Runtime) -> IntegerSlot:
    """A number."""
    return runtime.integer(reader.text("runtime_key"), reader.number("default_value"))


@reads("envoy.config.core.v3.RuntimeDouble")
def compile_double(reader: Reader, runtime: Runtime) -> DoubleSlot:
    """A number, not necessarily whole."""
    return runtime.double(reader.text("runtime_key"), reader.real("default_value"))


@reads("envoy.config.core.v3.RuntimeFeatureFlag")
def compile_flag(reader: Reader | None, runtime: Runtime, default: bool) -> BooleanSlot:
    """default: without the message or its default_value."""
    if reader is None:
        return BooleanSlot("", default)
    return runtime.boolean(reader.text("runtime_key"), reader.wrapped("default_value", default))
