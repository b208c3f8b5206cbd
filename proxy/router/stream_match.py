"""Conditions of routes that the head does not decide alone: dynamic metadata, the client's certificate; and cookies.

Source: envoy.config.route.v3.RouteMatch. Conditions see heads; those here ask an ``Asked`` for the stream, which the
route table shows them while it looks for a route.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from proxy.api.matchers import BytesMatcher, compile_string_matcher
from proxy.api.metadata_matchers import MetadataMatch, compile_metadata_matcher
from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo


class Asked:
    """stream: the one whose route is being looked for; is_used: whether a condition looks at it"""

    __slots__ = ("is_used", "stream")

    def __init__(self) -> None:
        self.stream: StreamInfo | None = None
        self.is_used = False


Condition = Callable[["RequestHeaders", float], bool]


@reads("envoy.config.route.v3.RouteMatch")
def compile_stream_conditions(reader: Reader, asked: Asked) -> list[Condition]:
    """dynamic_metadata, tls_context and cookies; [] when there is nothing."""
    conditions: list[Condition] = []
    for one in reader.each("dynamic_metadata"):
        conditions.append(_on_metadata(compile_metadata_matcher(one), asked))
    tls = reader.sub("tls_context")
    if tls is not None:
        conditions.append(_compile_tls(tls, asked))
    if conditions:
        asked.is_used = True
    cookies = [_compile_cookie(one) for one in reader.each("cookies")]
    if cookies:
        conditions.append(_on_cookies(cookies))
    return conditions


def _on_metadata(matches: MetadataMatch, asked: Asked) -> Condition:
    def condition(headers: RequestHeaders, random: float) -> bool:
        return matches(asked.stream.metadata if asked.stream is not None else None)

    return condition


@reads("envoy.config.route.v3.RouteMatch.TlsContextMatchOptions")
def _compile_tls(reader: Reader, asked: Asked) -> Condition:
    """Without TLS nothing is presented and nothing validated, as in Envoy."""
    presented: bool | None = reader.wrapped("presented", None)
    validated: bool | None = reader.wrapped("validated", None)

    def condition(headers: RequestHeaders, random: float) -> bool:
        tls = asked.stream.info.tls if asked.stream is not None else None
        shown = tls is not None and tls.peer is not None
        checked = tls is not None and tls.peer is not None and tls.verified
        return presented in (None, shown) and validated in (None, checked)

    return condition


Cookie = tuple[bytes, BytesMatcher, bool]


@reads("envoy.config.route.v3.CookieMatcher")
def _compile_cookie(reader: Reader) -> Cookie:
    inner = reader.sub("string_match")
    matches: Any = compile_string_matcher(inner) if inner is not None else None
    if matches is None:
        reader.fail("string_match", "value is required")
        matches = b"".__eq__
    return reader.text("name").encode(), matches, reader.flag("invert_match")


def _on_cookies(cookies: list[Cookie]) -> Condition:
    def condition(headers: RequestHeaders, random: float) -> bool:
        found = read_cookies(headers)
        for name, matches, invert in cookies:
            value = found.get(name)
            if (value is not None and matches(value)) is invert:
                return False
        return True

    return condition


def read_cookies(headers: RequestHeaders) -> dict[bytes, bytes]:
    """The first value of each cookie, of all Cookie fields, without the quotes around it (RFC 6265 section 4.2.1)."""
    found: dict[bytes, bytes] = {}
    for field in headers.get_all(b"cookie"):
        for pair in field.split(b";"):
            name, equals, value = pair.strip(b" \t").partition(b"=")
            if equals:
                if len(value) >= 2 and value[:1] == value[-1:] == b'"':
                    value = value[1:-1]
                found.setdefault(name, value)
    return found
