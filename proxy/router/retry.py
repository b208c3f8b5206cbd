"""Should this try be followed by another? Pure: no timers, no sockets; the caller waits and tries.

``RetryState`` is one request's remaining tries, as its ``retry_policy.RetryPolicy`` and its own x-envoy-retry-* headers
allow them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from proxy.api.matchers import HeadersMatcher
from proxy.base.errors import (
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    NO_ROOM,
    OVERFLOW,
    REMOTE_CONNECTION_FAILURE,
    REMOTE_REFUSED_STREAM,
    ResetReason,
)
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.ids import Ids
from proxy.router.retry_policy import (
    GRPC_WORDS,
    HTTP_WORDS,
    MAX_INTERVAL_FACTOR,
    MAX_RETRIES,
    ON_5XX,
    ON_CONNECT_FAILURE,
    ON_ENVOY_RATELIMITED,
    ON_GATEWAY_ERROR,
    ON_GRPC_CANCELLED,
    ON_GRPC_DEADLINE_EXCEEDED,
    ON_GRPC_INTERNAL,
    ON_GRPC_RESOURCE_EXHAUSTED,
    ON_GRPC_UNAVAILABLE,
    ON_REFUSED_STREAM,
    ON_RESET,
    ON_RESET_BEFORE_REQUEST,
    ON_RETRIABLE_4XX,
    ON_RETRIABLE_HEADERS,
    ON_RETRIABLE_STATUS_CODES,
    RETRIABLE_HEADER_NAMES,
    RETRIABLE_STATUS_CODES,
    RETRY_GRPC_ON,
    RETRY_ON,
    RetryPolicy,
    parse_retry_on,
)
from proxy.router.timeouts import unsigned

if TYPE_CHECKING:
    from proxy.router.hedge import Hedged
    from proxy.upstream.host import Host

_GRPC_STATUS: Final = {
    b"1": ON_GRPC_CANCELLED,
    b"4": ON_GRPC_DEADLINE_EXCEEDED,
    b"8": ON_GRPC_RESOURCE_EXHAUSTED,
    b"13": ON_GRPC_INTERNAL,
    b"14": ON_GRPC_UNAVAILABLE,
}
_ANY_GRPC: Final = sum(GRPC_WORDS.values())
_CONNECT_FAILURES: Final = (LOCAL_CONNECTION_FAILURE, REMOTE_CONNECTION_FAILURE, CONNECTION_TIMEOUT)
MAX_HEADER_ENTRIES: Final = 100  # of a list in a header


class RetryResources(Protocol):
    """The retry breaker of a cluster's priority (proxy.upstream.circuit_breaker.ResourceManager)."""

    def can_retry(self) -> bool: ...
    def add_retry(self) -> None: ...
    def remove_retry(self) -> None: ...


