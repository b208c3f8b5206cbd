"""RetryState against the real Envoy: the same policy and the same upstream, as many tries and the same last answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.base.errors import CONNECTION_TERMINATION
from proxy.base.headers import ResponseHeaders
from proxy.base.ids import Ids
from proxy.router.retry import LIMIT_EXCEEDED
from proxy.router.timeouts import final_timeout
from tests.support.client import get
from tests.support.config import bootstrap, cluster, http_listener
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.ports import free_port
from tests.support.upstream import Close, Request, Steps, Upstream, Wait, reply
from tests.unit.router.tables import request, routes, stream_of, table_of

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

Pairs = list[tuple[str, str]]
Answer = (
    int | str | tuple[int, Pairs]
)  # a status, "close", "slow" (beyond the per-try timeout), a status and headers
SLOW_S = 0.9
PER_TRY = "0.3s"


@dataclass(frozen=True)
class Case:
    """answers: one per try, the last one repeated; fields: of the (internal) request."""

    policy: dict[str, Any] | None
    answers: list[Answer]
    fields: Pairs = field(default_factory=list)
    added: Pairs = field(default_factory=list)


def on(words: str, **more: Any) -> dict[str, Any]:
    return {"retry_on": words, **more}


CASES = [
    Case(None, [503]),
    Case({}, [503]),
    Case(on("5xx"), [503, 200]),
    Case(on("5xx"), [503, 503, 200]),
    Case(on("5xx", num_retries=0), [503, 200]),
    Case(on("5xx", num_retries=3), [500, 501, 599, 200]),
    Case(on("5xx", num_retries=3), [404, 200]),
    Case(on("5xx"), [(503, [("x-envoy-overloaded", "true")]), 200]),
    Case(on("5xx"), [(503, [("x-envoy-ratelimited", "true")]), 200]),
    Case(on("envoy-ratelimited"), [(429, [("x-envoy-ratelimited", "true")]), 200]),
    Case(on("envoy-ratelimited"), [429, 200]),
    Case(on("gateway-error", num_retries=5), [502, 503, 504, 500, 200]),
    Case(on("retriable-4xx"), [409, 200]),
    Case(on("retriable-4xx"), [404, 200]),
    Case(on("retriable-status-codes", retriable_status_codes=[404, 425]), [404, 200]),
    Case(on("retriable-status-codes", retriable_status_codes=[404, 425]), [425, 200]),
    Case(on("retriable-status-codes"), [404, 200]),
    Case(on("5xx", retriable_status_codes=[404]), [404, 200]),
    Case(
        on("retriable-headers", retriable_headers=[{"name": "x-again", "string_match": {"exact": "yes"}}]),
        [(200, [("x-again", "yes")]), (200, [("x-again", "no")])],
    ),
    Case(on("5xx", retriable_request_headers=[{"name": "x-may"}]), [503, 200]),
    Case(on("5xx", retriable_request_headers=[{"name": "x-may"}]), [503, 200], [("x-may", "1")]),
    Case({"retriable_request_headers": [{"name": "x-may"}]}, [503, 200], [("x-envoy-retry-on", "5xx")]),
    Case(on(" 5xx , bogus"), [503, 200]),
    Case(on("cancelled,unavailable"), [(200, [("grpc-status", "14")]), (200, [("grpc-status", "0")])]),
    Case(on("cancelled"), [(200, [("grpc-status", "14")]), (200, [("grpc-status", "0")])]),
    Case(
        on("internal,deadline-exceeded,resource-exhausted", num_retries=4),
        [
            (200, [("grpc-status", "13")]),
            (200, [("grpc-status", "4")]),
            (200, [("grpc-status", "8")]),
            200,
        ],
    ),
    Case(on("5xx"), ["close", 200]),
    Case(on("reset"), ["close", 200]),
    Case(on("gateway-error"), ["close", 200]),
    Case(on("connect-failure"), ["close", 200]),
    Case(on("reset-before-request"), ["close", 200]),
    Case(on("refused-stream"), ["close", 200]),
    Case(on("retriable-4xx"), ["close", 200]),
    Case(on("reset"), [503, 200]),
    Case(on("reset", num_retries=2), ["close", "close", 503]),
    Case(on("5xx", per_try_timeout=PER_TRY), ["slow", 200]),
    Case(on("gateway-error", per_try_timeout=PER_TRY), ["slow", 200]),
    Case(on("reset", per_try_timeout=PER_TRY), ["slow", 200]),
    Case(on("connect-failure", per_try_timeout=PER_TRY), ["slow", 200]),
    Case(on("reset-before-request", per_try_timeout=PER_TRY), ["slow", 200]),
    Case(on("5xx", per_try_timeout=PER_TRY), ["slow", "slow", 200]),
    Case(None, [503, 200], [("x-envoy-retry-on", "5xx")]),
    Case(None, [503, 503, 503, 200], [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "3")]),
    Case(on("5xx", num_retries=3), [503, 503, 200], [("x-envoy-max-retries", "1")]),
    Case(on("5xx", num_retries=3), [503, 200], [("x-envoy-max-retries", "0")]),
    Case(on("5xx"), [503, 503, 200], [("x-envoy-max-retries", "two")]),
    Case(on("5xx"), [409, 503, 200], [("x-envoy-retry-on", "retriable-4xx"), ("x-envoy-max-retries", "2")]),
    Case(None, [(200, [("grpc-status", "1")]), 200], [("x-envoy-retry-grpc-on", "cancelled")]),
    Case(
        None,
        [418, 419, 200],
        [
            ("x-envoy-retry-on", "retriable-status-codes"),
            ("x-envoy-retriable-status-codes", "418, 419,x"),
            ("x-envoy-max-retries", "5"),
        ],
    ),
    Case(
        None,
        [(200, [("x-again", "0")]), 200],
        [("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "a, X-Again")],
    ),
    Case(
        None, ["slow", 200], [("x-envoy-retry-on", "5xx"), ("x-envoy-upstream-rq-per-try-timeout-ms", "300")]
    ),
    Case(on("5xx"), ["slow", 200], [("x-envoy-upstream-rq-timeout-ms", "100")]),
    Case(None, [503, 200], added=[("x-envoy-retry-on", "5xx")]),
    Case(None, [503, 503, 200], added=[("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]),
    Case(on("5xx", num_retries=2, per_try_timeout=PER_TRY), ["slow", "close", 200]),
]


@dataclass
class Outcome:
    """status 0: the last try was reset; 504 is the proxy's own after a timeout."""

    tries: int
    status: int
    exhausted: bool


