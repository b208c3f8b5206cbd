"""gzip (envoy.extensions.compression.gzip.compressor.v3.Gzip), by zlib."""

from __future__ import annotations

import zlib
from typing import Any, Final

from proxy.api.reader import Reader
from proxy.http.compression import Compressor, CompressorLibrary
from proxy.http.context import FactoryContext

GZIP_FORMAT: Final = 16  # added to the window's bits: zlib writes gzip's head and tail
LEVELS: Final = {"DEFAULT_COMPRESSION": -1, "BEST_SPEED": 1, "BEST_COMPRESSION": 9}
STRATEGIES: Final = {
    "DEFAULT_STRATEGY": zlib.Z_DEFAULT_STRATEGY,
    "FILTERED": zlib.Z_FILTERED,
    "HUFFMAN_ONLY": zlib.Z_HUFFMAN_ONLY,
    "RLE": zlib.Z_RLE,
    "FIXED": zlib.Z_FIXED,
}


class GzipBody(Compressor):
    """One body."""

    __slots__ = ("_zlib",)

    def __init__(self, made: Any) -> None:
        self._zlib: Any = made

    def compress(self, data: bytes, end: bool) -> bytes:
        first: bytes = self._zlib.compress(data)
        rest: bytes = self._zlib.flush(zlib.Z_FINISH if end else zlib.Z_SYNC_FLUSH)
        return first + rest


class Gzip(CompressorLibrary):
    """Defaults as Envoy's: a window of 12 bits, memory level 5."""

    __slots__ = ("level", "memory_level", "strategy", "window_bits")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        super().__init__(b"gzip", "gzip")
        level = config.enum("compression_level")
        self.level: int = LEVELS[level] if level in LEVELS else int(level.rpartition("_")[2])
        self.strategy: int = STRATEGIES[config.enum("compression_strategy")]
        self.memory_level: int = int(config.wrapped("memory_level", 5))
        self.window_bits: int = int(config.wrapped("window_bits", 12))
        config.ignore("chunk_size", why="it only sizes Envoy's own buffers")

    def start(self) -> Compressor:
        bits = self.window_bits + GZIP_FORMAT
        return GzipBody(zlib.compressobj(self.level, zlib.DEFLATED, bits, self.memory_level, self.strategy))
