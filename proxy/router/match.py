"""What a route demands of a request, compiled: where its path must stand, and the conditions beside the path.

Source: envoy.config.route.v3.RouteMatch, QueryParameterMatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.api.matchers import (
    BytesMatcher,
    HeadersMatcher,
    compile_header_matcher,
    compile_regex,
    compile_string_matcher,
)
from proxy.api.reader import Reader, reads
from proxy.base.headers import RequestHeaders
from proxy.router.rewrite import Matched
from proxy.runtime.config import compile_fraction
from proxy.runtime.runtime import Runtime

PREFIX: Final = "prefix"
EXACT: Final = "path"
SEPARATED: Final = "path_separated_prefix"
CONNECT: Final = "connect_matcher"
OTHER: Final = "other"

# condition(headers, random value in [0, 1)) -> bool
Condition = Callable[[RequestHeaders, float], bool]


class PathMatch(NamedTuple):
    """How a route looks at the path.

    kind: PREFIX, EXACT, SEPARATED (answered by the index from ``text``), CONNECT (requests of that method, which have no
    path) or OTHER (``matches`` decides)
    matched: the part that a prefix_rewrite replaces
    """

    kind: str
    text: bytes
    matches: BytesMatcher | None
    matched: Matched


@reads("envoy.config.route.v3.RouteMatch")
def compile_path_match(reader: Reader) -> PathMatch:
    """The path_specifier of a RouteMatch; one that matches nothing (and a finding) when it is not supported."""
    sensitive = reader.wrapped("case_sensitive", True)
    kind = reader.which("path_specifier")
    for field in ("prefix", "path", "path_separated_prefix"):
        if kind == field:
            return _literal(field, reader.text(field).encode(), sensitive)
    regex = reader.sub("safe_regex")
    if regex is not None:
        return PathMatch(OTHER, b"", compile_regex(regex), Matched(None))
    if reader.sub(CONNECT) is not None:
        return PathMatch(CONNECT, b"", None, Matched(None))
    if kind is None:
        reader.fail("", "one of prefix, path, path_separated_prefix, safe_regex is required")
    return PathMatch(OTHER, b"", None, Matched(None))


def _literal(kind: str, text: bytes, sensitive: bool) -> PathMatch:
    if sensitive:
        return PathMatch(kind, text, None, Matched(text))
    text = text.lower()
    return PathMatch(OTHER, text, literal_matcher(kind, text, fold=True), Matched(text, fold=True))


def literal_matcher(kind: str, text: bytes, fold: bool = False) -> BytesMatcher:
    """The plain test for one literal on a path without query; ``fold``: ``text`` is lower-case, ASCII case is not
    looked at."""
    if fold:
        plain = literal_matcher(kind, text)
        return lambda path: plain(path.lower())
    if kind == EXACT:
        return text.__eq__
    if kind == PREFIX:
        return lambda path: path.startswith(text)
    return lambda path: path == text or path.startswith(text + b"/")


@reads("envoy.config.route.v3.RouteMatch")
def compile_conditions(reader: Reader, runtime: Runtime) -> tuple[Condition, ...]:
    """Everything of a RouteMatch beside the path; () when there is nothing."""
    conditions: list[Condition] = []
    fraction = compile_fraction(reader.sub("runtime_fraction"), runtime)
    if fraction.key or fraction.share < 1.0:
        conditions.append(lambda headers, random: random < fraction.share)
    if reader.sub("grpc") is not None:
        conditions.append(_is_grpc)
    conditions += [_on_headers(compile_header_matcher(one)) for one in reader.each("headers")]
    query = [compile_query_matcher(one) for one in reader.each("query_parameters")]
    if query:
        conditions.append(_on_query(query))
    return tuple(conditions)


def _on_headers(matches: HeadersMatcher) -> Condition:
    return lambda headers, random: matches(headers)


def _is_grpc(headers: RequestHeaders, random: float) -> bool:
    value = headers.get(b"content-type") or b""
    return value == b"application/grpc" or value.startswith(b"application/grpc+")


QueryMatcher = tuple[bytes, Callable[[bytes | None], bool]]


def _on_query(matchers: list[QueryMatcher]) -> Condition:
    def matches(headers: RequestHeaders, random: float) -> bool:
        parameters = parse_query(headers.path)
        return all(check(parameters.get(name)) for name, check in matchers)

    return matches


def parse_query(path: bytes) -> dict[bytes, bytes]:
    """The first value of each query parameter, as written (no percent-decoding), b"" without ``=``."""
    _, mark, query = path.partition(b"?")
    found: dict[bytes, bytes] = {}
    if not mark:
        return found
    for pair in query.partition(b"#")[0].split(b"&"):
        name, _, value = pair.partition(b"=")
        found.setdefault(name, value)
    return found


@reads("envoy.config.route.v3.QueryParameterMatcher")
def compile_query_matcher(reader: Reader) -> QueryMatcher:
    """envoy.config.route.v3.QueryParameterMatcher; without a specifier the parameter must be present."""
    name = reader.text("name").encode()
    inner = reader.sub("string_match")
    if inner is not None:
        matches = compile_string_matcher(inner)
        return name, lambda value: value is not None and matches(value)
    wanted = reader.flag("present_match") or reader.which("query_parameter_match_specifier") is None
    return name, lambda value: (value is not None) is wanted
