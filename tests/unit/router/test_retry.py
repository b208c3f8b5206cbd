"""RetryState's accounts: the breaker, the outcomes, the back-off. What is retried is compared in tests/parity."""

from __future__ import annotations

import pytest

from proxy.base.errors import (
    CONNECTION_TERMINATION,
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    NO_ROOM,
    OVERFLOW,
    REMOTE_CONNECTION_FAILURE,
    REMOTE_REFUSED_STREAM,
    ResetReason,
)
from proxy.base.headers import RequestHeaders, ResponseHeaders
from proxy.base.ids import Ids
from proxy.router.retry import LIMIT_EXCEEDED, NOT_MATCHED, OVERFLOWED, RETRY, RetryState
from proxy.router.retry_policy import RETRY_HEADERS, RetryKnobs, RetryPolicy, compile_retry_policy
from proxy.router.route import RouteAction
from tests.support.runtime import runtime_of
from tests.unit.router.tables import ROUTES, Config, policy_of, reader_of, request


class Breaker:
    """A retry breaker with room for ``limit``."""

    def __init__(self, limit: int = 3) -> None:
        self.limit, self.held, self.most = limit, 0, 0

    def can_retry(self) -> bool:
        return self.held < self.limit

    def add_retry(self) -> None:
        self.held += 1
        self.most = max(self.most, self.held)

    def remove_retry(self) -> None:
        self.held -= 1
        assert self.held >= 0


def state_of(
    config: Config, breaker: Breaker | None = None, headers: RequestHeaders | None = None
) -> RetryState:
    return RetryState(policy_of(config), headers or request(), breaker or Breaker(), Ids(3))


def failed(status: int = 503) -> tuple[int, ResponseHeaders]:
    return status, ResponseHeaders(status)


def test_the_tries_run_out() -> None:
    breaker = Breaker()
    state = state_of({"retry_on": "5xx", "num_retries": 2}, breaker)
    assert state.should_retry_headers(*failed()) is not None and state.outcome is RETRY
    assert state.should_retry_headers(*failed()) is not None
    assert breaker.held == 1, "the second retry takes the place of the first"
    assert state.should_retry_headers(*failed()) is None and state.outcome is LIMIT_EXCEEDED
    assert breaker.held == 0 and not state.succeeded


def test_success_after_a_retry_is_told_once() -> None:
    state = state_of({"retry_on": "5xx"})
    state.should_retry_headers(*failed())
    assert not state.succeeded
    assert state.should_retry_headers(*failed(200)) is None
    assert state.outcome is NOT_MATCHED and state.succeeded
    assert state.should_retry_headers(*failed(200)) is None and not state.succeeded


def test_a_full_breaker_stops_the_retry_and_costs_a_try() -> None:
    state = state_of({"retry_on": "5xx", "num_retries": 5}, Breaker(0))
    assert state.should_retry_headers(*failed()) is None
    assert state.outcome is OVERFLOWED and state.retries_remaining == 4


def test_finish_gives_back_what_is_held() -> None:
    breaker = Breaker()
    state = state_of({"retry_on": "5xx"}, breaker)
    state.should_retry_reset(CONNECTION_TERMINATION, True)
    assert breaker.held == 1
    state.finish()
    state.finish()
    assert breaker.held == 0


@pytest.mark.parametrize(
    ("retry_on", "reason", "started", "again"),
    [
        ("5xx", OVERFLOW, False, False),
        ("5xx", NO_ROOM, False, False),
        ("5xx", REMOTE_CONNECTION_FAILURE, False, True),
        ("connect-failure", REMOTE_CONNECTION_FAILURE, False, True),
        ("connect-failure", LOCAL_CONNECTION_FAILURE, False, True),
        ("connect-failure", CONNECTION_TIMEOUT, False, True),
        ("connect-failure", CONNECTION_TERMINATION, True, False),
        ("reset", REMOTE_CONNECTION_FAILURE, False, True),
        ("gateway-error", CONNECTION_TERMINATION, True, True),
        ("reset-before-request", CONNECTION_TERMINATION, False, True),
        ("reset-before-request", CONNECTION_TERMINATION, True, False),
        ("refused-stream", REMOTE_REFUSED_STREAM, True, True),
        ("refused-stream", CONNECTION_TERMINATION, True, False),
        ("retriable-4xx", CONNECTION_TERMINATION, True, False),
        ("", CONNECTION_TERMINATION, False, False),
    ],
)
def test_resets(retry_on: str, reason: ResetReason, started: bool, again: bool) -> None:
    state = state_of({"retry_on": retry_on})
    assert (state.should_retry_reset(reason, started) is not None) is again


