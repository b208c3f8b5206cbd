"""Which host a retry should rather not go to, and how long a host asked to be left alone.

Source: envoy.config.route.v3.RetryPolicy: retry_host_predicate, retry_priority, rate_limited_retry_back_off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.router.timeouts import unsigned
from proxy.upstream.endpoints import compile_metadata

if TYPE_CHECKING:
    from proxy.base.headers import ResponseHeaders
    from proxy.upstream.host import Host

#: rejects(host, the hosts tried before) -> bool
HostPredicate = Callable[["Host", "list[Host]"], bool]

_EXTENSIONS: Final = "envoy.extensions.retry.host."
PREVIOUS_HOSTS: Final = f"{_EXTENSIONS}previous_hosts.v3.PreviousHostsPredicate"
OMIT_CANARY_HOSTS: Final = f"{_EXTENSIONS}omit_canary_hosts.v3.OmitCanaryHostsPredicate"
OMIT_HOST_METADATA: Final = f"{_EXTENSIONS}omit_host_metadata.v3.OmitHostMetadataConfig"
PREVIOUS_PRIORITIES: Final = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
_LOAD_BALANCER: Final = "envoy.lb"
_DEFAULT_MAX_INTERVAL_S: Final = 300.0


def was_tried(host: Host, tried: list[Host]) -> bool:
    """previous_hosts."""
    return host in tried


def is_canary(host: Host, tried: list[Host]) -> bool:
    """omit_canary_hosts."""
    return host.canary


def has_labels(labels: dict[str, Any]) -> HostPredicate:
    """omit_host_metadata: every label equals the host's; without labels nothing is omitted."""

    def matches(host: Host, tried: list[Host]) -> bool:
        found: dict[str, Any] = host.metadata.get(_LOAD_BALANCER, {})
        return bool(labels) and all(key in found and found[key] == labels[key] for key in labels)

    return matches


@reads("envoy.config.route.v3.RetryPolicy.RetryHostPredicate")
def compile_host_predicate(reader: Reader) -> HostPredicate | None:
    """One of Envoy's three; None (and a finding) for any other."""
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", f"is missing: the predicate {name} is chosen by its type")
        return None
    if config.type_name == PREVIOUS_HOSTS:
        return was_tried
    if config.type_name == OMIT_CANARY_HOSTS:
        return is_canary
    if config.type_name == OMIT_HOST_METADATA:
        return _compile_labels(config)
    reader.unsupported("typed_config", f"{config.type_name} is not supported")
    return None


@reads("envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig")
def _compile_labels(reader: Reader) -> HostPredicate:
    metadata = compile_metadata(reader.sub("metadata_match"))
    return has_labels(metadata.get(_LOAD_BALANCER, {}))


@reads("envoy.config.route.v3.RetryPolicy.RetryPriority")
def compile_retry_priority(reader: Reader) -> int:
    """After how many tries a retry leaves the priorities that were tried; 0 (and a finding) for what is not known."""
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", f"is missing: the retry priority {name} is chosen by its type")
        return 0
    if config.type_name == PREVIOUS_PRIORITIES:
        return _compile_previous(config)
    reader.unsupported("typed_config", f"{config.type_name} is not supported")
    return 0


@reads("envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig")
def _compile_previous(reader: Reader) -> int:
    return reader.number("update_frequency")


class ResetHeader(NamedTuple):
    """A header in which a host says when to come back; ``unix``: as a point in time instead of seconds from now."""

    name: bytes
    unix: bool


class RateLimitedBackOff(NamedTuple):
    """The headers that are looked at, in their order, and the longest wait that is believed."""

    headers: tuple[ResetHeader, ...]
    max_interval_s: float

    def interval_s(self, headers: ResponseHeaders, wall_s: float) -> float | None:
        """The wait that the response asks for, before jitter; None when it asks for none that is believed."""
        for name, unix in self.headers:
            value = headers.get(name)
            seconds = unsigned(value) if value is not None else None
            if seconds is None:
                continue
            interval_s = float(seconds)
            if unix:
                interval_s = float(seconds - int(wall_s))
            if 0.0 < interval_s <= self.max_interval_s:  # Envoy takes 0 for no wish at all
                return interval_s
        return None


@reads("envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff")
def compile_rate_limited(reader: Reader) -> RateLimitedBackOff:
    """envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff."""
    headers = tuple(
        ResetHeader(one.text("name").lower().encode(), one.enum("format") == "UNIX_TIMESTAMP")
        for one in reader.each("reset_headers")
    )
    if not headers:
        reader.fail("reset_headers", "value must contain at least 1 item(s)")
    longest = reader.seconds("max_interval")
    return RateLimitedBackOff(headers, _DEFAULT_MAX_INTERVAL_S if longest is None else longest)
