"""B3 in one header: ``b3: {trace id}-{span id}-{decision}-{parent id}``, or a decision alone.

Source: openzipkin/b3-propagation ("Single Header"), repaired as ``b3_multi``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.tracing.context import DEBUG, MALFORMED, TraceContext, is_span_id, is_trace_id

if TYPE_CHECKING:
    from proxy.base.headers import Field
    from proxy.stats.store import Scope

NAME: Final = b"b3"
DECISIONS: Final[dict[bytes, tuple[bool, int]]] = {b"1": (True, 0), b"0": (False, 0), b"d": (True, DEBUG)}
LONGEST: Final = 32 + 1 + 16 + 1 + 1 + 1 + 16


class B3Single:
    """Reads and writes the ``b3`` header. The first value of a repeated header counts."""

    __slots__ = ("accepted", "repaired", "restarted")

    def __init__(self, scope: Scope) -> None:
        self.accepted = scope.counter("b3_single.accepted")
        self.restarted = scope.counter("b3_single.restarted")
        self.repaired = scope.counter("b3_single.repaired")

    def extract(self, values: dict[bytes, bytes], found: list[Field]) -> TraceContext | None:
        """See Propagator.extract."""
        value = values.get(NAME)
        return None if value is None else self._parse(value.strip(b" \t").lower())

    def _parse(self, value: bytes) -> TraceContext:
        if value in DECISIONS:
            sampled, flags = DECISIONS[value]
            return TraceContext(b"", b"", b"", sampled, flags)
        parts = value.split(b"-") if len(value) <= LONGEST else []
        if not 2 <= len(parts) <= 5 or not (is_trace_id(parts[0]) and is_span_id(parts[1])):
            self.restarted.value += 1
            return TraceContext(b"", b"", b"", None, MALFORMED)
        self.accepted.value += 1
        decision = DECISIONS.get(parts[2]) if len(parts) > 2 else (None, 0)
        # A parent of "-" gives a fifth, empty part.
        parent_id = parts[3] if len(parts) == 4 else b""
        if len(parts) > 3 and not is_span_id(parent_id):
            parent_id = b""
            self.repaired.value += 1
        if decision is None:
            self.repaired.value += 1
            decision = (None, 0)
        return TraceContext(parts[0], parts[1], parent_id, *decision)

    def inject(self, trace: TraceContext, fields: list[Field]) -> None:
        """See Propagator.inject."""
        decision = b"d" if trace.flags & DEBUG else b"1" if trace.sampled else b"0"
        value = b"%b-%b-%b" % (trace.trace_id_hex, trace.span_id_hex, decision)
        if trace.parent_id_hex:
            value = b"%b-%b" % (value, trace.parent_id_hex)
        fields.append((NAME, value))