def test_back_off_doubles_up_to_its_maximum_with_full_jitter() -> None:
    config: Config = {
        "retry_on": "5xx",
        "num_retries": 400,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.4s"},
    }
    longest = [0.0] * 5
    for seed in range(60):
        state = RetryState(policy_of(config), request(), Breaker(), Ids(seed))
        for attempt in range(5):
            delay = state.should_retry_headers(*failed())
            assert delay is not None and 0.0 <= delay < (0.1, 0.2, 0.4, 0.4, 0.4)[attempt]
            longest[attempt] = max(longest[attempt], delay)
    assert longest[0] > 0.08 and longest[1] > 0.16 and longest[2] > 0.32 and longest[4] > 0.32


def test_the_runtime_turns_retries_off() -> None:
    runtime, change = runtime_of()
    policy = compile_retry_policy(
        reader_of(f"{ROUTES}.RetryPolicy", {"retry_on": "5xx", "num_retries": 2000}), RetryKnobs(runtime)
    )
    breaker = Breaker()
    state = RetryState(policy, request(), breaker, Ids(3))
    assert state.should_retry_headers(*failed()) is not None
    change(upstream__use_retry="0")
    assert state.should_retry_headers(*failed()) is None
    assert state.outcome is NOT_MATCHED and breaker.held == 0
    change(upstream__use_retry="25")
    again = sum(state.should_retry_headers(*failed()) is not None for _ in range(1000))
    assert 180 < again < 320


def test_the_runtime_gives_the_back_off_that_the_policy_leaves_out() -> None:
    runtime, change = runtime_of()
    knobs = RetryKnobs(runtime)

    def longest(config: Config) -> list[float]:
        """Of the first six back-offs, over many requests."""
        policy = compile_retry_policy(
            reader_of(f"{ROUTES}.RetryPolicy", {"retry_on": "5xx", **config}), knobs
        )
        policy.num_retries = 6
        found = [0.0] * 6
        for seed in range(60):
            state = RetryState(policy, request(), Breaker(), Ids(seed))
            delays = [state.should_retry_headers(*failed()) or 0.0 for _ in range(6)]
            found = list(map(max, found, delays))
        return found

    assert longest({}) == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.25, 0.25], rel=0.1)
    change(upstream__base_retry_backoff_ms="100")
    assert longest({}) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0], rel=0.1)
    back_off = {"retry_back_off": {"base_interval": "0.01s", "max_interval": "0.02s"}}
    assert longest(back_off) == pytest.approx([0.01, 0.02, 0.02, 0.02, 0.02, 0.02], rel=0.1)


def test_headers_of_an_internal_request_are_consumed() -> None:
    fields = [(name.decode(), "5xx" if name.endswith(b"retry-on") else "1") for name in sorted(RETRY_HEADERS)]
    headers = request(fields=[("a", "1"), *fields])
    state = RouteAction("c").retry_state(headers, Breaker(), Ids(1), internal=True)
    assert headers.fields == [(b"a", b"1")]
    assert state is not None and state.retries_remaining == 1
    assert state.should_retry_headers(*failed()) is not None


def test_no_policy_no_state() -> None:
    action = RouteAction("c")
    assert action.retry_state(request(), Breaker(), Ids(1), internal=False) is None
    assert action.retry_state(request(), Breaker(), Ids(1), internal=True) is None
    action.retry = RetryPolicy()
    assert action.retry_state(request(), Breaker(), Ids(1), internal=False) is None


def test_lists_in_headers_are_bounded() -> None:
    many = ",".join(str(code) for code in range(1000))
    fields = [
        ("x-envoy-retry-on", "retriable-status-codes,retriable-headers"),
        ("x-envoy-retriable-status-codes", many),
        ("x-envoy-retriable-header-names", many),
    ]
    state = RouteAction("c").retry_state(request(fields=fields), Breaker(), Ids(1), internal=True)
    assert state is not None
    assert state.should_retry_headers(*failed(99)) is not None
    assert state.should_retry_headers(*failed(404)) is None
    assert len(state._codes) == 100 and len(state._headers) == 100
