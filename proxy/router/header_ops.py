"""Header mutations of the configuration, compiled: remove, append, add, overwrite.

One ``HeaderOps`` is what one level says (route configuration, virtual host, route, weighted cluster). Within a level,
as observed in Envoy 1.40: removals first; then every value is formatted against the headers as they are; then the
overwrites (the field moves to the end); then what is appended. Values empty after formatting are dropped unless
``keep_empty_value``. Names that Envoy keeps as one field are joined by a comma in place instead of repeated.

Source: envoy.config.core.v3.HeaderValueOption.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from proxy.api.reader import Reader, reads
from proxy.base.headers import KNOWN, REQUEST_JOINED, RESPONSE_JOINED, Field, HeaderMap
from proxy.base.stream_info import StreamInfo
from proxy.formatter import Formatter, compile_header_value

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9a-z]+"

APPEND: Final = "APPEND_IF_EXISTS_OR_ADD"
ADD_IF_ABSENT: Final = "ADD_IF_ABSENT"
OVERWRITE_IF_EXISTS: Final = "OVERWRITE_IF_EXISTS"
OVERWRITE_OR_ADD: Final = "OVERWRITE_IF_EXISTS_OR_ADD"


class Addition(NamedTuple):
    """A compiled HeaderValueOption; ``value`` is constant bytes or a Formatter."""

    name: bytes
    value: bytes | Formatter
    action: str
    keep_empty: bool


class HeaderOps:
    """The mutations of one level. ``apply`` changes the headers in place."""

    __slots__ = ("_additions", "_constant", "_joined", "_known", "_removals")

    def __init__(
        self, removals: frozenset[bytes], additions: list[Addition], joined: frozenset[bytes]
    ) -> None:
        self._removals = removals
        self._additions = tuple(one for one in additions if one.value != b"" or one.keep_empty)
        self._joined = joined
        # The common case, constants that are only appended, is one list extension.
        self._constant: list[Field] | None = []
        self._known = 0
        for one in self._additions:
            if not isinstance(one.value, bytes) or one.action != APPEND or one.name in joined:
                self._constant = None
                break
            self._constant.append((one.name, one.value))
            self._known |= KNOWN.get(one.name, 0)

    def apply(self, headers: HeaderMap, stream: StreamInfo) -> None:
        """Change ``headers`` in place; formatters read ``stream``."""
        if self._removals:
            headers.remove_all(self._removals)
        if self._constant is not None:
            headers.fields += self._constant
            headers.known |= self._known
        else:
            self._apply_formatted(headers, stream)

    def added_names(self) -> list[bytes]:
        """The names it may add."""
        return [one.name for one in self._additions]

    def _apply_formatted(self, headers: HeaderMap, stream: StreamInfo) -> None:
        overwritten: list[Field] = []
        appended: list[Field] = []
        for name, source, action, keep_empty in self._additions:
            value = source if isinstance(source, bytes) else source.format_bytes(stream)
            if not value and not keep_empty:
                continue  # blanks alone are not empty, as in Envoy
            value = value.strip(b" ")  # see evaluate
            if action == APPEND:
                appended.append((name, value))
            elif action == OVERWRITE_OR_ADD or (name in headers) is (action == OVERWRITE_IF_EXISTS):
                (appended if action == ADD_IF_ABSENT else overwritten).append((name, value))
        for name, value in overwritten:
            headers.remove(name)
            headers.add(name, value)
        for name, value in appended:
            append(headers, name, value, self._joined)


def append(headers: HeaderMap, name: bytes, value: bytes, joined: frozenset[bytes]) -> None:
    """Add a field, or grow the one that is there when Envoy keeps ``name`` as a single field."""
    if name in joined:
        before = headers.get(name)
        if before is not None:
            headers.set(name, before + b"," + value if before else value)
            return
    headers.add(name, value)


def evaluate(source: bytes | Formatter, stream: StreamInfo) -> bytes:
    """A header value: constant or formatted (control bytes come out escaped). No blanks around it, which an operator
    without a value may leave: HTTP/2 forbids them (RFC 9113 section 8.2.1), HTTP/1 takes them for none."""
    return source if isinstance(source, bytes) else source.format_bytes(stream).strip(b" ")


@reads(
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.route.v3.Route",
    "envoy.config.route.v3.WeightedCluster.ClusterWeight",
)
def compile_request_ops(reader: Reader) -> tuple[HeaderOps, ...]:
    """request_headers_to_add and request_headers_to_remove of one level; () when it says nothing."""
    additions = [compile_addition(one) for one in reader.each("request_headers_to_add")]
    removals = reader.values("request_headers_to_remove")
    _check_removals(reader, "request_headers_to_remove", removals)
    return _level(removals, additions, REQUEST_JOINED)


@reads(
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.VirtualHost",
    "envoy.config.route.v3.Route",
    "envoy.config.route.v3.WeightedCluster.ClusterWeight",
)
def compile_response_ops(reader: Reader) -> tuple[HeaderOps, ...]:
    """response_headers_to_add and response_headers_to_remove of one level; () when it says nothing."""
    additions = [compile_addition(one) for one in reader.each("response_headers_to_add")]
    removals = reader.values("response_headers_to_remove")
    _check_removals(reader, "response_headers_to_remove", removals)
    return _level(removals, additions, RESPONSE_JOINED)


def _level(
    removals: list[str], additions: list[Addition | None], joined: frozenset[bytes]
) -> tuple[HeaderOps, ...]:
    if not removals and not additions:
        return ()
    names = frozenset(name.lower().encode() for name in removals)
    return (HeaderOps(names, [one for one in additions if one is not None], joined),)


def _check_removals(reader: Reader, field: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name.startswith(":") or name.lower() == "host":
            reader.fail(f"{field}[{index}]", ":-prefixed or host headers may not be removed")


@reads("envoy.config.core.v3.HeaderValueOption")
def compile_addition(reader: Reader) -> Addition | None:
    """envoy.config.core.v3.HeaderValueOption; None (and a finding) when it cannot be used."""
    action = reader.enum("append_action")
    if reader.has("append"):
        if action != APPEND:
            reader.fail("append", "both append and append_action are set and it's not allowed")
        action = APPEND if reader.wrapped("append", True) else OVERWRITE_OR_ADD
    keep_empty = reader.flag("keep_empty_value")
    header = reader.sub("header")
    if header is None:
        reader.fail("header", "value is required")
        return None
    pair = _compile_pair(header)
    return None if pair is None else Addition(pair[0], pair[1], action, keep_empty)


@reads("envoy.config.core.v3.HeaderValue")
def _compile_pair(reader: Reader) -> tuple[bytes, bytes | Formatter] | None:
    name, text = reader.text("key").lower(), reader.text("value")
    reader.ignore("raw_value", why="Envoy reads only value here")
    if not name:
        reader.fail("key", "value length must be at least 1 characters")
        return None
    if name.startswith(":") or name == "host":
        reader.fail("key", ":-prefixed or host headers may not be modified")
        return None
    if not re.fullmatch(_NAME, name):
        # Envoy takes it, and then answers every request 503 "invalid header name"
        reader.fail("key", f'"{name}" is no header name')
        return None
    try:
        return name.encode(), compile_header_value(text)
    except ValueError as error:
        reader.fail("value", str(error))
        return None
