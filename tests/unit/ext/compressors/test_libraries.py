"""Compressor libraries: what was given so far can always be read; settings arrive; what is not installed is said."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from typing import Any, cast

import pytest

from proxy.api.pool import new_message
from proxy.api.reader import Reader
from proxy.ext.compressors.brotli import Brotli
from proxy.ext.compressors.gzip import Gzip
from proxy.ext.compressors.zstd import Zstd, load
from proxy.http.compression import CompressorLibrary

V3 = "envoy.extensions.compression"
TEXT = b"one part after the other, " * 30
CONTEXT = cast(Any, None)


def reader(kind: str, **fields: Any) -> Reader:
    message = new_message(f"{V3}.{kind.lower()}.compressor.v3.{kind}")
    for name, value in fields.items():
        target = getattr(message, name)
        if hasattr(target, "value"):
            target.value = value
        else:
            setattr(message, name, value)
    return Reader(message)


def gunzip() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(31).decompress


def unbrotli() -> Callable[[bytes], bytes]:
    made = importlib.import_module("brotli").Decompressor()
    return cast(Callable[[bytes], bytes], made.process)


def unzstd() -> Callable[[bytes], bytes]:
    return cast(Callable[[bytes], bytes], load().ZstdDecompressor().decompress)


@pytest.mark.parametrize(
    ("made", "reads"),
    [
        (lambda: Gzip(reader("Gzip"), CONTEXT), gunzip),
        (lambda: Gzip(reader("Gzip", memory_level=9, window_bits=15, compression_level=9), CONTEXT), gunzip),
        (lambda: Brotli(reader("Brotli"), CONTEXT), unbrotli),
        (lambda: Brotli(reader("Brotli", quality=11, window_bits=10, encoder_mode=2), CONTEXT), unbrotli),
        (lambda: Zstd(reader("Zstd"), CONTEXT), unzstd),
        (
            lambda: Zstd(reader("Zstd", compression_level=19, enable_checksum=True, strategy=9), CONTEXT),
            unzstd,
        ),
    ],
)
def test_every_part_can_be_read_at_once(
    made: Callable[[], CompressorLibrary], reads: Callable[[], Callable[[bytes], bytes]]
) -> None:
    compressor, read = made().start(), reads()
    for part in (TEXT, b"x", TEXT[:7]):
        assert read(compressor.compress(part, False)) == part
    assert read(compressor.compress(b"last", True)) == b"last"


def test_gzip_levels_differ() -> None:
    stored = Gzip(reader("Gzip", compression_strategy=2), CONTEXT).start().compress(TEXT, True)
    best = Gzip(reader("Gzip", compression_level=9), CONTEXT).start().compress(TEXT, True)
    assert len(best) < len(stored) < len(TEXT)


def test_zstd_checksum() -> None:
    plain = Zstd(reader("Zstd"), CONTEXT).start().compress(TEXT, True)
    checked = Zstd(reader("Zstd", enable_checksum=True), CONTEXT).start().compress(TEXT, True)
    assert len(checked) == len(plain) + 4


@pytest.mark.parametrize(
    ("kind", "make", "missing", "said"),
    [
        ("Brotli", Brotli, ["brotli"], 'brotli is not installed: pip install "outrider[brotli]"'),
        (
            "Zstd",
            Zstd,
            ["compression.zstd", "backports.zstd"],
            'zstd is not installed: pip install "outrider[zstd]"',
        ),
    ],
)
def test_what_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, kind: str, make: Any, missing: list[str], said: str
) -> None:
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    config = reader(kind)
    make(config, CONTEXT)
    (finding,) = config.errors.findings
    assert finding.kind == "unsupported" and said in finding.message


def test_what_the_libraries_cannot_do_is_refused() -> None:
    config = reader("Brotli", disable_literal_context_modeling=True)
    Brotli(config, CONTEXT)
    assert [finding.kind for finding in config.errors.findings] == ["unsupported"]
