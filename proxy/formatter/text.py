"""Text formats: access-log lines, header values, bodies of local replies, tags of spans."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from proxy.base.stream_info import StreamInfo
from proxy.formatter.escape import PLAIN, PLAIN_HEADER, escape_header, escape_text
from proxy.formatter.operators import compile_command
from proxy.formatter.slot import COUNT, DYNAMIC, TEXT, FormatContext, Getter, Slot
from proxy.formatter.syntax import Command, parse
from proxy.formatter.values import text_of

DEFAULT_FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)


class Formatter:
    """A compiled text format: a bytes template and a flat tuple of getters.

    The whole line is checked at once for bytes that need care; only a line that has some is put together value by
    value. What the operator wrote between the operators is written as it is.
    """

    __slots__ = ("_escape", "_expected", "_getters", "_plain", "_template")

    def __init__(
        self,
        template: bytes,
        getters: tuple[Getter, ...],
        plain: bytes,
        escape: Callable[[bytes], bytes] | None,
    ) -> None:
        self._template = template
        self._getters = getters
        self._plain = plain
        self._escape = escape
        # What of the template itself is not plain: the same in every line.
        empty = tuple(0 if kind == b"d" else b"" for kind in re.findall(rb"%(?:%|([bd]))", template) if kind)
        self._expected = (template % empty).translate(None, plain)

    def format_bytes(self, stream: StreamInfo) -> bytes:
        """The line."""
        values = tuple([get(stream) for get in self._getters])
        line = self._template % values
        if line.translate(None, self._plain) != self._expected:
            return self._with_care(values)
        return line

    def format(self, stream: StreamInfo) -> str:
        """The line as text; bytes that are not UTF-8 become U+FFFD."""
        return self.format_bytes(stream).decode("utf-8", "replace")

    def _with_care(self, values: tuple[Any, ...]) -> bytes:
        escape = self._escape
        if escape is None:
            return self._template % values
        return self._template % tuple(value if isinstance(value, int) else escape(value) for value in values)


def text_slots(
    parts: list[str | Command], context: FormatContext, absent: bytes
) -> tuple[bytes, tuple[Getter, ...]]:
    """(template, getters) of a text; getters of %b answer bytes, those of %d ints."""
    template: list[bytes] = []
    getters: list[Getter] = []
    for part in parts:
        if isinstance(part, str):
            template.append(part.encode("utf-8", "surrogateescape").replace(b"%", b"%%"))
            continue
        slot = compile_command(part, context, absent)
        template.append(b"%d" if slot.kind is COUNT else b"%b")
        getters.append(_text_getter(slot))
    return b"".join(template), tuple(getters)


def _text_getter(slot: Slot) -> Getter:
    get = slot.get
    if slot.kind is TEXT or slot.kind is COUNT:
        return get
    if slot.kind is DYNAMIC:
        return lambda stream: text_of(get(stream))

    def get_number(stream: StreamInfo) -> Any:
        value = get(stream)
        return b"%d" % value if type(value) is int else value

    return get_number


def compile_format(
    text: str, *, omit_empty: bool = False, escape: bool = True, context: FormatContext | None = None
) -> Formatter:
    """Compile a text format. Raises ValueError with Envoy's words.

    omit_empty: missing values are written as "" in place of "-"
    escape: False for bodies of local replies, where line ends are welcome
    """
    context = context or FormatContext()
    template, getters = text_slots(parse(text), context, b"" if omit_empty else b"-")
    return Formatter(template, getters, PLAIN, escape_text if escape else None)


# Two old spellings that Envoy still rewrites in header values.
_METADATA_LIST: Final = r"%(UPSTREAM|DYNAMIC)_METADATA\(\s*\[(.*?)\]\s*\)%"
_PER_REQUEST_STATE: Final = r"%PER_REQUEST_STATE\((.*?)\)%"


def _modernise(text: str) -> str:
    def rewrite(found: re.Match[str]) -> str:
        keys = [key.strip().strip('"') for key in found[2].split(",")]
        return f"%{found[1]}_METADATA({':'.join(keys)})%"

    return re.sub(_PER_REQUEST_STATE, r"%FILTER_STATE(\1:PLAIN)%", re.sub(_METADATA_LIST, rewrite, text))


def compile_header_value(text: str, *, context: FormatContext | None = None) -> bytes | Formatter:
    """Compile a header value: bytes when it is constant. Missing values are "". Raises ValueError with Envoy's words."""
    if "%" not in text:
        return text.encode("utf-8", "surrogateescape")
    template, getters = text_slots(parse(_modernise(text)), context or FormatContext(), b"")
    if not getters:
        return template % ()
    return Formatter(template, getters, PLAIN_HEADER, escape_header)
