"""TraceContext: the ids and the decision that travel from hop to hop, and the interface of the header formats.

Ids are kept as their lower-case hex text: that is how every format, log and collector wants them, so an id that
passes through is neither parsed nor printed again. A trace id of 16 digits has a width of 64 bits, of 32 digits
128; B3 keeps the width it received, W3C pads with zeros on the left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from proxy.base.headers import Field

# Bits of TraceContext.flags.
DEBUG: Final = 1  # B3 debug: sampled, and the collector is told so
RANDOM: Final = 2  # W3C level 2: the trace id's last 7 bytes are random
B3_SINGLE: Final = 4  # the request came with a ``b3`` header: answer in that style
W3C: Final = 8  # the context came from traceparent: write traceparent whatever the provider writes
OVERRIDDEN: Final = 16  # the caller named the operation (x-envoy-decorator-operation): do not send ours back
MALFORMED: Final = 32  # headers were there, but no ids could be read from them: the trace starts again
B3: Final = 64  # B3 headers came and the provider writes none: answer in B3 as well

TRACESTATE: Final = b"tracestate"
#: Names that hold a context in one of the formats we understand; all others are none of our business.
TRACE_NAMES: Final = frozenset(
    {
        b"b3",
        b"x-b3-traceid",
        b"x-b3-spanid",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-flags",
        b"traceparent",
        TRACESTATE,
    }
)

HEX_DIGITS: Final = b"0123456789abcdef"
NO_SPAN: Final = b"0" * 16
NO_TRACE: Final = b"0" * 32


_FIELDS: Final = ("flags", "parent_id_hex", "sampled", "span_id_hex", "trace_id_hex", "tracestate")


class TraceContext:
    """A span's place in its trace.

    trace_id_hex: 16 or 32 digits, b"" when only a decision is known; span_id_hex: 16 digits
    parent_id_hex: 16 digits, b"" for a root
    sampled: True, False, or None while nobody has decided
    tracestate: valid, joined, b"" when there is none
    """

    __slots__ = _FIELDS

    def __init__(
        self,
        trace_id_hex: bytes,
        span_id_hex: bytes,
        parent_id_hex: bytes = b"",
        sampled: bool | None = None,
        flags: int = 0,
        tracestate: bytes = b"",
    ) -> None:
        self.trace_id_hex = trace_id_hex
        self.span_id_hex = span_id_hex
        self.parent_id_hex = parent_id_hex
        self.sampled = sampled
        self.flags = flags
        self.tracestate = tracestate

    @property
    def trace_id(self) -> int:
        """The trace id as a number; 0 when unknown."""
        return int(self.trace_id_hex or b"0", 16)

    @property
    def span_id(self) -> int:
        """The span id as a number; 0 when unknown."""
        return int(self.span_id_hex or b"0", 16)

    @property
    def width(self) -> int:
        """Bits of the trace id: 64 or 128 (0 when unknown)."""
        return len(self.trace_id_hex) * 4

    def child(self, span_id_hex: bytes) -> TraceContext:
        """The context of a span below this one."""
        return TraceContext(
            self.trace_id_hex, span_id_hex, self.span_id_hex, self.sampled, self.flags, self.tracestate
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TraceContext) and all(
            getattr(self, name) == getattr(other, name) for name in _FIELDS
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "TraceContext(" + ", ".join(f"{n}={getattr(self, n)!r}" for n in _FIELDS) + ")"


class Propagator(Protocol):
    """One header format. What ``inject`` writes, ``extract`` reads back."""

    def extract(self, values: dict[bytes, bytes], found: list[Field]) -> TraceContext | None:
        """The context in the trace headers of a request. Counts what it meets.

        found: the fields named in TRACE_NAMES, in order; values: the first value of each of their names.

        None: no header of this format. No ids and MALFORMED: unusable, ``sampled`` still holds a decision that
        could be read. No ids and not MALFORMED: a decision and nothing else.
        """

    def inject(self, trace: TraceContext, fields: list[Field]) -> None:
        """Append the headers that carry ``trace`` (its ``sampled`` is decided)."""


def is_trace_id(value: bytes) -> bool:
    """16 or 32 lower-case hex digits, not all zero."""
    return (
        (len(value) == 16 or len(value) == 32)
        and not value.translate(None, HEX_DIGITS)
        and value != NO_SPAN
        and value != NO_TRACE
    )


def is_span_id(value: bytes) -> bool:
    """16 lower-case hex digits, not all zero."""
    return len(value) == 16 and not value.translate(None, HEX_DIGITS) and value != NO_SPAN
