"""Operators about time: START_TIME, EMIT_TIME, DURATION, the *_DURATION family, COMMON_DURATION."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import NUMBER, TEXT, FormatContext, Make, Slot
from proxy.formatter.syntax import Command

Wall = Callable[[StreamInfo], float]

# strftime's own specifiers pass; %s, %f, %nf and the %E family are ours (absl::FormatTime, Envoy's DateFormatter).
# Of "%%f" Envoy makes a percent sign and the fraction.
_SPECIFIER: Final = (
    r"(?s:%(?=%[1-9]?[fs])|%(?:E(?P<of>[0-9*])(?P<unit>[Sf])|E4Y|Ez|E\*?z|[1-9]?f|[1-9]?s|Z|z|[-_0^#]*.))"
)
_NEWLINE: Final = r"%[-_0^#]*[1-9]*(?:E|O)?n"
_RESERVED: Final = "[\x00-\x02]"  # marks of our own
_WIDTHS: Final = ("", *"123456789")  # of %s
_STRFTIME: Final = frozenset("aAbBcCdDeFgGhHIjklmMprRStTuUVwWxXyY")
# Half a nanosecond, so that no millisecond is lost to binary fractions (1.005 - 1.0 is 0.00499999...), and none is won
_EPSILON_S: Final = 5e-10
DEFAULT_UTC: Final = "%Y-%m-%dT%H:%M:%S.%3fZ"
DEFAULT_LOCAL: Final = "%Y-%m-%dT%H:%M:%S.%3f%z"


class TimeText:
    """Writes a wall-clock time. All but the fractions of a second is kept for as long as the second lasts."""

    __slots__ = ("_convert", "_digits", "_pieces", "_second", "_template", "_zone")

    def __init__(self, layout: str, local: bool) -> None:
        self._convert = time.localtime if local else time.gmtime
        self._zone = not local
        self._second = -1
        self._template = b""
        self._digits: list[int] = []  # of each fraction in order; 0: microseconds without trailing zeros
        self._pieces: list[str] = []  # strftime text, split where a fraction belongs
        self._pieces = re.sub(_SPECIFIER, self._translate, layout).split("\0")

    def _translate(self, found: re.Match[str]) -> str:
        word = found[0]
        if word == "%":
            return "%%"
        if found["unit"]:
            self._digits.append(0 if found["of"] == "*" else int(found["of"]))
            return ("%S.\0" if found["unit"] == "S" else "\0") if found["of"] != "0" else "%S"
        if word.endswith("f"):
            self._digits.append(int(word[1]) if len(word) == 3 else 9)
            return "\0"
        if word.endswith("s") and word[1:-1] in _WIDTHS:
            return "\1"
        if word == "%E4Y":
            return "%Y"
        if word in ("%Ez", "%E*z"):
            return "+00:00" if self._zone else "\2"
        if self._zone and word in ("%Z", "%z"):
            return "UTC" if word == "%Z" else "+0000"
        return word if word == "%%" or word[-1] in _STRFTIME or word in ("%Z", "%z") else "%" + word

    def __call__(self, when: float) -> bytes:
        microseconds = int(when * 1_000_000 + 0.5)
        second, rest = divmod(microseconds, 1_000_000)
        if second != self._second:
            self._turn(second)
        if not self._digits:
            return self._template
        return self._template % tuple([_fraction(rest, digits) for digits in self._digits])

    @property
    def is_milliseconds(self) -> bool:
        """Whether the layout has one fraction, of three digits."""
        return self._digits == [3]

    def around(self, second: int) -> tuple[bytes, bytes]:
        """What stands before and after the one fraction."""
        self._turn(second)
        head, _, tail = self._template.replace(b"%%", b"\0").partition(b"%b")
        return head.replace(b"\0", b"%"), tail.replace(b"\0", b"%")

    def _turn(self, second: int) -> None:
        fields = self._convert(second)
        zone = time.strftime("%z", fields)
        pieces = [
            time.strftime(piece, fields).replace("\1", str(second)).replace("\2", f"{zone[:3]}:{zone[3:]}")
            for piece in self._pieces
        ]
        if self._digits:
            pieces = [piece.replace("%", "%%") for piece in pieces]
        self._template = "%b".join(pieces).encode()
        self._second = second


@lru_cache(maxsize=16)
def _milliseconds(tail: bytes) -> tuple[bytes, ...]:
    # The last is for fractions that only rounding brought to 1000.
    return tuple(b"%03d%b" % (number, tail) for number in (*range(1000), 999))


def _milliseconds_getter(write: TimeText, when: Wall) -> Callable[[StreamInfo], bytes]:
    """The common layout, text.%3fZ, with everything at hand: this is in nearly every log line."""
    second = -1.0
    head = b""
    endings: tuple[bytes, ...] = ()

    def get(stream: StreamInfo) -> bytes:
        nonlocal second, head, endings
        part = when(stream) - second
        if not 0.0 <= part < 1.0:
            second = float(int(part + second))
            part = when(stream) - second
            head, tail = write.around(int(second))
            endings = _milliseconds(tail)
        return head + endings[int(part * 1000 + 0.0005)]

    return get


def _fraction(microseconds: int, digits: int) -> bytes:
    text = b"%06d000" % microseconds
    return text[:digits] if digits else text[:6].rstrip(b"0") or b"0"


def time_operator(wall_of: Callable[[FormatContext], Wall], local: bool = False) -> Make:
    """START_TIME(layout) and its kin; the wall-clock time comes from ``wall_of(context)(stream)``."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        check_layout(command.argument)
        write = TimeText(command.argument or (DEFAULT_LOCAL if local else DEFAULT_UTC), local)
        when = wall_of(context)

        if write.is_milliseconds:
            return Slot(TEXT, _milliseconds_getter(write, when))
        return Slot(TEXT, lambda stream: write(when(stream)))

    return make


