"""What disk layers of the runtime need of the disk: a directory of files, read whole."""

from __future__ import annotations

import os

from proxy.runtime.config import Disk
from proxy.runtime.layers import LayerError

MAX_DEPTH = 16  # Envoy's
MAX_ENTRIES = 100_000
MAX_FILE_BYTES = 1024 * 1024
_FORBIDDEN = ("/dev", "/sys", "/proc")  # as Envoy: reading them may block, or never end


def read_directory(path: str) -> dict[str, str] | None:
    """The text of every file below ``path`` by its name there, dots for slashes; None when it is no directory.

    Links are followed. Raises LayerError when something cannot be read or there is too much of it.
    """
    if not os.path.isdir(path):
        return None
    files: dict[str, str] = {}
    try:
        _walk(path, "", 1, files)
    except OSError as error:
        raise LayerError(f"{error.filename}: {error.strerror}") from None
    return files


def _walk(path: str, prefix: str, depth: int, files: dict[str, str]) -> None:
    if depth > MAX_DEPTH:
        raise LayerError(f"Walk recursion depth exceeded {MAX_DEPTH}")
    real = os.path.realpath(path)
    if any(real == place or real.startswith(place + "/") for place in _FORBIDDEN):
        raise LayerError(f"Invalid path: {path}")
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if len(files) >= MAX_ENTRIES:
                raise LayerError(f"{path}: there are more than {MAX_ENTRIES} files")
            if entry.is_dir():
                _walk(entry.path, f"{prefix}{entry.name}.", depth + 1, files)
            elif entry.is_file():
                files[prefix + entry.name] = _read(entry.path)


def _read(path: str) -> str:
    with open(path, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise LayerError(f"{path}: is longer than {MAX_FILE_BYTES} bytes")
    return data.decode("utf-8", "replace")


def missing_parent(path: str) -> str | None:
    """The directory in which ``path`` should stand, when there is none."""
    from pathlib import Path  # most have no such layer

    parent = Path(path).parent
    return None if parent.is_dir() else str(parent)


DISK = Disk(read_directory, missing_parent)
