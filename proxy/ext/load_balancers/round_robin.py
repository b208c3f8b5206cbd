"""Round robin: one host after the other, or by weight (envoy.load_balancing_policies.round_robin).

Envoy messages: envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin, and Cluster.RoundRobinLbConfig for
the older ``lb_policy: ROUND_ROBIN``. Not supported and therefore refused: slow_start_config, locality_lb_config.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.host import Host


class RoundRobin:
    """Equal weights: in order, from a random start (many proxies must not all begin with the same host). Different
    weights: earliest deadline first, a host's next deadline being 1/weight after its last."""

    __slots__ = ("_deadlines", "_hosts", "_index", "_turn", "randrange")

    def __init__(self, config: Reader | None, context: UpstreamContext) -> None:
        self.randrange = context.ids.randrange
        self._hosts: Sequence[Host] = ()
        self._index = -1  # of the host chosen last
        self._turn = 0
        self._deadlines: list[tuple[float, int, Host]] = []  # a heap; empty when weights are equal

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts from now on; the place in the round is kept."""
        if self._index < 0 and hosts:
            self._index = self.randrange(len(hosts))
        self._hosts = hosts
        self._deadlines = []
        if len({host.weight for host in hosts}) > 1:
            self._deadlines = [(1 / host.weight, turn, host) for turn, host in enumerate(hosts)]
            heapify(self._deadlines)
            self._turn = len(hosts)
            for _ in range(self.randrange(len(hosts))):
                self._choose_by_weight()

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """The next in turn."""
        if self._deadlines:
            return self._choose_by_weight()
        hosts = self._hosts
        index = self._index + 1
        if index >= len(hosts):
            index = 0
            if not hosts:
                return None
        self._index = index
        return hosts[index]

    def _choose_by_weight(self) -> Host:
        deadline, _, host = self._deadlines[0]
        self._turn += 1
        heapreplace(self._deadlines, (deadline + 1 / host.weight, self._turn, host))
        return host
