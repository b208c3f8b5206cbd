"""envoy.config.accesslog.v3.MetadataFilter: by a value of the dynamic metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.api.matchers import compile_string_matcher
from proxy.api.reader import Reader, reads
from proxy.base.stream_info import StreamInfo

Match = Callable[[Any], bool]


@reads("envoy.config.accesslog.v3.MetadataFilter")
def compile_metadata_filter(reader: Reader | None) -> Callable[[StreamInfo], bool]:
    """The predicate; a key that is not there gives match_if_key_not_found (true by default)."""
    matcher = None if reader is None else reader.sub("matcher")
    if_absent = True if reader is None else bool(reader.wrapped("match_if_key_not_found", True))
    if matcher is None:
        return lambda stream: if_absent
    path, matches = _compile_matcher(matcher)

    def accept(stream: StreamInfo) -> bool:
        value: Any = stream.metadata
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return if_absent
            value = value[key]
        return matches(value)

    return accept


@reads("envoy.type.matcher.v3.MetadataMatcher")
def _compile_matcher(reader: Reader) -> tuple[list[str], Match]:
    path = [reader.text("filter"), *(_segment(segment) for segment in reader.each("path"))]
    invert = reader.flag("invert")
    value = reader.sub("value")
    if value is None:
        reader.fail("value", "is required")
        return path, lambda found: False
    matches = _compile_value(value)
    return path, lambda found: matches(found) is not invert


@reads("envoy.type.matcher.v3.MetadataMatcher.PathSegment")
def _segment(reader: Reader) -> str:
    return reader.text("key")


@reads("envoy.type.matcher.v3.ValueMatcher")
def _compile_value(reader: Reader) -> Match:
    kind = reader.which("match_pattern")
    if kind == "null_match":
        reader.sub("null_match")
        return lambda found: found is None
    if kind == "bool_match":
        wanted = reader.flag("bool_match")
        return lambda found: found is wanted
    if kind == "present_match":
        present = reader.flag("present_match")
        return lambda found: (found is not None) is present
    if kind == "string_match":
        string_matcher = reader.sub("string_match")
        if string_matcher is not None:
            matches = compile_string_matcher(string_matcher)
            return lambda found: isinstance(found, str) and matches(found.encode())
    reader.unsupported(kind or "", "only null, bool, present and string matches of metadata are supported")
    return lambda found: False
