"""What may be compressed in one direction (Compressor.CommonDirectionConfig), and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from proxy.api.matchers import BytesMatcher, compile_string_matcher
from proxy.api.reader import Reader, reads
from proxy.runtime.config import compile_flag
from proxy.runtime.runtime import Runtime
from proxy.runtime.slots import BooleanSlot

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap
    from proxy.stats.store import Scope

KIND: Final = "envoy.extensions.filters.http.compressor.v3.Compressor"
DEFAULT_LENGTH: Final = 30
DEFAULT_TYPES: Final = (
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/x-javascript",
    "application/x-json",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/ecmascript",
    "text/html",
    "text/javascript",
    "text/js",
    "text/jscript",
    "text/plain",
    "text/x-javascript",
    "text/x-js",
    "text/xml",
)
ENCODED: Final = frozenset((b"gzip", b"br", b"deflate", b"compress", b"zstd"))


class Direction:
    """enabled: the switch; min_length: bytes; types: in lower case, asked only where there are no matchers."""

    __slots__ = (
        "compressed",
        "enabled",
        "matchers",
        "min_length",
        "not_compressed",
        "too_small",
        "total_compressed",
        "total_uncompressed",
        "types",
    )

    def __init__(
        self,
        enabled: BooleanSlot,
        length: int,
        types: Sequence[str],
        matchers: Sequence[BytesMatcher],
        scope: Scope,
    ) -> None:
        self.enabled = enabled
        self.min_length = length or DEFAULT_LENGTH
        self.types = frozenset(each.lower().encode() for each in types or DEFAULT_TYPES)
        self.matchers = tuple(matchers)
        self.compressed = scope.counter("compressed")
        self.not_compressed = scope.counter("not_compressed")
        self.total_uncompressed = scope.counter("total_uncompressed_bytes")
        self.total_compressed = scope.counter("total_compressed_bytes")
        self.too_small = scope.counter("content_length_too_small")

    def is_long_enough(self, headers: HeaderMap) -> bool:
        """A body whose length is not known is."""
        length = headers.get(b"content-length")
        if length is None or (length.isdigit() and int(length) >= self.min_length):
            return True
        self.too_small.value += 1
        return False

    def allows_type(self, headers: HeaderMap) -> bool:
        """A body without a type is allowed; the filter takes part in the choice of an encoding only then."""
        value = headers.get(b"content-type")
        return value is None or self._allows(media_type(value))

    def _allows(self, value: bytes) -> bool:
        if self.matchers:
            return any(matches(value) for matches in self.matchers)
        return value.lower() in self.types


def media_type(value: bytes) -> bytes:
    """content-type without its parameters."""
    return value.partition(b";")[0].strip()


def is_encoded(headers: HeaderMap, encoding: bytes) -> bool:
    """Whether transfer-encoding says that the message is compressed already."""
    value = headers.get(b"transfer-encoding")
    if value is None:
        return False
    for coding in value.split(b","):
        name = coding.strip().lower()
        if name in ENCODED or name == encoding:
            return True
    return False


@reads(f"{KIND}.CommonDirectionConfig")
def compile_direction(reader: Reader | None, runtime: Runtime, scope: Scope) -> Direction:
    """reader: None for the defaults."""
    if reader is None:
        return Direction(BooleanSlot("", True), 0, (), (), scope)
    enabled = compile_flag(reader.sub("enabled"), runtime, True)
    length = int(reader.wrapped("min_content_length", 0))
    matchers = [compile_string_matcher(each) for each in reader.each("content_type_matcher")]
    types: list[str] = reader.values("content_type")
    if matchers and types:
        reader.warn("content_type", "has no effect beside content_type_matcher")
    return Direction(enabled, length, types, matchers, scope)


@reads(KIND)
def compile_legacy(reader: Reader, runtime: Runtime, scope: Scope) -> Direction:
    """The fields of the filter itself, from before response_direction_config."""
    enabled = compile_flag(reader.sub("runtime_enabled"), runtime, True)
    length = int(reader.wrapped("content_length", 0))
    return Direction(enabled, length, reader.values("content_type"), (), scope)
