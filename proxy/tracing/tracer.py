"""What a trace back end offers to the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxy.tracing.span import Span


class Tracer(Protocol):
    """A back end: what ``proxy.ext.tracers`` classes offer. Built as ``Class(reader, context)``.

    formats: the header formats it writes ("b3", "w3c"); trace_id_128bit: width of the traces it begins
    shared_span_context: a SERVER span takes over the B3 span id it received instead of becoming its child
    """

    formats: Sequence[str]
    trace_id_128bit: bool
    shared_span_context: bool

    def report(self, span: Span) -> None:
        """Take a finished span. Never blocks, never raises."""

    def flush(self) -> None:
        """Send what is waiting, now (the process is about to end)."""


def ignore(span: Span) -> None:
    """Where spans go when there is no tracer."""
