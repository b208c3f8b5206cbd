"""Resolves lines of the extension table, at configuration time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

#: (Envoy's extension name, full name of its configuration message, "module:Class")
Line = tuple[str, str, str]

#: How Envoy's names of tracers begin: asked by the bootstrap, which need not load any, and by connection managers.
TRACERS: Final = "envoy.tracers."
#: Whose names tell the family: "envoy.tracers.zipkin", "outrider.tracers.python".
OWNERS: Final = ("envoy", "outrider")


class Registry:
    """Extensions by the full name of their configuration message; classes are imported when first asked for.

    lines: those that are always there; more: gives further ones (of installed packages, which takes tens of
    milliseconds to find out), and is asked when a message is not among the lines. It cannot replace a line.
    """

    __slots__ = ("_lines", "_more", "_resolved")

    def __init__(self, lines: Iterable[Line], more: Callable[[], Iterable[Line]] | None = None) -> None:
        self._lines: dict[str, tuple[str, str]] = {message: (name, target) for name, message, target in lines}
        self._more = more
        self._resolved: dict[str, Any] = {}

    def _all(self) -> dict[str, tuple[str, str]]:
        """Every line, those of installed packages included."""
        more = self._more
        if more is not None:
            self._more = None
            for name, message, target in more():
                self._lines.setdefault(message, (name, target))
        return self._lines

    def _line(self, message: str) -> tuple[str, str] | None:
        return self._lines.get(message) or self._all().get(message)

    def has(self, message: str, family: str = "", end: str = "") -> bool:
        """Whether an extension is registered for the message, and may stand where those of the family do.

        family: as in ``unknown``; end: how their names end. Installed packages may call theirs otherwise
        """
        line = self._line(message)
        if line is None:
            return False
        owner, _, name = line[0].partition(".")
        kind = family.partition(".")[2]
        if not kind or owner not in OWNERS:
            return True
        return (
            name.startswith(kind) and name.endswith(end) and "." not in name[len(kind) : len(name) - len(end)]
        )

    def name(self, message: str) -> str:
        """Envoy's name of the extension ("envoy.filters.http.router"). Raises KeyError when unknown."""
        line = self._line(message)
        if line is None:
            raise KeyError(message)
        return line[0]

    def unknown(self, kind: str, message: str, family: str = "") -> str:
        """Says that no extension is registered for the message, and which ones of the family are.

        kind: "HTTP filter"; family: how Envoy's names of such extensions begin ("envoy.filters.http."); what has more
        dots behind it belongs to one of them (the samplers of a tracer)
        """
        known = sorted(
            {  # a filter's configuration for a route is an entry of its own
                name
                for name, _ in self._all().values()
                if family and name.startswith(family) and "." not in name[len(family) :]
            }
        )
        return f"{kind} {message} is not supported" + (f"; supported: {', '.join(known)}" if known else "")

    def untyped(self, kind: str, name: str) -> str:
        """Says that an extension was named without its configuration, and what to write; a near name is enough.

        kind: "a filter"; name: what the configuration calls it
        """
        from difflib import get_close_matches  # for those who err

        messages = {known: message for message, (known, _) in self._all().items() if message != known}
        near = get_close_matches(name[:100], messages, n=1, cutoff=0.8)
        if not near:  # "envoy.router", as it was called before v3
            last = name.rpartition(".")[2]
            near = [known for known in messages if known.rpartition(".")[2] == last]
        said = f'is missing: {kind} is chosen by its "@type", not by its name'
        return said + (f'; write {{"@type": type.googleapis.com/{messages[near[0]]}}}' if near else "")

    def messages(self) -> list[str]:
        """Every registered configuration message."""
        return sorted(self._all())

    def resolve(self, message: str) -> Any:
        """The class behind the message. Raises KeyError when unknown, ImportError when the target is broken."""
        found = self._resolved.get(message)
        if found is None:
            line = self._line(message)
            if line is None:
                raise KeyError(message)
            module, _, attribute = line[1].partition(":")
            found = self._resolved[message] = getattr(import_module(module), attribute)
        return found
