"""envoy.type.matcher.v3.MetadataMatcher: a value in (dynamic) metadata, compiled into a predicate on plain values.

What is not there is ABSENT, which no value matcher matches; null is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from proxy.api.matchers import compile_string_matcher
from proxy.api.reader import Reader, reads

ValueMatch = Callable[[Any], bool]
MetadataMatch = Callable[[dict[str, Any] | None], bool]


class _Absent:
    """There is no such value."""


ABSENT: Final = _Absent()


def _never(found: Any) -> bool:
    return False


def lookup(metadata: dict[str, Any] | None, path: list[str]) -> Any:
    """The value at the end of the path, or ABSENT."""
    value: Any = metadata
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


@reads("envoy.type.matcher.v3.MetadataMatcher")
def compile_metadata_path(reader: Reader) -> tuple[list[str], ValueMatch]:
    """Where the value stands, and whether it is the one (``invert`` included)."""
    path = [reader.text("filter"), *(_segment(segment) for segment in reader.each("path"))]
    invert = reader.flag("invert")
    value = reader.sub("value")
    if value is None:
        reader.fail("value", "is required")
        return path, _never
    matches = compile_value_matcher(value)
    return path, lambda found: matches(found) is not invert


def compile_metadata_matcher(reader: Reader) -> MetadataMatch:
    """The predicate on a whole metadata."""
    path, matches = compile_metadata_path(reader)
    return lambda metadata: matches(lookup(metadata, path))


@reads("envoy.type.matcher.v3.MetadataMatcher.PathSegment")
def _segment(reader: Reader) -> str:
    return reader.text("key")


@reads("envoy.type.matcher.v3.ValueMatcher")
def compile_value_matcher(reader: Reader) -> ValueMatch:
    """type.matcher.v3.ValueMatcher."""
    kind = reader.which("match_pattern")
    if kind == "null_match":
        reader.sub("null_match")
        return lambda found: found is None
    if kind == "bool_match":
        wanted = reader.flag("bool_match")
        return lambda found: found is wanted
    if kind == "present_match":
        present = reader.flag("present_match")
        return lambda found: present and found is not ABSENT
    if kind == "string_match":
        inner = reader.sub("string_match")
        text = compile_string_matcher(inner) if inner is not None else _never
        return lambda found: isinstance(found, str) and text(found.encode())
    if kind == "double_match":
        number = _compile_double(reader.sub("double_match"))
        return lambda found: type(found) in (int, float) and number(found)
    if kind == "list_match":
        one = _compile_list(reader.sub("list_match"))
        return lambda found: isinstance(found, list) and any(map(one, found))
    if kind == "or_match":
        several = _compile_or(reader.sub("or_match"))
        return lambda found: any(matches(found) for matches in several)
    reader.fail("match_pattern", "a kind of match must be given")
    return _never


@reads("envoy.type.matcher.v3.DoubleMatcher")
def _compile_double(reader: Reader | None) -> ValueMatch:
    if reader is None:
        return _never
    span = reader.sub("range")
    if span is not None:
        low, high = _bounds(span)
        return lambda found: bool(low <= found < high)
    exact = reader.real("exact")
    return lambda found: bool(found == exact)


@reads("envoy.type.v3.DoubleRange")
def _bounds(reader: Reader) -> tuple[float, float]:
    return reader.real("start"), reader.real("end")


@reads("envoy.type.matcher.v3.ListMatcher")
def _compile_list(reader: Reader | None) -> ValueMatch:
    inner = reader.sub("one_of") if reader is not None else None
    return compile_value_matcher(inner) if inner is not None else _never


@reads("envoy.type.matcher.v3.OrMatcher")
def _compile_or(reader: Reader | None) -> list[ValueMatch]:
    return [compile_value_matcher(one) for one in reader.each("value_matchers")] if reader is not None else []
