"""Least request: the less busy of a few random hosts (envoy.load_balancing_policies.least_request).

Envoy messages: envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, and
Cluster.LeastRequestLbConfig for the older ``lb_policy: LEAST_REQUEST``. Not supported and therefore refused:
slow_start_config.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.runtime.config import compile_double
from proxy.upstream.edf import EdfSchedule, has_weights

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.runtime.slots import DoubleSlot
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.host import Host

_MAX_BIAS: Final = 50.0  # beyond it a busy host has no weight left, and floats no room

_MESSAGE: Final = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"


class LeastRequest:
    """Equal weights: of ``choice_count`` hosts taken at random (or, with FULL_SCAN, of all) the one with the fewest
    active requests. Different weights: by EdfSchedule over weight / (active requests + 1) ** bias."""

    __slots__ = ("_bias", "_bias_slot", "_choices", "_full_scan", "_hosts", "_schedule", "random")

    def __init__(self, config: Reader | None, context: UpstreamContext) -> None:
        self.random = context.ids.random
        self._choices, self._full_scan = (2, False) if config is None else _compile(config)
        self._bias_slot = None if config is None else _compile_bias(config, context)
        self._bias = 1.0
        self._hosts: Sequence[Host] = ()
        self._schedule: EdfSchedule | None = None  # None: equal weights

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts from now on."""
        self._hosts = hosts
        self._schedule = None
        if has_weights(hosts):
            self._take_bias()
            self._schedule = EdfSchedule(hosts, self._weight, skip=int(self.random() * len(hosts)))

    def _take_bias(self) -> None:
        """As Envoy: the runtime's value counts from the next change of hosts on, a negative one as 1."""
        if self._bias_slot is not None:
            bias = self._bias_slot.value
            self._bias = min(bias, _MAX_BIAS) if bias >= 0 else 1.0

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """The least busy one, as far as the choice goes."""
        hosts = self._hosts
        count = len(hosts)
        if count < 2:
            return hosts[0] if count else None
        if self._schedule is not None:
            return self._schedule.pick()
        if self._full_scan:
            return self._scan()
        random = self.random
        best = hosts[int(random() * count)]
        for _ in range(self._choices - 1):
            other = hosts[int(random() * count)]
            if other.rq_active < best.rq_active:
                best = other
        return best

    def _scan(self) -> Host:
        """All hosts; a random one among equals."""
        least = min(host.rq_active for host in self._hosts)
        equals = [host for host in self._hosts if host.rq_active == least]
        return equals[int(self.random() * len(equals))]

    def _weight(self, host: Host) -> float:
        return host.weight / (host.rq_active + 1) ** self._bias if self._bias else float(host.weight)


@reads(_MESSAGE, "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig")
def _compile(config: Reader) -> tuple[int, bool]:
    """choice_count, whether to look at all hosts."""
    choices = config.wrapped("choice_count", 2)
    if not choices:
        config.fail("choice_count", "must be at least 1: none would never choose a host")
    elif choices < 2 and config.type_name != _MESSAGE:  # which Envoy does not hold against its rules
        config.fail("choice_count", "must be at least 2")
    full_scan = False
    if config.type_name == _MESSAGE:
        full_scan = config.enum("selection_method") == "FULL_SCAN"
    return choices, full_scan


@reads(_MESSAGE, "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig")
def _compile_bias(config: Reader, context: UpstreamContext) -> DoubleSlot | None:
    """active_request_bias; None: 1."""
    bias = config.sub("active_request_bias")
    if bias is None:
        return None
    if bias.real("default_value") < 0:
        bias.fail("default_value", "must not be negative")
    return compile_double(bias, context.runtime)
