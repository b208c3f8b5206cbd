"""Should this try be followed by another? Pure: no timers, no sockets; the caller waits and tries.

``RetryPolicy`` is what the route (or its virtual host) says; ``RetryState`` is one request's remaining tries.
Source: envoy.config.route.v3.RetryPolicy and the x-envoy-retry-* request headers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from proxy.api.matchers import HeadersMatcher, compile_header_matcher
from proxy.api.reader import Reader, reads
from proxy.base.errors import (
    CONNECTION_TIMEOUT,
    LOCAL_CONNECTION_FAILURE,
    OVERFLOW,
    REMOTE_CONNECTION_FAILURE,
    REMOTE_REFUSED_STREAM,
    ResetReason,
)
from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
from proxy.base.ids import Ids
from proxy.router.retry_hosts import (
    HostPredicate,
    RateLimitedBackOff,
    compile_host_predicate,
    compile_rate_limited,
    compile_retry_priority,
)
from proxy.router.timeouts import PER_TRY_TIMEOUT, unsigned
from proxy.runtime.runtime import Runtime

if TYPE_CHECKING:
    from proxy.router.hedge import Hedged
    from proxy.upstream.host import Host

ON_5XX: Final = 1
ON_GATEWAY_ERROR: Final = 2
ON_CONNECT_FAILURE: Final = 4
ON_RETRIABLE_4XX: Final = 8
ON_REFUSED_STREAM: Final = 16
ON_RETRIABLE_STATUS_CODES: Final = 32
ON_RETRIABLE_HEADERS: Final = 64
ON_RESET: Final = 128
ON_RESET_BEFORE_REQUEST: Final = 256
ON_ENVOY_RATELIMITED: Final = 512
ON_GRPC_CANCELLED: Final = 1024
ON_GRPC_DEADLINE_EXCEEDED: Final = 2048
ON_GRPC_INTERNAL: Final = 4096
ON_GRPC_RESOURCE_EXHAUSTED: Final = 8192
ON_GRPC_UNAVAILABLE: Final = 16384

_HTTP_WORDS: Final = {
    "5xx": ON_5XX,
    "gateway-error": ON_GATEWAY_ERROR,
    "connect-failure": ON_CONNECT_FAILURE,
    "retriable-4xx": ON_RETRIABLE_4XX,
    "refused-stream": ON_REFUSED_STREAM,
    "retriable-status-codes": ON_RETRIABLE_STATUS_CODES,
    "retriable-headers": ON_RETRIABLE_HEADERS,
    "reset": ON_RESET,
    "reset-before-request": ON_RESET_BEFORE_REQUEST,
    "envoy-ratelimited": ON_ENVOY_RATELIMITED,
    "http3-post-connect-failure": 0,  # known, and can never happen here
}
_GRPC_WORDS: Final = {
    "cancelled": ON_GRPC_CANCELLED,
    "deadline-exceeded": ON_GRPC_DEADLINE_EXCEEDED,
    "internal": ON_GRPC_INTERNAL,
    "resource-exhausted": ON_GRPC_RESOURCE_EXHAUSTED,
    "unavailable": ON_GRPC_UNAVAILABLE,
}
_GRPC_STATUS: Final = {
    b"1": ON_GRPC_CANCELLED,
    b"4": ON_GRPC_DEADLINE_EXCEEDED,
    b"8": ON_GRPC_RESOURCE_EXHAUSTED,
    b"13": ON_GRPC_INTERNAL,
    b"14": ON_GRPC_UNAVAILABLE,
}
_ANY_GRPC: Final = sum(_GRPC_WORDS.values())
_CONNECT_FAILURES: Final = (LOCAL_CONNECTION_FAILURE, REMOTE_CONNECTION_FAILURE, CONNECTION_TIMEOUT)

RETRY_ON: Final = b"x-envoy-retry-on"
RETRY_GRPC_ON: Final = b"x-envoy-retry-grpc-on"
MAX_RETRIES: Final = b"x-envoy-max-retries"
RETRIABLE_STATUS_CODES: Final = b"x-envoy-retriable-status-codes"
RETRIABLE_HEADER_NAMES: Final = b"x-envoy-retriable-header-names"
# Consumed by the proxy; never sent upstream.
RETRY_HEADERS: Final = frozenset(
    {
        RETRY_ON,
        RETRY_GRPC_ON,
        MAX_RETRIES,
        RETRIABLE_STATUS_CODES,
        RETRIABLE_HEADER_NAMES,
        PER_TRY_TIMEOUT,
        b"x-envoy-hedge-on-per-try-timeout",
    }
)

DEFAULT_BASE_MS: Final = 25
MAX_INTERVAL_FACTOR: Final = 10
MAX_HEADER_ENTRIES: Final = 100


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


class RetryKnobs:
    """What the runtime says of every retry: upstream.use_retry (a percentage of them that is made at all) and
    upstream.base_retry_backoff_ms (for policies that say nothing)."""

    __slots__ = ("base_interval_ms", "percent")

    def __init__(self, runtime: Runtime) -> None:
        self.percent = runtime.integer("upstream.use_retry", 100)
        self.base_interval_ms = runtime.integer("upstream.base_retry_backoff_ms", DEFAULT_BASE_MS)


class RetryPolicy:
    """A compiled RetryPolicy; times in seconds, ``per_try_timeout_s`` and ``per_try_idle_timeout_s`` 0.0 for none,
    ``base_interval_s`` and ``max_interval_s`` 0.0 where the runtime's is meant, and ten times the base.

    host_predicates: a host that one of them rejects is chosen anew, ``host_attempts`` times at most
    leaves_priorities_after: each time so many tries have been made, retries leave the priorities they had; 0: they do not
    """

    __slots__ = (
        "base_interval_s",
        "host_attempts",
        "host_predicates",
        "knobs",
        "leaves_priorities_after",
        "max_interval_s",
        "num_retries",
        "per_try_idle_timeout_s",
        "per_try_timeout_s",
        "rate_limited",
        "retriable_headers",
        "retriable_request_headers",
        "retriable_status_codes",
        "retry_on",
    )

    def __init__(self, retry_on: int = 0, num_retries: int = 1, knobs: RetryKnobs | None = None) -> None:
        self.knobs = knobs if knobs is not None else DEFAULT_KNOBS
        self.retry_on = retry_on
        self.num_retries = num_retries
        self.per_try_timeout_s = 0.0
        self.per_try_idle_timeout_s = 0.0
        self.host_predicates: tuple[HostPredicate, ...] = ()
        self.host_attempts = 1
        self.leaves_priorities_after = 0
        self.rate_limited: RateLimitedBackOff | None = None
        self.base_interval_s = 0.0
        self.max_interval_s = 0.0
        self.retriable_status_codes: frozenset[int] = frozenset()
        self.retriable_headers: tuple[HeadersMatcher, ...] = ()
        self.retriable_request_headers: tuple[HeadersMatcher, ...] = ()


DEFAULT_KNOBS: Final = RetryKnobs(Runtime())
NO_POLICY: Final = RetryPolicy()


def parse_retry_on(text: str, words: dict[str, int]) -> tuple[int, list[str]]:
    """The bits that a comma-separated list names, and the words that ``words`` does not know."""
    bits = 0
    unknown = []
    for word in text.split(","):
        word = word.strip(" \t")
        if word in words:
            bits |= words[word]
        elif word:
            unknown.append(word)
    return bits, unknown


@reads("envoy.config.route.v3.RetryPolicy")
def compile_retry_policy(reader: Reader, knobs: RetryKnobs | None = None) -> RetryPolicy:
    """envoy.config.route.v3.RetryPolicy; option predicates and anew chosen clusters are refused."""
    policy = RetryPolicy(knobs=knobs)
    policy.retry_on, unknown = parse_retry_on(reader.text("retry_on"), _HTTP_WORDS | _GRPC_WORDS)
    if unknown:
        reader.warn("retry_on", f"has words that mean nothing: {', '.join(unknown)}")
    policy.num_retries = reader.wrapped("num_retries", 1)
    policy.per_try_timeout_s = reader.seconds("per_try_timeout", 0.0) or 0.0
    codes = reader.values("retriable_status_codes")
    policy.retriable_status_codes = frozenset(codes)
    policy.retriable_headers = tuple(map(compile_header_matcher, reader.each("retriable_headers")))
    policy.retriable_request_headers = tuple(
        map(compile_header_matcher, reader.each("retriable_request_headers"))
    )
    policy.per_try_idle_timeout_s = reader.seconds("per_try_idle_timeout", 0.0) or 0.0
    made = [compile_host_predicate(one) for one in reader.each("retry_host_predicate")]
    policy.host_predicates = tuple(one for one in made if one is not None)
    policy.host_attempts = reader.number("host_selection_retry_max_attempts") or 1
    limited = reader.sub("rate_limited_retry_back_off")
    policy.rate_limited = compile_rate_limited(limited) if limited is not None else None
    priority = reader.sub("retry_priority")
    policy.leaves_priorities_after = compile_retry_priority(priority) if priority is not None else 0
    reader.unsupported("retry_options_predicates", "no predicate for the options of a retry is known")
    reader.unsupported("refresh_cluster_on_retry", "a retry stays with the cluster of the first try")
    back_off = reader.sub("retry_back_off")
    if back_off is not None:
        _compile_back_off(back_off, policy)
    return policy


@reads("envoy.config.route.v3.RetryPolicy.RetryBackOff")
def _compile_back_off(reader: Reader, policy: RetryPolicy) -> None:
    # Envoy rounds anything shorter up to a millisecond.
    base = max(reader.seconds("base_interval", DEFAULT_BASE_MS / 1000.0) or 0.0, 0.001)
    longest = reader.seconds("max_interval")
    if longest is None:
        longest = base * MAX_INTERVAL_FACTOR
    elif max(longest, 0.001) < base:
        reader.fail("max_interval", "must be greater than or equal to the base_interval")
    policy.base_interval_s = base
    policy.max_interval_s = max(longest, 0.001)


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
        for name, words in ((RETRY_ON, _HTTP_WORDS), (RETRY_GRPC_ON, _GRPC_WORDS)):
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
        if not retry_on or reason is OVERFLOW:
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