def answer_of(case: Case, attempt: int) -> Answer:
    return case.answers[min(attempt, len(case.answers)) - 1]


def script(asked: Request) -> Steps:
    answer = answer_of(CASES[int(asked.path[1:])], int(asked.one("x-envoy-attempt-count") or 1))
    if answer == "close":
        return [Close()]
    if answer == "slow":
        return [Wait(SLOW_S), reply(200)]
    status, headers = answer if isinstance(answer, tuple) else (int(answer), [])
    return [reply(status, headers=headers)]


def config() -> dict[str, Any]:
    return routes(
        *(
            {
                "match": {"path": f"/{index}"},
                "route": {"cluster": "one", **({} if case.policy is None else {"retry_policy": case.policy})},
                "request_headers_to_add": [
                    {"header": {"key": key, "value": value}} for key, value in case.added
                ],
            }
            for index, case in enumerate(CASES)
        ),
        include_request_attempt_count=True,
        response_headers_to_add=[{"header": {"key": "x-flags", "value": "%RESPONSE_FLAGS%"}}],
    )


class Free:
    """A breaker that never opens."""

    def __init__(self) -> None:
        self.held = 0

    def can_retry(self) -> bool:
        return True

    def add_retry(self) -> None:
        self.held += 1

    def remove_retry(self) -> None:
        self.held -= 1


def in_process(index: int) -> Outcome:
    """The tries that our rooms would make."""
    case = CASES[index]
    headers = request(f"/{index}", case.fields)
    stream = stream_of(headers)
    route = table_of(config()).find(headers, stream)
    assert route is not None and route.forward is not None
    whole, one_try = final_timeout(route.forward, headers, internal=True)
    route.forward.finalize_request(headers, stream)
    breaker = Free()
    state = route.forward.retry_state(headers, breaker, Ids(1), internal=True)
    left = [name for name, _ in headers.fields if name.startswith(b"x-envoy-") and b"retr" in name]
    assert not left, "consumed, never sent upstream"
    tries, outcome, status = 0, None, 0
    while True:
        tries += 1
        answer = answer_of(case, tries)
        delay: float | None = None
        if answer == "slow" and 0 < whole < SLOW_S and not 0 < one_try < whole:
            status = 504
            break
        if answer == "slow" and 0 < one_try < SLOW_S:
            status = 504
            delay = state.should_retry_per_try_timeout() if state else None
        elif answer == "close":
            status = 503
            delay = state.should_retry_reset(CONNECTION_TERMINATION, True) if state else None
        else:
            status, fields = (
                answer if isinstance(answer, tuple) else (200 if answer == "slow" else int(answer), [])
            )
            pairs = [(name.encode(), value.encode()) for name, value in fields]
            delay = state.should_retry_headers(status, ResponseHeaders(status, pairs)) if state else None
        outcome = state.outcome if state else None
        if delay is None:
            break
        assert 0.0 <= delay < 0.25
    if state is not None:
        state.finish()
    assert breaker.held == 0
    return Outcome(tries, status, outcome is LIMIT_EXCEEDED)


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[int, Upstream]]:
    number = free_port()
    internal = {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}
    hcm = {"route_config": config(), "internal_address_config": internal, "use_remote_address": True}
    with Upstream(script) as upstream:
        listener = http_listener(number, [], hcm=hcm)
        with Envoy(bootstrap(free_port(), [listener], [cluster("one", upstream.port)])):
            yield number, upstream


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda index: f"{index}")
def test_as_many_tries_as_envoy(rig: tuple[int, Upstream], index: int) -> None:
    port, upstream = rig
    upstream.reset()
    ours = in_process(index)
    answer = get(port, f"/{index}", CASES[index].fields)
    tries = upstream.wait_for(ours.tries)  # a time-out's answer may be here before the last has been read
    theirs = Outcome(len(tries), answer.status, "URX" in (answer.one("x-flags") or ""))
    assert ours == theirs, CASES[index]