def check_layout(layout: str) -> None:
    """Refuse a line end in a time layout, as Envoy does. Raises ValueError."""
    if re.search(_NEWLINE, layout):
        raise ValueError("Invalid header configuration. Format string contains newline.")
    if re.search(_RESERVED, layout):
        raise ValueError("Invalid header configuration. Format string contains control characters.")


def start_time(context: FormatContext) -> Wall:
    """When the request began."""
    return attrgetter("start_time")


def emit_time(context: FormatContext) -> Wall:
    """When the line is written: the end of the stream, or now while it runs."""
    now = context.clock.wall

    def get(stream: StreamInfo) -> float:
        return stream.start_time + stream.ended_at - stream.started_at if stream.ended_at else now()

    return get


def duration_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """DURATION: milliseconds from the start to the end, or to now while the stream runs"""
    now = context.clock.monotonic

    def get(stream: StreamInfo) -> int:
        return int(((stream.ended_at or now()) - stream.started_at) * 1000 + 1e-6)

    return Slot(NUMBER, get)


def between(start: str, end: str, per_second: int = 1000) -> Make:
    """The time between two StreamInfo attributes; absent unless both happened, in that order."""
    start_of, end_of = attrgetter(start), attrgetter(end)

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            begin, finish = start_of(stream), end_of(stream)
            if not begin or not finish or finish < begin:
                return absent
            return int((finish - begin + _EPSILON_S) * per_second)

        return Slot(NUMBER, get)

    return make


_POINTS: Final = {
    "DS_CX_BEG": "info.started_at",
    "DS_RX_BEG": "started_at",
    "DS_RX_HDR_END": "rx_headers_end_at",
    "DS_RX_END": "rx_end_at",
    "US_CX_BEG": "upstream_connect_start_at",
    "US_CX_END": "upstream_connected_at",
    "US_TX_BEG": "upstream_tx_start_at",
    "US_TX_END": "upstream_tx_end_at",
    "US_RX_BEG": "upstream_rx_start_at",
    "US_RX_BODY_BEG": "upstream_rx_body_start_at",
    "US_RX_END": "upstream_rx_end_at",
    "DS_TX_BEG": "tx_start_at",
    "DS_TX_END": "tx_end_at",
}
_PER_SECOND: Final = {"ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}


def common_duration_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """COMMON_DURATION(start:end[:ms|us|ns]). Unknown points are names that a filter may set: absent, as in Envoy."""
    words = command.argument.split(":")
    if not 2 <= len(words) <= 3:
        raise ValueError(f"Invalid common duration configuration: {command.argument}.")
    unit = words[2] if len(words) == 3 else "ms"
    if unit not in _PER_SECOND:
        raise ValueError(f"Invalid common duration precision: {unit}.")
    start, end = _POINTS.get(words[0]), _POINTS.get(words[1])
    if start is None or end is None:
        return Slot(NUMBER, lambda stream: absent)
    return between(start, end, _PER_SECOND[unit])(command, context, absent)


def pool_ready_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """UPSTREAM_CONNECTION_POOL_READY_DURATION"""

    def get(stream: StreamInfo) -> Any:
        waited = stream.upstream_pool_wait_s
        return absent if waited < 0 else int((waited + _EPSILON_S) * 1000)

    return Slot(NUMBER, get)
