"""B3 in several headers: X-B3-TraceId, X-B3-SpanId, X-B3-ParentSpanId, X-B3-Sampled, X-B3-Flags.

Source: openzipkin/b3-propagation, with the repairs of contract/observability.md 2.2: garbage starts a new trace and
is never passed on; debug is kept; what is merely wrong beside good ids (a bad parent, a bad Sampled) is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.tracing.context import DEBUG, MALFORMED, TraceContext, is_span_id, is_trace_id

if TYPE_CHECKING:
    from proxy.base.headers import Field
    from proxy.stats.store import Scope

TRACE_ID: Final = b"x-b3-traceid"
SPAN_ID: Final = b"x-b3-spanid"
PARENT_ID: Final = b"x-b3-parentspanid"
SAMPLED: Final = b"x-b3-sampled"
FLAGS: Final = b"x-b3-flags"

SAMPLED_FIELD: Final = (SAMPLED, b"1")
NOT_SAMPLED_FIELD: Final = (SAMPLED, b"0")
DEBUG_FIELD: Final = (FLAGS, b"1")

DECISIONS: Final = {b"1": True, b"0": False, b"true": True, b"false": False}


class B3Multi:
    """Reads and writes the X-B3-* headers. The first value of a repeated header counts."""

    __slots__ = ("accepted", "repaired", "restarted")

    def __init__(self, scope: Scope) -> None:
        self.accepted = scope.counter("b3_multi.accepted")
        self.restarted = scope.counter("b3_multi.restarted")
        self.repaired = scope.counter("b3_multi.repaired")

    def extract(self, values: dict[bytes, bytes], found: list[Field]) -> TraceContext | None:
        """See Propagator.extract."""
        get = values.get
        trace_id = get(TRACE_ID, b"")
        span_id = get(SPAN_ID, b"")
        sampled, flags = self._decision(get(SAMPLED, b""), get(FLAGS))
        if not (is_trace_id(trace_id) and is_span_id(span_id)):
            trace_id, span_id = clean(trace_id), clean(span_id)
            if not trace_id and not span_id:
                return None if sampled is None else TraceContext(b"", b"", b"", sampled, flags)
            if not (is_trace_id(trace_id) and is_span_id(span_id)):
                self.restarted.value += 1
                return TraceContext(b"", b"", b"", sampled, flags | MALFORMED)
        self.accepted.value += 1
        parent_id = get(PARENT_ID, b"")
        if parent_id and not is_span_id(parent_id):
            parent_id = clean(parent_id)
            if not is_span_id(parent_id):
                self.repaired.value += 1
                parent_id = b""
        return TraceContext(trace_id, span_id, parent_id, sampled, flags)

    def _decision(self, sampled: bytes, flags: bytes | None) -> tuple[bool | None, int]:
        if flags == b"1":
            return True, DEBUG
        if sampled == b"1":
            return True, 0
        if not sampled:  # an empty value says nothing; Envoy reads a denial into it
            return None, 0
        sampled = clean(sampled)
        if sampled in DECISIONS:
            return DECISIONS[sampled], 0
        self.repaired.value += 1
        return (True, DEBUG) if sampled == b"d" else (None, 0)

    def inject(self, trace: TraceContext, fields: list[Field]) -> None:
        """See Propagator.inject. Debug implies sampled, so only one of the two headers is written."""
        fields.append((TRACE_ID, trace.trace_id_hex))
        fields.append((SPAN_ID, trace.span_id_hex))
        if trace.parent_id_hex:
            fields.append((PARENT_ID, trace.parent_id_hex))
        if trace.flags & DEBUG:
            fields.append(DEBUG_FIELD)
        else:
            fields.append(SAMPLED_FIELD if trace.sampled else NOT_SAMPLED_FIELD)


def clean(value: bytes) -> bytes:
    """White space off, upper case down: what lenient readers of B3 accept."""
    return value.strip(b" \t").lower()
