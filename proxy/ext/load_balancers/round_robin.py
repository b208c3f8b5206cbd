"""Round robin: one host after the other, or by weight (envoy.load_balancing_policies.round_robin).

Envoy messages: envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin, and Cluster.RoundRobinLbConfig for
the older ``lb_policy: ROUND_ROBIN``. Not supported and therefore refused: slow_start_config.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from proxy.upstream.edf import EdfSchedule, has_weights

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.host import Host


class RoundRobin:
    """Equal weights: in order, from a random start (many proxies must not all begin with the same host). Different
    weights: by EdfSchedule."""

    __slots__ = ("_hosts", "_index", "_schedule", "randrange")

    def __init__(self, config: Reader | None, context: UpstreamContext) -> None:
        self.randrange = context.ids.randrange
        self._hosts: Sequence[Host] = ()
        self._index = -1  # of the host chosen last
        self._schedule: EdfSchedule | None = None  # None: equal weights

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts from now on; the place in the round is kept."""
        if self._index < 0 and hosts:
            self._index = self.randrange(len(hosts))
        self._hosts = hosts
        self._schedule = None
        if has_weights(hosts):
            self._schedule = EdfSchedule(hosts, attrgetter("weight"), skip=self.randrange(len(hosts)))

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """The next in turn."""
        if self._schedule is not None:
            return self._schedule.pick()
        hosts = self._hosts
        index = self._index + 1
        if index >= len(hosts):
            index = 0
            if not hosts:
                return None
        self._index = index
        return hosts[index]
