"""The facts of one stream: what access logs, formatters, header values, spans and matchers read.

``proxy.http.stream.ActiveStream`` extends StreamInfo with the machinery; the rooms below ``http`` know only this.
Times named ``*_at`` are monotonic seconds, 0.0 while the event has not happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # names of rooms above: a compiled StreamInfo must know what it holds
    from proxy.base.filter_state import FilterState
    from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
    from proxy.base.tls_info import TlsInfo
    from proxy.router.route import Route, VirtualHost
    from proxy.tracing.context import TraceContext
    from proxy.tracing.span import Span
    from proxy.upstream.host import Host


NO_FINGERPRINTS: Final = ("", "")


#: a local_close_reason: transport_socket_connect_timeout
HANDSHAKE_TIMEOUT: Final = b"transport_socket_timeout"


class ConnectionInfo:
    """The facts of a downstream connection, shared by its streams. Addresses are "ip:port" text (v6 in brackets).

    remote_address: the client as trusted forwarding headers tell it (%DOWNSTREAM_REMOTE_ADDRESS%)
    direct_remote_address: the peer of the socket; local_address: our end of it, or (local_address_restored) where the
    connection was going before it was redirected to us
    bytes_received, bytes_sent: of what the connection carries; protocol: b"" while nobody knows; flags: ResponseFlag bits
    of the connection itself
    scheme: b"https" once a TLS handshake is over, whose facts ``tls`` then are; transport_failure: why one failed
    local_close_reason: why we ended it, where that has a name; close_type: how it ended, as Envoy detects it
    direct_local_address: our end of the socket; tlvs: of a PROXY protocol header, to be passed on, None where there
    was none; metadata: of listener filters, for logs of connections, None while there is none
    filter_state: what listener and network filters leave for those behind them, by Envoy's keys; None while there is none
    configured_metadata: of its listener and its filter chain, None where neither has any
    fingerprints: JA3 and JA4 of its client's hello, "" where they are not taken
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "close_type",
        "configured_metadata",
        "connection_id",
        "direct_local_address",
        "direct_remote_address",
        "filter_chain_name",
        "filter_state",
        "fingerprints",
        "flags",
        "listener_name",
        "local_address",
        "local_address_restored",
        "local_close_reason",
        "metadata",
        "protocol",
        "remote_address",
        "requested_server_name",
        "scheme",
        "tlvs",
        "started_at",
        "tls",
        "transport_failure",
    )

    def __init__(
        self, connection_id: int, remote_address: str, local_address: str, started_at: float
    ) -> None:
        self.connection_id = connection_id
        self.remote_address = remote_address
        self.direct_remote_address = remote_address
        self.local_address = self.direct_local_address = local_address
        self.local_address_restored = False
        self.started_at = started_at
        self.requested_server_name = ""
        self.filter_chain_name = ""
        self.listener_name = ""
        self.scheme = b"http"
        self.tls: TlsInfo | None = None
        self.transport_failure = b""
        self.bytes_received = self.bytes_sent = 0
        self.flags = 0
        self.protocol = b""
        self.local_close_reason = b""
        self.close_type = b"Normal"
        self.filter_state: dict[str, FilterState] | None = None
        self.metadata: dict[str, Any] | None = None
        self.configured_metadata: tuple[dict[str, Any], dict[str, Any]] | None = None
        self.fingerprints: tuple[str, str] = NO_FINGERPRINTS
        self.tlvs: tuple[tuple[int, bytes], ...] | None = None

    def leave(self, key: str, state: FilterState) -> None:
        """Put something into ``filter_state``."""
        if self.filter_state is None:
            self.filter_state = {}
        self.filter_state[key] = state


class UpstreamBytes:
    """What all tries of one request have put on the wire and taken from it."""

    __slots__ = (
        "upstream_bytes_sent",  # head, body and framing
        "upstream_bytes_received",
        "upstream_request_header_bytes",  # of the fields, as Envoy counts them
        "upstream_response_header_bytes",
    )

    def __init__(self) -> None:
        self.upstream_bytes_sent = 0
        self.upstream_bytes_received = 0
        self.upstream_request_header_bytes = 0
        self.upstream_response_header_bytes = 0


