"""What a trace back end offers to the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext
    from proxy.tracing.span import Span


#: How Envoy's names of samplers begin.
SAMPLERS: Final = "envoy.tracers.opentelemetry.samplers."

#: Tracer.root_ids. NARROW, WIDE: a trace id of 64 or 128 bits; the root's span id is its lower half, as in Zipkin.
#: APART: 128 bits, and a span id of its own. NARROW_DATED, WIDE_DATED: the trace id begins with the epoch's seconds.
NARROW: Final = 0
WIDE: Final = 1
APART: Final = 2
NARROW_DATED: Final = 3
WIDE_DATED: Final = 4


class TraceSampler(Protocol):
    """A provider's own sampler: what ``proxy.ext.trace_samplers`` classes offer. Built as ``Class(reader, context)``."""

    def keeps(self, trace_id_hex: bytes, parent_sampled: bool | None) -> bool:
        """Whether to keep a span. trace_id_hex: 16 or 32 digits; parent_sampled: None for the root of a trace."""


class Tracer(Protocol):
    """A back end: what ``proxy.ext.tracers`` classes offer. Built as ``Class(reader, context)``.

    formats: the header formats it writes ("b3", "w3c")
    shared_span_context: a SERVER span takes over the B3 span id it received instead of becoming its child
    root_ids: how the ids of a new trace are drawn, one of the constants above
    names_direction: spans are called "ingress" and "egress <host>" instead of "<host>"
    always_server: a request's span is a SERVER's on the egress side as well
    tries_are_clients: a try's span is a CLIENT's, whoever asked for it, and not one more of the request's own kind
    sampler: asked about what the configured rates have let pass; None: nobody is
    """

    formats: Sequence[str]
    shared_span_context: bool
    root_ids: int
    names_direction: bool
    always_server: bool
    tries_are_clients: bool
    sampler: TraceSampler | None

    def report(self, span: Span) -> None:
        """Take a finished span. Never blocks, never raises."""

    def flush(self) -> None:
        """Send what is waiting, now (the process is about to end)."""


def ignore(span: Span) -> None:
    """Where spans go when there is no tracer."""


def compile_sampler(reader: Reader, context: FactoryContext) -> TraceSampler | None:
    """A sampler chosen by its extension config (core.v3.TypedExtensionConfig); None when it was refused."""
    reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if not reader.has("typed_config"):
            reader.fail("typed_config", "is missing")
        return None
    if not context.registry.has(config.type_name, SAMPLERS):
        reader.unsupported("typed_config", context.registry.unknown("sampler", config.type_name, SAMPLERS))
        return None
    sampler: TraceSampler = context.registry.resolve(config.type_name)(config, context)
    return sampler
