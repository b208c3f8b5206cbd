"""Whether a connection in plain text begins with HTTP, and which: for the application protocols of filter chains."""

from __future__ import annotations

import re
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LONGEST_LINE: Final = 8192
#: a method, as far as it has come: any that RFC 9110 section 5.6.2 lets be one, as for Envoy
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
_BLANKS: Final = re.compile(rb"[ \t]+")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
#: those of HTTP/0.9, which has no version to be known by
_VERSIONLESS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"))


def read_http_start(data: bytes) -> str | None:
    """ "http/1.0" (any version but 1.1, as in Envoy), "http/1.1", "h2c", "" for what is no HTTP, None while more is
    needed."""
    if data[: len(_PREFACE)] == _PREFACE[: len(data)]:
        return "h2c" if len(data) >= len(_PREFACE) else None
    end = data.find(b"\n")
    line = data if end < 0 else data[:end].rstrip(b"\r")
    found = _METHOD.match(line)
    method = found[0] if found is not None else b""
    after = line[len(method) : len(method) + 1]
    if after and (not method or after not in b" \t"):
        return ""
    if end < 0:
        return None if len(data) < _LONGEST_LINE else ""
    words = _BLANKS.split(line)
    if len(words) == 2:
        return "http/1.0" if words[0] in _VERSIONLESS and words[1][:1] == b"/" else ""
    if len(words) != 3 or _VERSION.fullmatch(words[2]) is None:
        return ""
    return "http/1.1" if words[2] == b"HTTP/1.1" else "http/1.0"
