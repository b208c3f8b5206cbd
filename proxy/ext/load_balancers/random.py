"""Random: any host, each as likely as the other (envoy.load_balancing_policies.random).

Envoy message: envoy.extensions.load_balancing_policies.random.v3.Random; the older ``lb_policy: RANDOM`` has none. The
weights of hosts do not count, as in Envoy. locality_lb_config is read with the cluster (proxy.upstream.balancing).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.stream_info import StreamInfo
    from proxy.upstream.context import UpstreamContext
    from proxy.upstream.host import Host


class Random:
    """One draw per request."""

    __slots__ = ("_hosts", "random")

    def __init__(self, config: Reader | None, context: UpstreamContext) -> None:
        self.random = context.ids.random
        self._hosts: Sequence[Host] = ()

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts from now on."""
        self._hosts = hosts

    def choose_host(self, stream: StreamInfo | None) -> Host | None:
        """Any of them."""
        hosts = self._hosts
        count = len(hosts)
        if count < 2:
            return hosts[0] if count else None
        return hosts[int(self.random() * count)]
