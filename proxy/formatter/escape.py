"""Escaping: nothing that a peer sent may end a log line, forge a JSON field or steer a terminal.

Text lines: Envoy writes values as they are. Outrider does so for printable ASCII and printable UTF-8, and writes every
control character as ``\\xNN`` (C0, DEL, C1, and stray bytes 0x80..0x9f) or ``\\uNNNN`` (line and paragraph separator).
Quotes and backslashes stay as they are, as in Envoy: they cannot end a line; use JSON where fields must be exact.

JSON lines: as Envoy: valid UTF-8 is kept, a value that is not UTF-8 is read as Latin-1. Beyond Envoy, the same
characters as above are written as ``\\uNNNN``, so that a line stays harmless when it is shown raw.

Header values: control bytes other than TAB become ``\\xNN``; everything else passes, obs-text too.
"""

from __future__ import annotations

import re
from typing import Final

# Deleting these from a line leaves what needs a second look.
PLAIN: Final = bytes(range(0x20, 0x7F))
PLAIN_JSON: Final = PLAIN.replace(b'"', b"").replace(b"\\", b"")
PLAIN_HEADER: Final = PLAIN + b"\t" + bytes(range(0x80, 0x100))

# A stray byte 0xNN appears as the lone surrogate U+DCNN after decoding with "surrogateescape".
_STRAY: Final = f"{chr(0xDC80)}-{chr(0xDC9F)}"  # no literal: mypyc takes no surrogates
#: compiled when first needed, as it takes long, and few values need it
_CONTROL: Final = "[\x00-\x1f\x7f-\x9f\u2028\u2029" + _STRAY + "]"
_CONTROL_BYTE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CONTROL_IN_JSON: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code >= 0xDC80:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def escape_text(value: bytes) -> bytes:
    """A value for a text line."""
    text = value.decode("utf-8", "surrogateescape")
    return re.sub(_CONTROL, _escape, text).encode("utf-8", "surrogateescape")


def escape_header(value: bytes) -> bytes:
    """A value for a header field."""
    return _CONTROL_BYTE.sub(lambda found: b"\\x%02x" % ord(found[0]), value)


def decode_json(value: bytes) -> str:
    """A value's characters as JSON output has them."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def escape_json(value: bytes) -> bytes:
    """A value as the inside of a JSON string (no quotes around it)."""
    import orjson  # see values.dumps

    text = orjson.dumps(decode_json(value))[1:-1].decode()
    return _CONTROL_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
