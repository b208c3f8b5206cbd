"""What hedging keeps of a try while another one runs, and who asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.router.upstream_request import UpstreamRequest

HEDGE: Final = b"x-envoy-hedge-on-per-try-timeout"


@reads("envoy.config.route.v3.RouteAction", "envoy.config.route.v3.VirtualHost")
def compile_hedging(reader: Reader, inherited: bool = False) -> bool:
    """hedge_policy: whether a try that takes too long is hedged. What Envoy does not do either is taken with a warning."""
    hedge = reader.sub("hedge_policy")
    return inherited if hedge is None else _compile_policy(hedge)


@reads("envoy.config.route.v3.HedgePolicy")
def _compile_policy(reader: Reader) -> bool:
    reader.ignore("initial_requests", "additional_request_chance", why="Envoy does nothing with it either")
    return reader.flag("hedge_on_per_try_timeout")


def wants_hedging(hedges: bool, headers: RequestHeaders, internal: bool) -> bool:
    """Whether a request is hedged: as its route says, or as it asks for itself where it may."""
    value = headers.get(HEDGE) if internal else None
    return hedges if value not in (b"true", b"false") else value == b"true"


class Hedged:
    """A try that has taken too long, and what the stream told of its upstream; span: its own, if it has one."""

    __slots__ = (
        "_address",
        "_connected_at",
        "_connect_start_at",
        "_connection_id",
        "_host",
        "_local_address",
        "_pool_wait_s",
        "_protocol",
        "_tls",
        "_tx_end_at",
        "_tx_start_at",
        "request",
        "span",
    )

    def __init__(self, request: UpstreamRequest, stream: Any) -> None:
        self.request = request
        self.span: Any = stream.try_span
        self._host: Any = stream.upstream_host
        self._local_address: str = stream.upstream_local_address
        self._address: str = stream.upstream_remote_address
        self._connection_id: int = stream.upstream_connection_id
        self._tls: Any = stream.upstream_tls
        self._protocol: bytes = stream.upstream_protocol
        self._pool_wait_s: float = stream.upstream_pool_wait_s
        self._connect_start_at: float = stream.upstream_connect_start_at
        self._connected_at: float = stream.upstream_connected_at
        self._tx_start_at: float = stream.upstream_tx_start_at
        self._tx_end_at: float = stream.upstream_tx_end_at

    @property
    def sent_at(self) -> float:
        """When it got its connection (monotonic)."""
        return self._tx_start_at

    def tell(self, stream: Any) -> None:
        """The stream tells of this try again."""
        stream.try_span = self.span
        stream.upstream_host = self._host
        stream.upstream_local_address = self._local_address
        stream.upstream_remote_address = self._address
        stream.upstream_connection_id = self._connection_id
        stream.upstream_tls = self._tls
        stream.upstream_protocol = self._protocol
        stream.upstream_pool_wait_s = self._pool_wait_s
        stream.upstream_connect_start_at = self._connect_start_at
        stream.upstream_connected_at = self._connected_at
        stream.upstream_tx_start_at = self._tx_start_at
        stream.upstream_tx_end_at = self._tx_end_at
