"""What both HTTP/1 codecs do for the few configurations that ask for it: names with underscores, upgrades to ignore,
spelled names, absolute targets, lengths beside chunks. Nobody else comes here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from proxy.base.errors import CodecError
from proxy.base.headers import HeaderMap, RequestHeaders
from proxy.base.spelling import Speller

_LENGTH: Final = re.compile(rb"[ \t]*[0-9]+[ \t]*")
UNEXPECTED_UNDERSCORE: Final = b"http1.unexpected_underscore"


class Underscores:
    """headers_with_underscores_action. drops: DROP_HEADER, else REJECT_REQUEST; count: told how many."""

    __slots__ = ("count", "drops")

    def __init__(self, drops: bool, count: Callable[[int], None]) -> None:
        self.drops = drops
        self.count = count

    def apply(self, headers: HeaderMap) -> None:
        """Drop such fields. Raises CodecError where they refuse the request."""
        kept = [field for field in headers.fields if b"_" not in field[0]]
        found = len(headers.fields) - len(kept)
        if not found:
            return
        if not self.drops:
            self.count(1)
            raise CodecError(400, b"Bad Request", UNEXPECTED_UNDERSCORE)
        self.count(found)
        headers.fields[:] = kept


def wanted_upgrade(value: bytes, ignored: tuple[Callable[[bytes], bool], ...]) -> bytes:
    """An Upgrade field's value without the protocols to ignore (ignore_http_11_upgrade); b"" when none is left."""
    if not ignored:
        return value
    protocols = [each.strip(b" \t") for each in value.split(b",")]
    return b", ".join(each for each in protocols if not any(matches(each) for matches in ignored))


def spell_response(lines: list[bytes], speller: Speller) -> None:
    """Spell the field lines behind a status line, which gets the reason phrase to forward."""
    lines[1:] = [speller.line(line) for line in lines[1:]]
    if speller.reason:
        lines[0] = lines[0][:13] + speller.reason


def spell_request(lines: list[bytes], speller: Speller) -> None:
    """Spell the field lines of a request head, which follow the request line."""
    lines[1:] = [speller.line(line) for line in lines[1:]]


def absolute_target(headers: RequestHeaders) -> bytes:
    """The absolute form of a request's target (send_fully_qualified_url)."""
    if headers.path[:1] != b"/":
        return headers.path or headers.authority
    return (headers.scheme or b"http") + b"://" + headers.authority + headers.path


def without_length(head: bytes) -> bytes | None:
    """A head that has one Content-Length, a number, beside ``chunked`` without it (allow_chunked_length); None for any
    other. What else may be wrong with it is for whoever reads it next."""
    lines = head.split(b"\r\n")
    lengths = [line for line in lines if line[:15].lower() == b"content-length:"]
    codings = [line for line in lines if line[:18].lower() == b"transfer-encoding:"]
    if len(lengths) != 1 or not codings or not _LENGTH.fullmatch(lengths[0], 15):
        return None
    if any(line[18:].strip(b" \t").lower() != b"chunked" for line in codings):
        return None
    lines.remove(lengths[0])
    return b"\r\n".join(lines)
