"""Where runtime values come from. A layer is asked for its entries each time a snapshot is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from proxy.api.yaml_text import TextError, read_yaml
from proxy.runtime.entry import Entry, is_leaf, make_entry

#: how many values may be overridden through the admin page at a time
MAX_OVERRIDES = 10_000

# read(path): the files below a directory, dotted name -> text; None when there is no such directory
ReadDirectory = Callable[[str], "dict[str, str] | None"]


class LayerError(Exception):
    """A layer (or a change of one) cannot be read; the text says why."""


class Layer(Protocol):
    """One layer. ``entries`` gives its values by key now, or None when the layer is not there; may raise LayerError."""

    name: str
    is_disk: bool

    def entries(self) -> Mapping[str, Entry] | None: ...


class StaticLayer:
    """static_layer: values of the bootstrap itself. Raises LayerError for a value that is no runtime value."""

    __slots__ = ("_entries", "name")

    is_disk = False

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name = name
        self._entries: dict[str, Entry] = {}
        for key, value in _flattened(values, ""):
            self._entries.setdefault(key, make_entry(value))

    def entries(self) -> Mapping[str, Entry]:
        return self._entries


def _flattened(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Maps within maps as keys joined by dots."""
    for name, value in values.items():
        key = prefix + name
        if value is None or isinstance(value, list):
            raise LayerError(f"Invalid runtime entry value for {key}")
        if isinstance(value, Mapping) and not is_leaf(value):
            yield from _flattened(value, key + ".")
        else:
            yield key, value


class DiskLayer:
    """disk_layer: a directory whose files are values, named by their path; a line that begins with # is a comment."""

    __slots__ = ("_read", "name", "path", "symlink_root")

    is_disk = True

    def __init__(self, name: str, symlink_root: str, path: str, read: ReadDirectory) -> None:
        """path: the directory below symlink_root; symlink_root: what is swapped to bring new values"""
        self.name = name
        self.symlink_root = symlink_root
        self.path = path
        self._read = read

    def entries(self) -> Mapping[str, Entry] | None:
        files = self._read(self.path)
        if files is None:
            return None
        return {key: _parsed(key, without_comments(text)) for key, text in files.items()}


def without_comments(text: str) -> str:
    """The lines that are no comments, empty ones left out.

    As Envoy puts them together: a line loses its end when it says the same as the file's last line.
    """
    lines = [line for line in text.split("\n") if line]
    kept = (line.rstrip() if line == lines[-1] else line + "\n" for line in lines if line[0] != "#")
    return "".join(kept)


def _parsed(key: str, text: str) -> Entry:
    try:
        return make_entry(read_yaml(text), text)
    except TextError as error:
        place = f" at line {error.line}, column {error.column}" if error.line is not None else ""
        raise LayerError(f"{key}: {error.message}{place}") from None


class AdminLayer:
    """admin_layer: what /runtime_modify has set."""

    __slots__ = ("_entries", "name")

    is_disk = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._entries: dict[str, Entry] = {}

    def entries(self) -> Mapping[str, Entry]:
        return dict(self._entries)

    def merge(self, values: Mapping[str, str]) -> None:
        """Set each key to what its text says as YAML; "" takes it out. Raises LayerError, and has changed nothing."""
        changed = {key: _parsed(key, text) for key, text in values.items() if text}
        kept = {key: entry for key, entry in self._entries.items() if key not in values}
        if len(kept) + len(changed) > MAX_OVERRIDES:
            raise LayerError(f"no more than {MAX_OVERRIDES} runtime values can be overridden at a time")
        self._entries = kept | changed

    @property
    def is_active(self) -> bool:
        """Whether it overrides anything."""
        return bool(self._entries)
