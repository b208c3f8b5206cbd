"""The scenarios, by theme; each module holds its own list."""

from __future__ import annotations

from tests.parity.scenarios import (
    basics,
    connections,
    failures,
    forwarding,
    grpc,
    hcm,
    header_ops,
    http2,
    limits,
    listener_logs,
    log_filters,
    logs,
    matching,
    operators,
    retrying,
    rewriting,
    routes,
    routing,
    tcp,
    timing,
    tracing,
    upstreams,
)
from tests.support.parity.scenario import Scenario

SCENARIOS: list[Scenario] = [
    *basics.SCENARIOS,
    *connections.SCENARIOS,
    *failures.SCENARIOS,
    *grpc.SCENARIOS,
    *http2.SCENARIOS,
    *limits.SCENARIOS,
    *routing.SCENARIOS,
    *matching.SCENARIOS,
    *rewriting.SCENARIOS,
    *retrying.SCENARIOS,
    *header_ops.SCENARIOS,
    *routes.SCENARIOS,
    *tracing.SCENARIOS,
    *logs.SCENARIOS,
    *log_filters.SCENARIOS,
    *listener_logs.SCENARIOS,
    *operators.SCENARIOS,
    *upstreams.SCENARIOS,
    *hcm.SCENARIOS,
    *forwarding.SCENARIOS,
    *timing.SCENARIOS,
    *tcp.SCENARIOS,
]
