"""Http2ProtocolOptions (envoy.config.core.v3), for both sides: clients' connections and hosts'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.reader import reads
from proxy.codec.http2_settings import Http2Settings

if TYPE_CHECKING:
    from proxy.api.reader import Reader

_MANY = 1_000_000  # resets a second: the engine's own limit, where none is configured


@reads("envoy.config.core.v3.Http2ProtocolOptions")
def compile_http2_settings(
    reader: Reader | None, max_headers_bytes: int, max_headers_count: int
) -> Http2Settings:
    """The settings of a codec; the defaults where nothing is configured."""
    if reader is None:
        return Http2Settings(max_headers_bytes=max_headers_bytes, max_headers_count=max_headers_count)
    default = Http2Settings()
    interval_s, timeout_s, idle_s = _compile_keepalive(reader.sub("connection_keepalive"))
    stream_errors = reader.flag("stream_error_on_invalid_http_messaging")
    _refuse(reader)
    return Http2Settings(
        hpack_table_size=reader.wrapped("hpack_table_size", default.hpack_table_size),
        max_concurrent_streams=reader.wrapped("max_concurrent_streams", default.max_concurrent_streams),
        initial_stream_window_size=reader.wrapped(
            "initial_stream_window_size", default.initial_stream_window_size
        ),
        initial_connection_window_size=reader.wrapped(
            "initial_connection_window_size", default.initial_connection_window_size
        ),
        max_outbound_frames=reader.wrapped("max_outbound_frames", default.max_outbound_frames),
        max_outbound_control_frames=reader.wrapped(
            "max_outbound_control_frames", default.max_outbound_control_frames
        ),
        max_empty_frames=reader.wrapped(
            "max_consecutive_inbound_frames_with_empty_payload", default.max_empty_frames
        ),
        max_priority_frames=reader.wrapped(
            "max_inbound_priority_frames_per_stream", default.max_priority_frames
        ),
        max_window_updates=reader.wrapped(
            "max_inbound_window_update_frames_per_data_frame_sent", default.max_window_updates
        ),
        allow_connect=reader.flag("allow_connect"),
        stream_errors=reader.wrapped("override_stream_error_on_invalid_http_message", stream_errors),
        max_headers_bytes=max_headers_bytes,
        max_headers_count=max_headers_count,
        keepalive_interval_s=interval_s,
        keepalive_timeout_s=timeout_s,
        keepalive_idle_s=idle_s,
        reset_burst=reader.wrapped("stream_reset_burst", _MANY),
        reset_rate=reader.wrapped("stream_reset_rate", _MANY),
    )


@reads("envoy.config.core.v3.Http2ProtocolOptions")
def _refuse(reader: Reader) -> None:
    """What would change traffic and is not built; what would not is named in a warning."""
    if reader.flag("allow_metadata"):
        reader.unsupported("allow_metadata", "METADATA frames are not supported")
    reader.unsupported("custom_settings_parameters", "is not supported")
    reader.unsupported("max_header_field_size_kb", "single fields have no limit of their own")
    if reader.wrapped("disallow_obs_text", False):
        reader.unsupported("disallow_obs_text", "bytes above 0x7F are passed on in values")
    if reader.wrapped("use_oghttp2_codec", False):
        reader.ignore("use_oghttp2_codec", why="there is one HTTP/2 codec here, on libnghttp2")
    reader.ignore("max_metadata_size", why="METADATA frames are not supported")
    if not reader.wrapped("enable_huffman_encoding", True):
        reader.ignore(
            "enable_huffman_encoding", why="header values are always Huffman-coded where that is shorter"
        )


@reads("envoy.config.core.v3.KeepaliveSettings")
def _compile_keepalive(reader: Reader | None) -> tuple[float, float, float]:
    """(interval, timeout, pause before a stream with a PING ahead of it) in seconds; 0: no PING."""
    if reader is None:
        return 0.0, 0.0, 0.0
    reader.ignore("interval_jitter", why="PINGs are sent at the interval")
    idle_s = reader.seconds("connection_idle_interval", 0.0) or 0.0
    return reader.seconds("interval", 0.0) or 0.0, reader.seconds("timeout", 0.0) or 0.0, idle_s
