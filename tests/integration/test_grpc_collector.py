"""Spans over gRPC to a real grpcio server, from us and from Envoy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.client import Client, request
from tests.support.collector import otlp_spans
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream, reply

pytest.importorskip("grpc")
from tests.support.grpc_service import Answer, Call, GrpcHost, http2_options

KINDS = [
    Outrider,
    pytest.param(
        Envoy, marks=[pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]
    ),
]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def traced(port: int, upstream: int, collector: int, **service: Any) -> dict[str, Any]:
    grpc = {"envoy_grpc": {"cluster_name": "collector", "authority": "otel.example"}, **service}
    typed = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": grpc,
        "service_name": "front",
    }
    hcm = {"tracing": {"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": typed}}}
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm=hcm, traffic_direction="INBOUND")
    hosts = cluster("collector", collector, **http2_options())
    return bootstrap(free_port(), [listener], [cluster("up", upstream), hosts])


def wait(holds: Callable[[], bool], timeout_s: float = 12.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def spans(host: GrpcHost) -> list[dict[str, Any]]:
    return [span for call in host.calls for span in otlp_spans(call.message)]


@pytest.mark.parametrize("kind", KINDS)
def test_spans_come_over_grpc(kind: type[Outrider] | type[Envoy]) -> None:
    port = free_port()
    metadata = [{"key": "X-Api-Key", "value": "a secret"}]
    with GrpcHost() as collector, Upstream([reply(200, b"ok")]) as upstream:
        config = traced(port, upstream.port, collector.port, initial_metadata=metadata)
        with kind(config) as proxy, Client(port) as client:
            for number in range(6):
                assert client.send(request("GET", f"/{number}")).read().status == 200
            wait(lambda: len(spans(collector)) == 6)
            # the host has taken the last call; its answer is still on the way
            proxy.wait_for_stat("cluster.collector.upstream_rq_200", len(collector.calls))
            proxy.wait_for_stat("tracing.opentelemetry.spans_sent", 6)
            stats = proxy.stats()
        assert stats["tracing.opentelemetry.spans_sent"] == 6
        assert stats["cluster.collector.upstream_rq_200"] == len(collector.calls)
        assert stats["cluster.collector.internal.upstream_rq_200"] == len(collector.calls)
    call = collector.calls[0]
    assert call.method == EXPORT
    assert call.metadata["x-api-key"] == "a secret"
    assert call.metadata["x-envoy-internal"] == "true"
    assert call.metadata["user-agent"].startswith("OTel-OTLP-Exporter-")
    assert [span["tags"]["http.url"].rpartition("/")[2] for span in spans(collector)] == list("012345")
    assert {span["resource"]["service.name"] for span in spans(collector)} == {"front"}


def test_a_collector_that_is_busy_gets_them_again() -> None:
    port = free_port()

    def answer(call: Call) -> Answer:
        return Answer(status="UNAVAILABLE", text="later") if len(collector.calls) == 1 else Answer()

    with GrpcHost(answer) as collector, Upstream([reply(200, b"ok")]) as upstream:
        with Outrider(traced(port, upstream.port, collector.port)) as proxy, Client(port) as client:
            assert client.send(request("GET", "/")).read().status == 200
            proxy.wait_for_stat("tracing.opentelemetry.reports_sent", 1)
            assert proxy.stats()["tracing.opentelemetry.reports_retried"] == 1
    assert len(collector.calls) == 2
    assert collector.calls[0].message == collector.calls[1].message


def test_a_collector_that_is_too_slow() -> None:
    """The call ends by the service's timeout, which the collector is told."""
    port = free_port()

    def answer(call: Call) -> Answer:
        time.sleep(0.5)
        return Answer()

    with GrpcHost(answer) as collector, Upstream([reply(200, b"ok")]) as upstream:
        config = traced(port, upstream.port, collector.port, timeout="0.1s")
        with Outrider(config) as proxy, Client(port) as client:
            assert client.send(request("GET", "/")).read().status == 200
            proxy.wait_for_stat("tracing.opentelemetry.reports_failed", 1)
            assert proxy.stats()["tracing.opentelemetry.reports_retried"] == 1
    remaining = collector.calls[0].time_remaining
    assert remaining is not None and remaining <= 0.1


def test_the_last_spans_leave_at_the_end() -> None:
    port = free_port()
    with GrpcHost() as collector, Upstream([reply(200, b"ok")]) as upstream:
        with Outrider(traced(port, upstream.port, collector.port)), Client(port) as client:
            assert client.send(request("GET", "/")).read().status == 200
        assert len(spans(collector)) == 1
