"""W3C Trace Context, levels 1 and 2: ``traceparent`` and ``tracestate``.

Source: w3.org/TR/trace-context-2 and contract/observability.md 2.1. What cannot be read starts a new trace and takes
the tracestate with it; an error in the tracestate alone costs only the tracestate.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.tracing.context import MALFORMED, NO_SPAN, NO_TRACE, RANDOM, TRACESTATE, W3C, TraceContext

if TYPE_CHECKING:
    from proxy.base.headers import Field
    from proxy.stats.store import Scope

TRACEPARENT: Final = b"traceparent"

SAMPLED_BIT: Final = 1
RANDOM_BIT: Final = 2
#: version, trace id, span id, flags, and what later versions put behind a dash; white space may surround it
PARENT: Final = re.compile(
    rb"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?[ \t]*", re.DOTALL
)

MEMBER_LIMIT: Final = 32
#: key "=" value as of level 2 (no rules about "@" but that a key does not start with it); white space is off already
_MEMBER: Final = (
    rb"[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
MEMBER: Final = re.compile(_MEMBER)
CLEAN_STATE: Final = re.compile(rb"%b(?:,%b){0,31}" % (_MEMBER, _MEMBER))


class W3CTraceContext:
    """Reads and writes traceparent (version 00 is written) and tracestate."""

    __slots__ = ("accepted", "restarted", "tracestate_dropped")

    def __init__(self, scope: Scope) -> None:
        self.accepted = scope.counter("w3c.accepted")
        self.restarted = scope.counter("w3c.restarted")
        self.tracestate_dropped = scope.counter("w3c.tracestate_dropped")

    def extract(self, values: dict[bytes, bytes], found: list[Field]) -> TraceContext | None:
        """See Propagator.extract. Several traceparents are as bad as none."""
        parent = values.get(TRACEPARENT)
        state = values.get(TRACESTATE)
        context = None
        if parent is not None:
            context = parse_traceparent(parent)
            if context is not None and len(found) != len(values) and is_repeated(TRACEPARENT, found):
                context = None
        if context is None:
            self.tracestate_dropped.value += state is not None
            if parent is None:
                return None
            self.restarted.value += 1
            return TraceContext(b"", b"", b"", None, MALFORMED)
        self.accepted.value += 1
        if state is not None:
            lines = [state] if len(found) == len(values) else [v for name, v in found if name == TRACESTATE]
            joined = join_tracestate(lines)
            if joined is None:
                self.tracestate_dropped.value += 1
            else:
                context.tracestate = joined
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
            field = (TRACESTATE, trace.tracestate)
            if field not in fields:  # it may have stayed where it was
                fields.append(field)


def is_repeated(name: bytes, found: list[Field]) -> bool:
    """Whether a header came more than once."""
    return sum(field[0] == name for field in found) > 1


def parse_traceparent(value: bytes) -> TraceContext | None:
    """The context in a traceparent, None when it is invalid.

    Versions 01 to fe are read as far as version 00 goes. A trace id whose upper half is zero was padded by somebody
    on the way: its width is 64 bits, so that B3 shows it as it began.
    """
    match = PARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, later = match.groups()
    if version == b"ff" or (later is not None and version == b"00"):
        return None
    if trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    if trace_id.startswith(NO_SPAN):
        trace_id = trace_id[16:]
    bits = int(flags, 16)
    kept = W3C | RANDOM if bits & RANDOM_BIT else W3C
    return TraceContext(trace_id, span_id, b"", bits & SAMPLED_BIT != 0, kept)


def join_tracestate(lines: list[bytes]) -> bytes | None:
    """The members of every line in order, joined; b"" when there are none, None when one of them is illegal."""
    if len(lines) == 1 and CLEAN_STATE.fullmatch(lines[0]):
        return lines[0]  # the usual case: nothing to tidy
    members = [member.strip(b" \t") for line in lines for member in line.split(b",")]
    members = [member for member in members if member]
    if len(members) > MEMBER_LIMIT:
        return None
    for member in members:
        if not MEMBER.fullmatch(member):
            return None
    return b",".join(members)
