"""Message classes by name; what is inside an Any."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pool

from proxy.api.pool import (
    BadPayload,
    UnknownType,
    message_class,
    new_message,
    pool,
    struct_to_dict,
    type_name_of,
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


def test_our_own_messages_are_written_as_they_are_made() -> None:
    """After a change of proxy/api/schema/own.py: python -m proxy.api.schema.own."""
    from proxy.api.schema.own import FILE, serialized

    assert FILE.read_bytes() == serialized()
