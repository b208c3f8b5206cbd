"""Span: our own slotted record of one hop, filled when it ends and encoded later, off the request path."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
    from proxy.tracing.context import TraceContext


class Span:
    """One span. ``tags`` are those beyond the standard ones; a later tag replaces an earlier of the same name.

    Fields below "when it ends" are set by HttpTracing.finish and finish_upstream and not before.
    Times: start_time wall seconds, duration_s seconds; annotations: (wall seconds, text).
    """

    __slots__ = (
        # when it starts
        "context",
        "is_server",
        "name",
        "tags",
        # when it ends
        "annotations",
        "bytes_received",
        "bytes_sent",
        "cluster_name",
        "duration_s",
        "flags",
        "max_path_tag_length",
        "peer_address",
        "protocol",
        "request_headers",
        "response_headers",
        "response_trailers",
        "start_time",
        "status",
        "upstream_address",
    )

    def __init__(self, context: TraceContext, is_server: bool, name: bytes) -> None:
        self.context = context
        self.is_server = is_server
        self.name = name
        self.tags: dict[str, str] | None = None
        self.annotations: list[tuple[float, str]] | None
        self.bytes_received: int
        self.bytes_sent: int
        self.cluster_name: bytes
        self.duration_s: float
        self.flags: int
        self.max_path_tag_length: int
        self.peer_address: str
        self.protocol: bytes
        self.request_headers: RequestHeaders | None  # None: an upstream span
        self.response_headers: ResponseHeaders | None
        self.response_trailers: HeaderMap | None
        self.start_time: float
        self.status: int
        self.upstream_address: str

    @property
    def trace_id_hex(self) -> bytes:
        """16 or 32 lower-case hex digits."""
        return self.context.trace_id_hex

    @property
    def span_id_hex(self) -> bytes:
        """16 lower-case hex digits."""
        return self.context.span_id_hex

    def set_tag(self, name: str, value: str) -> None:
        """Add a tag. Empty names and values are dropped, as Envoy does."""
        if not name or not value:
            return
        if self.tags is None:
            self.tags = {}
        self.tags[name] = value
