"""What compresses a body, as HTTP filters meet it. The libraries themselves are in proxy/ext/compressors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext

FAMILY = "envoy.compression."


class Compressor:
    """One body under way."""

    __slots__ = ()

    def compress(self, data: bytes, end: bool) -> bytes:
        """What the peer may have now: all that was given so far can be decompressed from it. ``end``: the last call."""
        raise NotImplementedError


class CompressorLibrary:
    """A configured library. content_encoding: its name in HTTP; stat_prefix: in names of statistics."""

    __slots__ = ("content_encoding", "stat_prefix")

    def __init__(self, content_encoding: bytes = b"", stat_prefix: str = "") -> None:
        self.content_encoding = content_encoding
        self.stat_prefix = stat_prefix

    def start(self) -> Compressor:
        """For one body."""
        raise NotImplementedError


@reads("envoy.config.core.v3.TypedExtensionConfig")
def compile_library(reader: Reader, context: FactoryContext) -> CompressorLibrary:
    """compressor_library; with a finding, one that must not be run."""
    reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if not reader.has("typed_config"):
            reader.fail("typed_config", "is missing: it says which library compresses")
        return CompressorLibrary()
    registry, name = context.registry, config.type_name
    if not registry.has(name):
        reader.unsupported(
            "typed_config", f"{registry.unknown('compressor library', name)}; supported: gzip, brotli, zstd"
        )
        return CompressorLibrary()
    if registry.has(name, "envoy.compression.", ".compressor"):
        made: Any = registry.resolve(name)(config, context)
        if isinstance(made, CompressorLibrary):
            return made
    reader.fail("typed_config", f"{name} is not a compressor library")
    return CompressorLibrary()
