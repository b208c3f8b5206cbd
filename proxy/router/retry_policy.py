"""When requests are tried again: what a route, or its virtual host, says (envoy.config.route.v3.RetryPolicy), the words it
may use, and the headers with which a trusted request says the same of itself. What follows from it: ``router.retry``.
"""

from __future__ import annotations

from typing import Final

from proxy.api.matchers import HeadersMatcher, compile_header_matcher
from proxy.api.reader import Reader, reads
from proxy.router.retry_hosts import (
    HostPredicate,
    RateLimitedBackOff,
    compile_host_predicate,
    compile_rate_limited,
    compile_retry_priority,
)
from proxy.router.timeouts import PER_TRY_TIMEOUT
from proxy.runtime.runtime import Runtime

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

HTTP_WORDS: Final = {
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
GRPC_WORDS: Final = {
    "cancelled": ON_GRPC_CANCELLED,
    "deadline-exceeded": ON_GRPC_DEADLINE_EXCEEDED,
    "internal": ON_GRPC_INTERNAL,
    "resource-exhausted": ON_GRPC_RESOURCE_EXHAUSTED,
    "unavailable": ON_GRPC_UNAVAILABLE,
}

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
    policy.retry_on, unknown = parse_retry_on(reader.text("retry_on"), HTTP_WORDS | GRPC_WORDS)
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
