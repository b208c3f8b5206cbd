"""brotli (envoy.extensions.compression.brotli.compressor.v3.Brotli), by the package brotli (the extra "brotli")."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from proxy.api.reader import Reader
from proxy.http.compression import Compressor, CompressorLibrary
from proxy.http.context import FactoryContext

MODES: Final = {
    "DEFAULT": "MODE_GENERIC",
    "GENERIC": "MODE_GENERIC",
    "TEXT": "MODE_TEXT",
    "FONT": "MODE_FONT",
}


def load() -> Any:
    """The package; None where it is not installed."""
    try:
        return import_module("brotli")
    except ImportError:
        return None


class BrotliBody(Compressor):
    """One body."""

    __slots__ = ("_brotli",)

    def __init__(self, made: Any) -> None:
        self._brotli: Any = made

    def compress(self, data: bytes, end: bool) -> bytes:
        first: bytes = self._brotli.process(data)
        rest: bytes = self._brotli.finish() if end else self._brotli.flush()
        return first + rest


class Brotli(CompressorLibrary):
    """Defaults as Envoy's: quality 3, a window of 18 bits, input blocks of 24."""

    __slots__ = ("block_bits", "library", "mode", "quality", "window_bits")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        super().__init__(b"br", "brotli")
        self.quality: int = int(config.wrapped("quality", 3))
        self.window_bits: int = int(config.wrapped("window_bits", 18))
        self.block_bits: int = int(config.wrapped("input_block_bits", 24))
        config.ignore("chunk_size", why="it only sizes Envoy's own buffers")
        self.library: Any = load()
        mode = MODES[config.enum("encoder_mode")]
        self.mode: int = int(getattr(self.library, mode, 0))
        config.unsupported(
            "disable_literal_context_modeling", "is not supported: the package brotli has no such setting"
        )
        if self.library is None:
            config.unsupported(
                "", 'brotli is not installed: pip install "outrider[brotli]" (or the package brotli)'
            )

    def start(self) -> Compressor:
        made = self.library.Compressor(
            mode=self.mode, quality=self.quality, lgwin=self.window_bits, lgblock=self.block_bits
        )
        return BrotliBody(made)
