"""core.v3.GrpcService: what is taken from it, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.http.grpc_service import GrpcService, compile_grpc_service
from tests.unit.tracing.world import World


def compiled(config: dict[str, Any]) -> tuple[GrpcService, list[str]]:
    world = World()
    reader = world.reader(config, "envoy.config.core.v3.GrpcService")
    service = compile_grpc_service(reader, world.context, 7.0)
    return service, [finding.message for finding in reader.errors.findings]


def envoy(**more: Any) -> dict[str, Any]:
    return {"envoy_grpc": {"cluster_name": "zipkin", **more}}


def test_what_is_taken() -> None:
    service, said = compiled(
        {
            **envoy(authority="a.example", max_receive_message_length=100, skip_envoy_headers=True),
            "timeout": "2s",
            "initial_metadata": [{"key": "X-A", "value": "1"}, {"key": "b-bin", "raw_value": "AAH/"}],
        }
    )
    assert not said
    assert (service.cluster, service.authority, service.timeout_s) == ("zipkin", b"a.example", 2.0)
    assert service.metadata == ((b"x-a", b"1"), (b"b-bin", b"\x00\x01\xff"))
    assert (service.limit_bytes, service.says_envoy) == (100, False)


def test_defaults() -> None:
    service, said = compiled(envoy())
    assert not said
    assert (service.authority, service.timeout_s, service.says_envoy) == (b"", 7.0, True)
    assert service.key() == compiled(envoy())[0].key() != compiled(envoy(authority="b"))[0].key()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"envoy_grpc": {"cluster_name": "nobody"}}, "unknown cluster 'nobody'"),
        (envoy(retry_policy={}), "retries of gRPC calls of our own are not configurable"),
        ({**envoy(), "retry_policy": {}}, "retries of gRPC calls of our own are not configurable"),
        (
            {"google_grpc": {"target_uri": "a:1", "stat_prefix": "x"}},
            "Google's gRPC client is not built in; envoy_grpc is supported",
        ),
        ({}, "is missing: there is nobody to call"),
    ],
)
def test_what_is_refused(config: dict[str, Any], said: str) -> None:
    assert compiled(config)[1] == [said]
