"""Custom tags: every kind, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.tracing.tags import compile_custom_tags, metadata_text
from tests.unit.tracing.world import World

CUSTOM_TAG = "envoy.type.tracing.v3.CustomTag"


def value_of(config: dict[str, Any], metadata: dict[str, Any] | None = None) -> str | None:
    world = World()
    reader = world.reader({"tag": "t", **config}, CUSTOM_TAG)
    (tag,) = compile_custom_tags([reader], {"HOME": "/root"})
    assert not reader.errors
    assert tag.tag == "t"
    stream = world.stream((b"x-a", b"1"), (b"x-a", b"2"), (b"x-bad", b"\xff"))
    stream.metadata = metadata
    return tag.value(stream)


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({"literal": {"value": "v"}}, "v"),
        ({"environment": {"name": "HOME"}}, "/root"),
        ({"environment": {"name": "NONE", "default_value": "d"}}, "d"),
        ({"environment": {"name": "NONE"}}, ""),
        ({"request_header": {"name": "X-A"}}, "1"),
        ({"request_header": {"name": ":path"}}, "/hello"),
        ({"request_header": {"name": "x-bad"}}, "\N{REPLACEMENT CHARACTER}"),
        ({"request_header": {"name": "x-none", "default_value": "d"}}, "d"),
        ({"value": "%REQ(:METHOD)% it"}, "GET it"),
        ({"value": "%REQ(:METHOD)%%REQ(x-none)%"}, "GET"),
        ({"value": "%REQ(x-none)%"}, ""),
    ],
)
def test_values(config: dict[str, Any], value: str) -> None:
    assert value_of(config) == value


METADATA = {
    "a": {"text": "x", "yes": True, "number": 2.5, "list": [1, "b"], "deep": {"er": "y"}, "none": None}
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["text"], "x"),
        (["yes"], "true"),
        (["number"], "2.5"),
        (["list"], '[1,"b"]'),
        (["deep", "er"], "y"),
        (["deep"], '{"er":"y"}'),
        (["none"], "d"),
        (["missing"], "d"),
        (["text", "er"], "d"),
    ],
)
@pytest.mark.parametrize("kind", [{}, {"kind": {"request": {}}}])
def test_metadata(path: list[str], value: str, kind: dict[str, Any]) -> None:
    key = {"key": "a", "path": [{"key": step} for step in path]}
    config = {"metadata": {"metadata_key": key, "default_value": "d", **kind}}
    assert value_of(config, METADATA) == value
    assert value_of(config, None) == "d"


@pytest.mark.parametrize("kind", ["route", "cluster", "host"])
def test_metadata_of_what_is_configured(kind: str) -> None:
    key = {"key": "a", "path": [{"key": "b"}]}
    config = {"tag": "t", "metadata": {"metadata_key": key, "kind": {kind: {}}}}
    (tag,) = compile_custom_tags([World().reader(config, CUSTOM_TAG)], {})
    stream: Any = SimpleNamespace(metadata=None, route=None, upstream_host=None, cluster=None)
    assert tag.value(stream) == ""
    holder = SimpleNamespace(metadata={"a": {"b": f"of the {kind}"}})
    setattr(stream, {"host": "upstream_host"}.get(kind, kind), holder)
    assert tag.value(stream) == f"of the {kind}"


def test_false_is_a_value() -> None:
    assert metadata_text(False) == "false"


@pytest.mark.parametrize(
    ("config", "environ", "path", "kind"),
    [
        ({}, {}, "type", "invalid"),
        ({"value": "%NOPE%"}, {}, "value", "invalid"),
        ({"environment": {"name": "HOME"}}, None, "environment", "unsupported"),
        ({"metadata": {"kind": {"request": {}}}}, {}, "metadata.metadata_key", "invalid"),
    ],
)
def test_refused(config: dict[str, Any], environ: dict[str, str] | None, path: str, kind: str) -> None:
    reader = World().reader({"tag": "t", **config}, CUSTOM_TAG)
    assert compile_custom_tags([reader], environ) == ()
    assert [(finding.path, finding.kind) for finding in reader.errors.findings] == [(path, kind)]


def test_the_first_definition_counts() -> None:
    world = World()
    readers = [world.reader({"tag": "t", "literal": {"value": value}}, CUSTOM_TAG) for value in ("1", "2")]
    assert [tag.value(world.stream()) for tag in compile_custom_tags(readers, {})] == ["1"]