class RetryOutcome:
    """What the last decision of a RetryState was; compare with ``is``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


UNDECIDED: Final = RetryOutcome("UNDECIDED")
RETRY: Final = RetryOutcome("RETRY")  # upstream_rq_retry and upstream_rq_retry_backoff_exponential
NOT_MATCHED: Final = RetryOutcome("NOT_MATCHED")
LIMIT_EXCEEDED: Final = RetryOutcome("LIMIT_EXCEEDED")  # flag URX, upstream_rq_retry_limit_exceeded
OVERFLOWED: Final = RetryOutcome("OVERFLOWED")  # flag UO, upstream_rq_retry_overflow


class RetryState:
    """The tries that one request has left.

    Each ``should_*`` answers with the back-off in seconds (0.0 is possible) or None, and says why in ``outcome``.
    While a retry is under way one unit of the breaker is held; ``finish()`` gives it back and must be called once
    the request is over. ``succeeded`` is True when the last decision ended a retry (upstream_rq_retry_success).
    hedged: see ``http.hedging``
    """

    __slots__ = (
        "_codes",
        "_headers",
        "_holds",
        "_interval_s",
        "_max_interval_s",
        "_random",
        "_resources",
        "attempted",
        "hard_deadline",
        "hedged",
        "outcome",
        "policy",
        "retries_remaining",
        "retry_on",
        "succeeded",
        "tried",
        "tried_priorities",
        "unsent",
    )

    def __init__(
        self, policy: RetryPolicy, headers: RequestHeaders, resources: RetryResources, ids: Ids
    ) -> None:
        self.policy = policy
        self.retry_on = policy.retry_on
        self.retries_remaining = policy.num_retries
        self.outcome = UNDECIDED
        self.succeeded = False
        self.tried: list[Host] = []  # kept only where a host predicate asks
        self.attempted: list[Host] = []  # and where retry_priority does, since all priorities had been tried
        self.tried_priorities: set[int] = set()
        self.unsent = 0  # tries before this one that found no connection
        self.hard_deadline = 0.0  # of the try that runs: its timeout's, where it has an idle timeout as well
        self.hedged: list[Hedged] | None = None
        self._codes = policy.retriable_status_codes
        self._headers = policy.retriable_headers
        self._interval_s = policy.base_interval_s or policy.knobs.base_interval_ms.value / 1000.0
        self._max_interval_s = policy.max_interval_s or self._interval_s * MAX_INTERVAL_FACTOR
        self._random: Callable[[], float] = ids.random
        self._resources = resources
        self._holds = False
        wanted = policy.retriable_request_headers
        if wanted and not any(matches(headers) for matches in wanted):
            self.retry_on = 0

    def merge_headers(self, headers: RequestHeaders) -> None:
        """Add what the (trusted) request itself asks for."""
        bits = 0
        for name, words in ((RETRY_ON, HTTP_WORDS), (RETRY_GRPC_ON, GRPC_WORDS)):
            value = headers.get(name)
            if value is not None:
                bits |= parse_retry_on(value.decode("latin-1"), words)[0]
        wanted = self.policy.retriable_request_headers
        if not wanted or any(matches(headers) for matches in wanted):
            self.retry_on |= bits
        most = headers.get(MAX_RETRIES)
        if most is not None and self.retry_on:
            count = unsigned(most)
            if count is not None:
                self.retries_remaining = count
        self._merge_codes(headers.get(RETRIABLE_STATUS_CODES))
        self._merge_names(headers.get(RETRIABLE_HEADER_NAMES))

    def _merge_codes(self, value: bytes | None) -> None:
        if value is not None:
            codes = (unsigned(word) for word in value.split(b",", MAX_HEADER_ENTRIES)[:MAX_HEADER_ENTRIES])
            self._codes = self._codes | {code for code in codes if code is not None}

    def _merge_names(self, value: bytes | None) -> None:
        if value is not None:
            names = value.split(b",", MAX_HEADER_ENTRIES)[:MAX_HEADER_ENTRIES]
            self._headers = (
                *self._headers,
                *(_presence(name.strip(b" \t").lower()) for name in names if name),
            )

    def should_retry_headers(self, status: int, response_headers: ResponseHeaders) -> float | None:
        """A response head has come: try again?"""
        return self._decide(self._matches_headers(status, response_headers))

    def should_retry_reset(self, reason: ResetReason, upstream_request_started: bool) -> float | None:
        """The try ended without a whole response head.

        upstream_request_started: a byte of the request may have reached the upstream.
        """
        return self._decide(self._matches_reset(reason, upstream_request_started))

    def should_retry_per_try_timeout(self) -> float | None:
        """The try took longer than the per-try timeout: Envoy resets it, which is a (gateway) error."""
        return self._decide(bool(self.retry_on & (ON_RESET | ON_5XX | ON_GATEWAY_ERROR)))

    def should_hedge(self) -> float | None:
        """The try takes too long, and goes on: Envoy lets another one run beside it whatever ``retry_on`` says. Without one
        left this try may still be the retry that succeeds."""
        if self.retries_remaining <= 0:
            self.outcome = LIMIT_EXCEEDED
            return None
        return self._decide(True)

    def would_retry(self, status: int, response_headers: ResponseHeaders) -> bool:
        """Whether the response is one that another try is wanted for; that one has been had."""
        return self._matches_headers(status, response_headers)

    def close(self) -> None:
        """No further try, whatever comes."""
        self.retry_on = 0
        self.hedged = None
        self.finish()

    def rejects(self, host: Host) -> bool:
        """Whether another host would be better for this retry."""
        return any(rejects(host, self.tried) for rejects in self.policy.host_predicates)

    def leaves_priorities(self) -> bool:
        """Whether the next try has to leave ``tried_priorities`` (PreviousPrioritiesRetryPriority)."""
        after = self.policy.leaves_priorities_after
        if not after or len(self.attempted) < after:
            return False
        if len(self.attempted) % after == 0:
            self.tried_priorities |= {host.priority for host in self.attempted}
        return True

    def begin_priorities_anew(self) -> None:
        """All of them have been tried."""
        self.attempted.clear()
        self.tried_priorities.clear()

    def rate_limited_delay(self, response_headers: ResponseHeaders, wall_s: float) -> float | None:
        """The back-off in seconds that the response itself asks for: one to one and a half times what it says."""
        limited = self.policy.rate_limited
        interval_s = limited.interval_s(response_headers, wall_s) if limited is not None else None
        return None if interval_s is None else interval_s * (1.0 + self._random() / 2.0)

    def finish(self) -> None:
        """The request is over: what was held is given back."""
        if self._holds:
            self._holds = False
            self._resources.remove_retry()

    def _decide(self, wanted: bool) -> float | None:
        self.succeeded = self._holds and not wanted
        self.finish()
        if not wanted:
            self.outcome = NOT_MATCHED
            return None
        if self.retries_remaining <= 0:
            self.outcome = LIMIT_EXCEEDED
            return None
        self.retries_remaining -= 1
        if not self._resources.can_retry():
            self.outcome = OVERFLOWED
            return None
        percent = self.policy.knobs.percent.value
        if percent < 100 and self._random() * 100 >= percent:
            self.outcome = NOT_MATCHED
            return None
        self._resources.add_retry()
        self._holds = True
        self.outcome = RETRY
        return self._next_delay_s()

    def _next_delay_s(self) -> float:
        """Fully jittered: 0 up to the interval, which doubles with each try up to its maximum."""
        interval = self._interval_s
        self._interval_s = min(interval * 2.0, self._max_interval_s)
        return self._random() * interval

    def _matches_headers(self, status: int, headers: ResponseHeaders) -> bool:
        retry_on = self.retry_on
        if not retry_on:
            return False
        if headers.get(b"x-envoy-ratelimited") is not None:
            return bool(retry_on & ON_ENVOY_RATELIMITED)
        if retry_on & ON_5XX and 500 <= status < 600:
            return True
        if retry_on & ON_GATEWAY_ERROR and 502 <= status <= 504:
            return True
        if retry_on & ON_RETRIABLE_4XX and status == 409:
            return True
        if retry_on & ON_RETRIABLE_STATUS_CODES and status in self._codes:
            return True
        if retry_on & ON_RETRIABLE_HEADERS and any(matches(headers) for matches in self._headers):
            return True
        if retry_on & _ANY_GRPC:
            return bool(retry_on & _GRPC_STATUS.get(headers.get(b"grpc-status") or b"", 0))
        return False

    def _matches_reset(self, reason: ResetReason, started: bool) -> bool:
        retry_on = self.retry_on
        if not retry_on or reason is OVERFLOW or reason is NO_ROOM:
            return False
        if retry_on & ON_CONNECT_FAILURE and reason in _CONNECT_FAILURES:
            return True
        if retry_on & ON_RESET_BEFORE_REQUEST and not started:
            return True
        if retry_on & (ON_RESET | ON_5XX | ON_GATEWAY_ERROR):
            return True
        return bool(retry_on & ON_REFUSED_STREAM) and reason is REMOTE_REFUSED_STREAM


def _presence(name: bytes) -> HeadersMatcher:
    def present(headers: HeaderMap) -> bool:
        return name in headers

    return present
