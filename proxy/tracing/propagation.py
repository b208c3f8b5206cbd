"""Request headers to context and back: one context is read, every format written says the same.

Which formats are written is the provider's (``formats``); all of them are read, whoever the provider is. A header of
a format that we understand and do not write is removed, so that no stale context stands beside the new one. Who sent a
format that the provider does not write is answered in it as well: what is behind us may speak no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.base.headers import TRACE
from proxy.tracing.context import B3, B3_SINGLE, MALFORMED, TRACE_NAMES, TRACESTATE, W3C, TraceContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from proxy.base.headers import Field, RequestHeaders
    from proxy.base.registry import Registry
    from proxy.stats.store import Scope
    from proxy.tracing.context import Propagator

#: In the order in which they are believed: a valid traceparent first, then b3, then x-b3-*.
W3C_NAME: Final = "outrider.propagators.w3c"
B3_SINGLE_NAME: Final = "outrider.propagators.b3_single"
B3_MULTI_NAME: Final = "outrider.propagators.b3_multi"
W3C_HEADERS: Final = frozenset({b"traceparent", TRACESTATE})


class Propagation:
    """Reads and writes trace headers.

    formats: what the provider writes: "b3" (in the style that was received, several headers by default), "w3c"
    scope: where contexts are counted ("tracing.context.")
    """

    __slots__ = ("absent", "b3", "b3_single", "readers", "w3c", "writes_b3", "writes_w3c")

    def __init__(self, registry: Registry, formats: Sequence[str], scope: Scope) -> None:
        self.b3: Propagator = registry.resolve(B3_MULTI_NAME)(scope)
        self.b3_single: Propagator = registry.resolve(B3_SINGLE_NAME)(scope)
        self.w3c: Propagator = registry.resolve(W3C_NAME)(scope)
        self.readers: tuple[Propagator, ...] = (self.w3c, self.b3_single, self.b3)
        self.writes_b3 = "b3" in formats
        self.writes_w3c = "w3c" in formats
        self.absent = scope.counter("absent")

    def extract(self, headers: RequestHeaders) -> TraceContext | None:
        """The context a request brought: with ids, with a decision only, or None when it brought nothing usable."""
        found = [field for field in headers.fields if field[0] in TRACE_NAMES]
        values = dict(found[::-1])
        style = B3_SINGLE if b"b3" in values else 0
        if not self.writes_b3 and not values.keys() <= W3C_HEADERS:
            style |= B3
        decided: TraceContext | None = None
        context: TraceContext | None
        for reader in self.readers:
            context = reader.extract(values, found)
            if context is None:
                continue
            if not context.flags & MALFORMED:
                context.flags |= style
                return context
            if decided is None or decided.sampled is None:
                decided = context
        if decided is None:
            self.absent.value += 1
            return TraceContext(b"", b"", b"", None, style) if style else None
        decided.flags = decided.flags & ~MALFORMED | style
        return decided

    def inject(self, trace: TraceContext, headers: RequestHeaders) -> None:
        """Make the headers carry ``trace`` and no other context. New ones stand at the end, as in Envoy."""
        fields = headers.fields
        flags = trace.flags
        if headers.known & TRACE:
            strip(fields, trace.tracestate)
        else:
            headers.known |= TRACE
        if self.writes_b3 or flags & B3:
            if flags & B3_SINGLE:
                self.b3_single.inject(trace, fields)
            else:
                self.b3.inject(trace, fields)
        if self.writes_w3c or flags & W3C:
            self.w3c.inject(trace, fields)


def strip(fields: list[Field], tracestate: bytes) -> None:
    """Drop every trace header; but a tracestate that goes on as it came stays where it is, as in Envoy."""
    if tracestate:
        lines = [value for name, value in fields if name == TRACESTATE]
        if lines == [tracestate]:
            fields[:] = [field for field in fields if field[0] == TRACESTATE or field[0] not in TRACE_NAMES]
            return
    fields[:] = [field for field in fields if field[0] not in TRACE_NAMES]