class StreamInfo(UpstreamBytes):
    """One request and its response, as far as they have come."""

    __slots__ = (
        # given at birth
        "info",  # ConnectionInfo
        "start_time",  # wall clock, seconds
        "started_at",
        "protocol",  # b"HTTP/1.1"
        # filled while it runs
        "request_headers",
        "request_trailers",
        "response_headers",
        "response_trailers",
        "original_path",  # the path as received, before any rewrite
        "returns_request_id",  # whether the response carries x-request-id (a forced trace)
        "remote_address",  # per stream: forwarding headers may change it
        "route",  # router.route_table.Route or None
        "route_name",
        "virtual_cluster",  # index among the virtual host's, -1 for none
        "virtual_host",  # router.route.VirtualHost or None; also where none of its routes matched
        "cluster_name",
        "upstream_host",  # upstream.host.Host of the last try, or None
        "upstream_local_address",
        "upstream_remote_address",
        "upstream_connection_id",
        "upstream_tls",  # of the last try's connection
        "upstream_transport_failure_reason",
        "attempt_count",
        "span",  # tracing.span.Span or None; has .trace_id_hex and .span_id_hex (bytes)
        "trace",  # tracing.context.TraceContext or None: the ids that travel on, sampled or not
        "metadata",  # dict of dynamic metadata or None
        "filter_state",  # what HTTP filters leave, by Envoy's keys, or None
        "log_type",  # %ACCESS_LOG_TYPE%
        "upstream_protocol",  # b"HTTP/1.1" once an upstream connection was used, else b""
        # read once, by finish()
        "status",  # response code; 0 while there is none
        "details",  # %RESPONSE_CODE_DETAILS%, b"" when unknown
        "flags",  # ResponseFlag bits
        "bytes_received",  # request body bytes
        "bytes_sent",  # response body bytes
        "request_wire_bytes",  # head, body and framing
        "response_wire_bytes",
        "request_header_bytes",  # the fields, as Envoy counts: read ones with 3 bytes each beside name and value,
        "response_header_bytes",  # written ones with the 4 that are there
        "rx_headers_end_at",  # request head complete
        "rx_end_at",  # last downstream byte received
        "upstream_pool_wait_s",  # the last try's, from asking the pool to its answer; negative while there is none
        "upstream_connect_start_at",
        "upstream_connected_at",
        "upstream_tx_start_at",
        "upstream_tx_end_at",
        "upstream_rx_start_at",
        "upstream_rx_body_start_at",
        "upstream_rx_end_at",
        "tx_start_at",  # first downstream byte sent
        "tx_end_at",
        "ended_at",
    )

    def __init__(self, info: ConnectionInfo, start_time: float, started_at: float) -> None:
        self.info = info
        self.start_time = start_time
        self.started_at = started_at
        self.protocol = b"HTTP/1.1"
        self.request_headers: RequestHeaders | None = None
        self.request_trailers: HeaderMap | None = None
        self.response_headers: ResponseHeaders | None = None
        self.response_trailers: HeaderMap | None = None
        self.original_path: bytes | None = None
        self.returns_request_id = False
        self.remote_address = info.remote_address
        self.route: Route | None = None
        self.route_name = b""
        self.virtual_cluster = -1
        self.virtual_host: VirtualHost | None = None
        self.cluster_name = b""
        self.upstream_host: Host | None = None
        self.upstream_local_address = ""
        self.upstream_remote_address = ""
        self.upstream_connection_id = 0
        self.upstream_tls: TlsInfo | None = None
        self.upstream_transport_failure_reason = b""
        self.attempt_count = 0
        self.span: Span | None = None
        self.trace: TraceContext | None = None
        self.metadata: dict[str, Any] | None = None
        self.filter_state: dict[str, FilterState] | None = None
        self.log_type = b"DownstreamEnd"
        self.upstream_protocol = b""
        self.status = 0
        self.details = b""
        self.flags = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.request_wire_bytes = 0
        self.response_wire_bytes = 0
        self.request_header_bytes = 0
        self.response_header_bytes = 0
        self.upstream_bytes_sent = 0
        self.upstream_bytes_received = 0
        self.upstream_request_header_bytes = 0
        self.upstream_response_header_bytes = 0
        self.rx_headers_end_at = 0.0
        self.rx_end_at = 0.0
        self.upstream_pool_wait_s = -1.0
        self.upstream_connect_start_at = 0.0
        self.upstream_connected_at = 0.0
        self.upstream_tx_start_at = 0.0
        self.upstream_tx_end_at = 0.0
        self.upstream_rx_start_at = 0.0
        self.upstream_rx_body_start_at = 0.0
        self.upstream_rx_end_at = 0.0
        self.tx_start_at = 0.0
        self.tx_end_at = 0.0
        self.ended_at = 0.0

    @property
    def hosts_attempted(self) -> list[Host]:
        """The host of the last try, once there is a connection to it; earlier tries are forgotten, as in Envoy."""
        return [self.upstream_host] if self.upstream_connection_id and self.upstream_host is not None else []

    @property
    def upstream_close_type(self) -> bytes:
        """How the upstream connection ended: Envoy knows others than b"Normal" for bytes alone."""
        return b"" if self.upstream_host is None else b"Normal"

    @property
    def upstream_local_close_reason(self) -> bytes:
        """Why we ended the upstream connection, where that has a name."""
        return b""

    @property
    def stream_id(self) -> bytes:
        """%STREAM_ID%: the request id as it is now; b"" when there is none."""
        headers = self.request_headers
        return (headers.get(b"x-request-id") or b"") if headers is not None else b""
