"""What of a path a route matched, and how path and authority are rewritten.

Source: envoy.config.route.v3.RouteAction (prefix_rewrite, regex_rewrite, path_rewrite, host_rewrite_*) and
RedirectAction (prefix_rewrite, regex_rewrite, path_rewrite).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.api.matchers import without_query
from proxy.base.headers import RequestHeaders
from proxy.base.stream_info import StreamInfo
from proxy.formatter import Formatter
from proxy.router.header_ops import evaluate

ORIGINAL_HOST: Final = b"x-envoy-original-host"
ORIGINAL_PATH: Final = b"x-envoy-original-path"
FORWARDED_HOST: Final = b"x-forwarded-host"


class Matched(NamedTuple):
    """What of a path a route matched: a literal at its start (lower-case with ``fold``), or None for all of it."""

    literal: bytes | None
    fold: bool = False

    def end(self, path: bytes) -> int:
        """Where the matched part ends; -1 when the path does not begin with it (path parameters stood within)."""
        literal = self.literal
        if literal is None:
            return len(without_query(path))
        start = path[: len(literal)]
        return len(literal) if (start.lower() if self.fold else start) == literal else -1


class PathRewrite:
    """Exactly one of: ``prefix`` replaces what was matched, ``substitute`` maps the path without its query,
    ``template`` is formatted into a whole new path; the query stays."""

    __slots__ = ("_matched", "_prefix", "_substitute", "_template")

    def __init__(
        self,
        matched: Matched,
        prefix: bytes = b"",
        substitute: Callable[[bytes], bytes] | None = None,
        template: bytes | Formatter | None = None,
    ) -> None:
        self._matched = matched
        self._prefix = prefix
        self._substitute = substitute
        self._template = template

    def rewrite(self, path: bytes, stream: StreamInfo) -> bytes | None:
        """The new path, with the query of the old one; None to leave the path as it is."""
        if self._prefix:
            end = self._matched.end(path)
            return self._prefix + path[end:] if end >= 0 else None
        stem = without_query(path)
        if self._substitute is not None:
            new = self._substitute(stem)
        else:
            new = evaluate(self._template or b"", stream)
        return new + path[len(stem) :] if new else None


class HostRewrite:
    """At most one of: a literal, a header, a mapping of the path, a format. b"" from any of them: no rewrite."""

    __slots__ = ("_header", "_literal", "_substitute", "_template")

    def __init__(
        self,
        literal: bytes = b"",
        header: bytes = b"",
        substitute: Callable[[bytes], bytes] | None = None,
        template: bytes | Formatter | None = None,
    ) -> None:
        self._literal = literal
        self._header = header
        self._substitute = substitute
        self._template = template

    def authority(self, headers: RequestHeaders, stream: StreamInfo) -> bytes:
        """The new authority; b"" to leave it."""
        if self._literal:
            return self._literal
        if self._header:
            name = self._header
            return (headers.pseudo(name) if name[:1] == b":" or name == b"host" else headers.get(name)) or b""
        if self._substitute is not None:
            return self._substitute(without_query(headers.path))
        return evaluate(self._template or b"", stream)


class SetAuthority:
    """A weighted cluster's host_rewrite_literal: applied between header operations, leaves no trace."""

    __slots__ = ("_authority",)

    def __init__(self, authority: bytes) -> None:
        self._authority = authority

    def apply(self, headers: RequestHeaders, stream: StreamInfo) -> None:
        """Replace the authority."""
        headers.authority = self._authority


def update_authority(
    headers: RequestHeaders, authority: bytes, append_forwarded_host: bool, keep_original: bool
) -> None:
    """Replace the authority; the old one may go to x-envoy-original-host and to the end of x-forwarded-host."""
    before = headers.authority
    if before:
        if keep_original:
            headers.set(ORIGINAL_HOST, before)
        if append_forwarded_host:
            _append_forwarded_host(headers, before)
    headers.authority = authority


def _append_forwarded_host(headers: RequestHeaders, host: bytes) -> None:
    """Append, unless it is the last one already."""
    forwarded = headers.get(FORWARDED_HOST)
    if not forwarded:
        headers.set(FORWARDED_HOST, host)
    elif forwarded.rsplit(b",", 1)[-1] != host:
        headers.set(FORWARDED_HOST, forwarded + b"," + host)
