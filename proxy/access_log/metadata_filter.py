"""envoy.config.accesslog.v3.MetadataFilter: by a value of the dynamic metadata."""

from __future__ import annotations

from collections.abc import Callable

from proxy.api.metadata_matchers import ABSENT, compile_metadata_path, lookup
from proxy.api.reader import Reader, reads
from proxy.base.stream_info import StreamInfo


@reads("envoy.config.accesslog.v3.MetadataFilter")
def compile_metadata_filter(reader: Reader | None) -> Callable[[StreamInfo], bool]:
    """The predicate; a key that is not there gives match_if_key_not_found (true by default)."""
    matcher = None if reader is None else reader.sub("matcher")
    if_absent = True if reader is None else bool(reader.wrapped("match_if_key_not_found", True))
    if matcher is None:
        return lambda stream: if_absent
    path, matches = compile_metadata_path(matcher)

    def accept(stream: StreamInfo) -> bool:
        value = lookup(stream.metadata, path)
        return if_absent if value is ABSENT else matches(value)

    return accept
