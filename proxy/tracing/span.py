"""Span: our own slotted record of one hop, filled when it ends and encoded later, off the request path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap, RequestHeaders, ResponseHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.tracing.context import TraceContext


#: What OpenTelemetry lets an attribute be; sequences as tuples.
Attribute = str | bool | int | float | bytes | tuple[str | bool | int | float, ...]
EXTRA_LIMIT: Final = 128  # attributes, events and attributes of one event, each; the rest is dropped


class SpanExtra:
    """What a span holds beyond what every request's span holds. Bounded; ``dropped`` counts what did not fit.

    attributes: by name; events: (wall seconds, name, attributes); status: OpenTelemetry's code (0 unset, 1 ok,
    2 error) and its description
    """

    __slots__ = ("attributes", "dropped", "events", "status_code", "status_text")

    def __init__(self) -> None:
        self.attributes: dict[str, Attribute] = {}
        self.events: list[tuple[float, str, dict[str, Attribute]]] = []
        self.status_code = 0
        self.status_text = ""
        self.dropped = 0

    def set_attribute(self, name: str, value: Attribute) -> None:
        """A later value replaces an earlier one."""
        if name in self.attributes or len(self.attributes) < EXTRA_LIMIT:
            self.attributes[name] = value
        else:
            self.dropped += 1

    def add_event(self, at: float, name: str, attributes: dict[str, Attribute]) -> None:
        """Something that happened at a moment (wall seconds)."""
        if len(self.events) < EXTRA_LIMIT:
            self.events.append((at, name, attributes))
        else:
            self.dropped += 1


class Span:
    """One span. ``tags`` are those beyond the standard ones; a later tag replaces an earlier of the same name.

    extra: what code in a filter said through OpenTelemetry's API (otel_context.py); None as a rule

    Fields below "when it ends" are set by HttpTracing.finish and finish_upstream and not before.
    Times: start_time wall seconds, duration_s seconds; annotations: (wall seconds, text).
    """

    __slots__ = (
        *("context", "extra", "is_server", "name", "tags"),  # when it starts
        *(
            "annotations",
            "bytes_received",
            "bytes_sent",
            "cluster_name",
            "duration_s",
            "flags",
        ),  # when it ends
        *("max_path_tag_length", "peer_address", "protocol", "request_headers", "response_headers"),
        *("response_trailers", "start_time", "status"),
    )

    annotations: list[tuple[float, str]] | None
    bytes_received: int
    bytes_sent: int
    cluster_name: bytes
    duration_s: float
    flags: int
    max_path_tag_length: int
    peer_address: str  # of the client; of the upstream host in a try's span
    protocol: bytes
    request_headers: RequestHeaders | None  # None in a try's span
    response_headers: ResponseHeaders | None
    response_trailers: HeaderMap | None
    start_time: float
    status: int

    def __init__(self, context: TraceContext, is_server: bool, name: bytes) -> None:
        self.context = context
        self.is_server = is_server
        self.name = name
        self.tags: dict[str, str] | None = None
        self.extra: SpanExtra | None = None

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


def moments(stream: StreamInfo) -> list[tuple[float, str]]:
    """The seven moments of a verbose span that have happened, as (wall seconds, name)."""
    base = stream.start_time - stream.started_at
    happened = (
        (stream.rx_end_at, "last_downstream_rx_byte_received"),
        (stream.upstream_tx_start_at, "first_upstream_tx_byte_sent"),
        (stream.upstream_tx_end_at, "last_upstream_tx_byte_sent"),
        (stream.upstream_rx_start_at, "first_upstream_rx_byte_received"),
        (stream.upstream_rx_end_at, "last_upstream_rx_byte_received"),
        (stream.tx_start_at, "first_downstream_tx_byte_sent"),
        (stream.tx_end_at, "last_downstream_tx_byte_sent"),
    )
    return [(base + at, name) for at, name in happened if at]
