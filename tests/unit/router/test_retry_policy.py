"""RetryPolicy: intervals, and what is refused or warned about. What is retried is compared in tests/parity."""

from __future__ import annotations

import pytest

from proxy.router.retry_policy import compile_retry_policy
from tests.unit.router.tables import ROUTES, Config, policy_of, reader_of


@pytest.mark.parametrize(
    ("config", "base", "longest"),
    [
        ({}, 0.0, 0.0),  # as the runtime says
        ({"retry_back_off": {"base_interval": "1s"}}, 1.0, 10.0),
        ({"retry_back_off": {"base_interval": "0.0001s"}}, 0.001, 0.01),
        ({"retry_back_off": {"base_interval": "0.5s", "max_interval": "0.5s"}}, 0.5, 0.5),
    ],
)
def test_intervals(config: Config, base: float, longest: float) -> None:
    policy = policy_of(config)
    assert (policy.base_interval_s, policy.max_interval_s) == pytest.approx((base, longest))


def test_refusals_and_warnings() -> None:
    config = {"retry_on": "5xx,bogus", "retry_back_off": {"base_interval": "1s", "max_interval": "0.5s"}}
    reader = reader_of(f"{ROUTES}.RetryPolicy", config)
    compile_retry_policy(reader)
    assert [finding.path for finding in reader.errors.findings] == ["retry_back_off.max_interval"]
    assert ["bogus" in warning.message for warning in reader.errors.warnings] == [True]
    reader = reader_of(f"{ROUTES}.RetryPolicy", {"retry_priority": {"name": "previous"}, "retry_on": "5xx"})
    compile_retry_policy(reader)
    assert [finding.path for finding in reader.errors.findings] == ["retry_priority.typed_config"]
