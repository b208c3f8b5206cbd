"""envoy.filters.network.sni_cluster (envoy.extensions.filters.network.sni_cluster.v3.SniCluster): the name that a client of
TLS asks for is the name of tcp_proxy's cluster. tls_inspector has to have read it."""

from __future__ import annotations

from proxy.api.reader import Reader
from proxy.base.filter_state import TextState
from proxy.http.context import FactoryContext
from proxy.http.filter import FilterStatus
from proxy.network.read_filter import ReadFilter, ReadFilterFactory
from proxy.network.tcp_proxy import CLUSTER_KEY


class SniCluster(ReadFilterFactory):
    """The filter of one chain."""

    __slots__ = ()

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        """There is nothing to configure."""

    def new_filter(self) -> ReadFilter:
        return _SniCluster()


class _SniCluster(ReadFilter):
    __slots__ = ()

    def on_new_connection(self) -> FilterStatus | None:
        info = self.gate.info
        if info.requested_server_name:
            info.leave(CLUSTER_KEY, TextState(info.requested_server_name))
        return None
