"""zstd (envoy.extensions.compression.zstd.compressor.v3.Zstd), by Python's own module (3.14) or its backport (the extra
"zstd")."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from proxy.api.reader import Reader
from proxy.http.compression import Compressor, CompressorLibrary
from proxy.http.context import FactoryContext

DEFAULT_LEVEL: Final = 3  # of libzstd


def load() -> Any:
    """The module; None where there is none."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


class ZstdBody(Compressor):
    """One body."""

    __slots__ = ("_finish", "_flush", "_zstd")

    def __init__(self, made: Any) -> None:
        self._zstd: Any = made
        self._flush: Any = made.FLUSH_BLOCK
        self._finish: Any = made.FLUSH_FRAME

    def compress(self, data: bytes, end: bool) -> bytes:
        out: bytes = self._zstd.compress(data, self._finish if end else self._flush)
        return out


class Zstd(CompressorLibrary):
    """Level 3 by default, no checksum."""

    __slots__ = ("library", "options")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        super().__init__(b"zstd", "zstd")
        self.library: Any = load()
        self.options: dict[Any, int] = {}
        level: int = int(config.wrapped("compression_level", DEFAULT_LEVEL))
        checksum = config.flag("enable_checksum")
        strategy = config.enum("strategy")
        config.ignore("chunk_size", why="it only sizes Envoy's own buffers")
        config.unsupported("dictionary")
        if self.library is None:
            config.unsupported(
                "", 'zstd is not installed: pip install "outrider[zstd]" (or the package backports.zstd)'
            )
            return
        parameter = self.library.CompressionParameter
        self.options = {parameter.compression_level: level, parameter.checksum_flag: int(checksum)}
        if strategy != "DEFAULT":
            self.options[parameter.strategy] = int(getattr(self.library.Strategy, strategy.lower()))

    def start(self) -> Compressor:
        return ZstdBody(self.library.ZstdCompressor(options=self.options))
