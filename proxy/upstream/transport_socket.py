"""A cluster's transport_socket and transport_socket_matches: in plain text or over TLS, host by host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from proxy.api.reader import reads
from proxy.upstream.proxy_protocol import UPSTREAM_PROXY_PROTOCOL, ProxyProtocol, compile_proxy_protocol

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.init import InitManager
    from proxy.network.tls import TlsSide
    from proxy.stats.store import Scope
    from proxy.upstream.context import UpstreamContext

RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
UPSTREAM_TLS: Final = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_KEY: Final = "envoy.transport_socket_match"


class TransportSocket(NamedTuple):
    """tls: None is plain text; proxy: None tells hosts nothing of clients."""

    tls: TlsSide | None = None
    proxy: ProxyProtocol | None = None


_PLAIN: Final = TransportSocket()


class TransportSockets(NamedTuple):
    """default: where nothing matches; matches: (name, what a host's metadata must have, its socket), first come."""

    default: TransportSocket = _PLAIN
    matches: Sequence[tuple[str, dict[str, Any], TransportSocket]] = ()

    def of(self, metadata: dict[str, Any], scope: Scope) -> TransportSocket:
        """The socket of a host with that metadata, counted in the cluster's scope when it is not the default."""
        wanted = metadata.get(_KEY, {})
        for name, match, transport_socket in self.matches:
            if all(wanted.get(key) == value for key, value in match.items()):
                scope.counter(f"{name}.total_match_count").value += 1
                return transport_socket
        return self.default

    def sides(self) -> list[TlsSide]:
        """Every TLS context."""
        return [transport_socket.tls for transport_socket in self._all() if transport_socket.tls is not None]

    @property
    def are_tls(self) -> bool:
        """Whether no host is spoken to in plain text."""
        return all(transport_socket.tls is not None for transport_socket in self._all())

    def _all(self) -> list[TransportSocket]:
        return [self.default, *[transport_socket for _, _, transport_socket in self.matches]]


@reads("envoy.config.cluster.v3.Cluster")
def compile_transport_sockets(
    cluster: Reader, context: UpstreamContext, scope: Scope, init: InitManager
) -> TransportSockets:
    """scope: ``cluster.<name>.``; init: waits for certificates that come by SDS"""
    default = _compile_socket(cluster.sub("transport_socket"), context, scope, init)
    matches = [
        (
            each.text("name"),
            each.struct("match"),
            _compile_socket(each.sub("transport_socket"), context, scope, init),
        )
        for each in cluster.each("transport_socket_matches")
    ]
    return TransportSockets(default, matches)


@reads("envoy.config.core.v3.TransportSocket")
def _compile_socket(
    reader: Reader | None, context: UpstreamContext, scope: Scope, init: InitManager
) -> TransportSocket:
    if reader is None:
        return _PLAIN
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is not None and config.type_name == RAW_BUFFER:
        return _PLAIN
    if config is not None and config.type_name == UPSTREAM_PROXY_PROTOCOL:
        return _compile_proxied(config, context, scope, init)
    if config is None or config.type_name != UPSTREAM_TLS:
        kind = config.type_name if config is not None else name
        known = "envoy.transport_sockets.tls, raw_buffer and upstream_proxy_protocol"
        message = f"transport socket {kind} is not supported; {known} are"
        reader.unsupported("", message)
        return _PLAIN
    made = context.registry.resolve(UPSTREAM_TLS)(config, scope, context, init)
    side: TlsSide | None = made.side
    return TransportSocket(side)


@reads(UPSTREAM_PROXY_PROTOCOL)
def _compile_proxied(
    reader: Reader, context: UpstreamContext, scope: Scope, init: InitManager
) -> TransportSocket:
    proxy = compile_proxy_protocol(reader)
    inner = _compile_socket(reader.sub("transport_socket"), context, scope, init)
    if inner.proxy is not None:
        reader.fail("transport_socket", "is one of this kind again")
    return TransportSocket(inner.tls, proxy)
