"""Resolves lines of the extension table, at configuration time."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any

Line = tuple[
    str, str, str
]  # (Envoy's extension name, full name of its configuration message, "module:Class")


class Registry:
    """Extensions by the full name of their configuration message; classes are imported when first asked for."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = {message: (name, target) for name, message, target in lines}

    def has(self, message: str) -> bool:
        """Whether an extension is registered for the message."""
        return message in self._lines

    def name(self, message: str) -> str:
        """Envoy's name of the extension ("envoy.filters.http.router"). Raises KeyError when unknown."""
        return self._lines[message][0]

    def unknown(self, kind: str, message: str, family: str = "") -> str:
        """Says that no extension is registered for the message, and which ones of the family are.

        kind: "HTTP filter"; family: how Envoy's names of such extensions begin ("envoy.filters.http.")
        """
        known = sorted(name for name, _ in self._lines.values() if family and name.startswith(family))
        return f"{kind} {message} is not supported" + (f"; supported: {', '.join(known)}" if known else "")

    def untyped(self, kind: str, name: str) -> str:
        """Says that an extension was named without its configuration, and what to write; a near name is enough.

        kind: "a filter"; name: what the configuration calls it
        """
        messages = {known: message for message, (known, _) in self._lines.items() if message != known}
        near = get_close_matches(name[:100], messages, n=1, cutoff=0.8)
        said = f'is missing: {kind} is chosen by its "@type", not by its name'
        return said + (f'; write {{"@type": type.googleapis.com/{messages[near[0]]}}}' if near else "")

    def messages(self) -> list[str]:
        """Every registered configuration message."""
        return sorted(self._lines)

    def resolve(self, message: str) -> Any:
        """The class behind the message. Raises KeyError when unknown, ImportError when the target is broken."""
        module, _, attribute = self._lines[message][1].partition(":")
        return getattr(import_module(module), attribute)
