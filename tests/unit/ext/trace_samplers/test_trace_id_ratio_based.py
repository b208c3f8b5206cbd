"""TraceIdRatioBased: the share, by the trace id alone. (That Envoy keeps the same: tests/parity, otel_ratio.)"""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.ids import Ids
from proxy.ext.trace_samplers.trace_id_ratio_based import TraceIdRatioBased
from tests.unit.tracing.world import World

TYPE = "envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig"


def ratio(numerator: int, denominator: str = "HUNDRED") -> TraceIdRatioBased:
    world = World()
    config: dict[str, Any] = {"sampling_percentage": {"numerator": numerator, "denominator": denominator}}
    return TraceIdRatioBased(world.reader(config, TYPE), world.context)


@pytest.mark.parametrize(
    ("numerator", "denominator", "share"),
    [(0, "HUNDRED", 0.0), (30, "HUNDRED", 0.3), (2500, "TEN_THOUSAND", 0.25), (100, "HUNDRED", 1.0)],
)
def test_the_share(numerator: int, denominator: str, share: float) -> None:
    sampler, ids = ratio(numerator, denominator), Ids(11)
    kept = sum(sampler.keeps(b"%032x" % ids.getrandbits(128), None) for _ in range(4000))
    assert abs(kept / 4000 - share) < 0.03


def test_the_first_eight_bytes_decide_little_end_first() -> None:
    sampler = ratio(1)
    assert sampler.keeps(b"64" + b"00" * 7 + b"ff" * 8, None)  # 100
    assert not sampler.keeps(b"0001" + b"00" * 6 + b"ff" * 8, None)  # 256


def test_the_parent_and_the_width_do_not_matter() -> None:
    sampler = ratio(50)
    assert sampler.keeps(b"00" * 15 + b"01", False) is sampler.keeps(b"00" * 15 + b"01", True)
    assert sampler.keeps(b"ff" * 8, None) is sampler.keeps(b"00" * 8 + b"ff" * 8, None)
