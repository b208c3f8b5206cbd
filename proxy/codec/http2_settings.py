"""What both HTTP/2 codecs are told, and what becomes of it in SETTINGS and in the engine's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.codec.http1_options import Underscores

if TYPE_CHECKING:
    from proxy.codec.http2_engine import Configuration

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
ENABLE_CONNECT_PROTOCOL: Final = 8

DEFAULT_WINDOW: Final = 65535  # RFC 9113 section 6.9.2, before any SETTINGS


class Http2Settings:
    """envoy.config.core.v3.Http2ProtocolOptions with Envoy's defaults, and the limits on heads.

    max_headers_bytes: names and values of one head; max_headers_count: its fields, pseudo-headers included
    keepalive_interval_s: a PING so often, 0: none; keepalive_timeout_s: how long its answer may take
    keepalive_idle_s: a PING before the first stream after so long without traffic, 0: none (client side)
    max_requests_per_turn: requests taken from one read before others get their turn
    allow_connect: take extended CONNECT (RFC 8441; server side)
    """

    __slots__ = (
        "_engine",
        "allow_connect",
        "hpack_table_size",
        "initial_connection_window_size",
        "initial_stream_window_size",
        "keepalive_idle_s",
        "keepalive_interval_s",
        "keepalive_timeout_s",
        "max_concurrent_streams",
        "max_empty_frames",
        "max_headers_bytes",
        "max_headers_count",
        "max_outbound_control_frames",
        "max_outbound_frames",
        "max_priority_frames",
        "max_requests_per_turn",
        "max_window_updates",
        "reset_burst",
        "reset_rate",
        "stream_errors",
        "underscores",
    )

    def __init__(
        self,
        *,
        hpack_table_size: int = 4096,
        max_concurrent_streams: int = 1024,
        initial_stream_window_size: int = 16 * 1024 * 1024,
        initial_connection_window_size: int = 24 * 1024 * 1024,
        max_outbound_frames: int = 10_000,
        max_outbound_control_frames: int = 1000,
        max_empty_frames: int = 1,  # max_consecutive_inbound_frames_with_empty_payload
        max_priority_frames: int = 100,  # max_inbound_priority_frames_per_stream
        max_window_updates: int = 10,  # max_inbound_window_update_frames_per_data_frame_sent
        stream_errors: bool = False,  # override_stream_error_on_invalid_http_message
        max_headers_bytes: int = 60 * 1024,
        max_headers_count: int = 100,
        keepalive_interval_s: float = 0.0,
        keepalive_timeout_s: float = 0.0,
        keepalive_idle_s: float = 0.0,
        max_requests_per_turn: int = 50,
        allow_connect: bool = False,
        underscores: Underscores | None = None,  # what becomes of names with underscores (server side)
        reset_burst: int = 1_000_000,  # RST_STREAM frames from the client: so many at once,
        reset_rate: int = 1_000_000,  # and so many a second (the connection's own rule is stricter)
    ) -> None:
        self.hpack_table_size = hpack_table_size
        self.max_concurrent_streams = max_concurrent_streams
        self.initial_stream_window_size = initial_stream_window_size
        self.initial_connection_window_size = initial_connection_window_size
        self.max_outbound_frames = max_outbound_frames
        self.max_outbound_control_frames = max_outbound_control_frames
        self.max_empty_frames = max_empty_frames
        self.max_priority_frames = max_priority_frames
        self.max_window_updates = max_window_updates
        self.stream_errors = stream_errors
        self.max_headers_bytes = max_headers_bytes
        self.max_headers_count = max_headers_count
        self.keepalive_interval_s = keepalive_interval_s
        self.keepalive_timeout_s = keepalive_timeout_s
        self.keepalive_idle_s = keepalive_idle_s
        self.max_requests_per_turn = max_requests_per_turn
        self.allow_connect = allow_connect
        self.underscores = underscores
        self.reset_burst = reset_burst
        self.reset_rate = reset_rate
        self._engine: Configuration | None = None  # made once

    def engine(self) -> Configuration:
        """The engine's own limits.

        A head that breaks *them* costs the whole connection, so they lie well above ours, which cost one stream: they
        only bound what the engine holds while a head is being decoded.
        """
        if self._engine is None:
            self._engine = self._new_engine()
        return self._engine

    def _new_engine(self) -> Configuration:
        from proxy.codec.http2_engine import Configuration  # with the first connection

        return Configuration(
            auto_window_update=False,
            peer_max_concurrent_streams=100,
            max_reserved_remote_streams=0,
            max_send_header_block_length=1024 * 1024,  # heads come from our own codecs, bounded there
            max_deflate_dynamic_table_size=self.hpack_table_size,
            max_outbound_ack=self.max_outbound_control_frames,
            stream_reset_rate_limit=(self.reset_burst, self.reset_rate),
            max_inbound_header_list_size=2 * self.max_headers_bytes + 64 * 1024,
            max_inbound_header_count=max(1024, 4 * self.max_headers_count),
        )

    def server_settings(self) -> dict[int, int]:
        """The SETTINGS of a server (as seen of Envoy 1.40.0)."""
        return {
            HEADER_TABLE_SIZE: self.hpack_table_size,
            ENABLE_CONNECT_PROTOCOL: int(self.allow_connect),
            MAX_CONCURRENT_STREAMS: self.max_concurrent_streams,
            INITIAL_WINDOW_SIZE: self.initial_stream_window_size,
        }

    def client_settings(self) -> dict[int, int]:
        """The SETTINGS of a client."""
        return {
            HEADER_TABLE_SIZE: self.hpack_table_size,
            ENABLE_PUSH: 0,
            MAX_CONCURRENT_STREAMS: self.max_concurrent_streams,
            INITIAL_WINDOW_SIZE: self.initial_stream_window_size,
        }
