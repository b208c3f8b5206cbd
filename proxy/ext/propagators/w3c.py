"""W3C Trace Context, levels 1 and 2: ``traceparent`` and ``tracestate``.

Source: w3.org/TR/trace-context-2 and contract/observability.md 2.1. What cannot be read starts a new trace and takes
the tracestate with it; an error in the tracestate alone costs only the tracestate.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from proxy.tracing.context import MALFORMED, NO_SPAN, RANDOM, W3C, TraceContext, is_hex, is_zero

if TYPE_CHECKING:
    from proxy.base.headers import Field
    from proxy.stats.store import Scope

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

SAMPLED_BIT = 1
RANDOM_BIT = 2
LENGTH = 55  # of version 00, and of the part of later versions that we read
DASH = ord("-")

MEMBER_LIMIT = 32
#: key "=" value as of level 2 (no rules about "@" but that a key does not start with it); white space is off already
MEMBER = re.compile(
    rb"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class W3CTraceContext:
    """Reads and writes traceparent (version 00 is written) and tracestate."""

    __slots__ = ("accepted", "restarted", "tracestate_dropped")

    def __init__(self, scope: Scope) -> None:
        self.accepted = scope.counter("w3c.accepted")
        self.restarted = scope.counter("w3c.restarted")
        self.tracestate_dropped = scope.counter("w3c.tracestate_dropped")

    def extract(self, found: list[Field]) -> TraceContext | None:
        """See Propagator.extract. Several traceparents are as bad as none."""
        parents = [value for name, value in found if name == TRACEPARENT]
        states = [value for name, value in found if name == TRACESTATE]
        if not parents:
            self.tracestate_dropped.value += bool(states)
            return None
        context = parse_traceparent(parents[0]) if len(parents) == 1 else None
        if context is None:
            self.restarted.value += 1
            self.tracestate_dropped.value += bool(states)
            return TraceContext(b"", b"", b"", None, MALFORMED)
        self.accepted.value += 1
        if states:
            state = join_tracestate(states)
            if state is None:
                self.tracestate_dropped.value += 1
            else:
                context.tracestate = state
        return context

    def inject(self, trace: TraceContext, fields: list[Field]) -> None:
        """See Propagator.inject."""
        flags = b"03" if trace.flags & RANDOM else b"01"
        if not trace.sampled:
            flags = b"02" if trace.flags & RANDOM else b"00"
        trace_id = trace.trace_id_hex
        if len(trace_id) == 16:
            trace_id = NO_SPAN + trace_id
        fields.append((TRACEPARENT, b"00-%b-%b-%b" % (trace_id, trace.span_id_hex, flags)))
        if trace.tracestate:
            fields.append((TRACESTATE, trace.tracestate))


def parse_traceparent(value: bytes) -> TraceContext | None:
    """The context in a traceparent, None when it is invalid.

    Versions 01 to fe are read as far as version 00 goes. A trace id whose upper half is zero was padded by somebody
    on the way: its width is 64 bits, so that B3 shows it as it began.
    """
    value = value.strip(b" \t")
    if len(value) < LENGTH or value[2] != DASH or value[35] != DASH or value[52] != DASH:
        return None
    version, trace_id, span_id, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if not is_hex(version + trace_id + span_id + flags) or version == b"ff":
        return None
    if len(value) > LENGTH and (version == b"00" or value[LENGTH] != DASH):
        return None
    if is_zero(trace_id) or is_zero(span_id):
        return None
    if trace_id.startswith(NO_SPAN):
        trace_id = trace_id[16:]
    bits = int(flags, 16)
    kept = W3C | RANDOM if bits & RANDOM_BIT else W3C
    return TraceContext(trace_id, span_id, b"", bool(bits & SAMPLED_BIT), kept)


def join_tracestate(values: list[bytes]) -> bytes | None:
    """The members of every line in order, joined; b"" when there are none, None when one of them is illegal."""
    if len(values) == 1 and MEMBER.fullmatch(values[0]):
        return values[0]  # the usual case: one member, no white space
    members = [member.strip(b" \t") for value in values for member in value.split(b",")]
    members = [member for member in members if member]
    if len(members) > MEMBER_LIMIT:
        return None
    for member in members:
        if not MEMBER.fullmatch(member):
            return None
    return b",".join(members)
