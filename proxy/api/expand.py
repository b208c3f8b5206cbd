"""``${NAME}`` and ``${NAME:-default}`` in the values of a text: opt-in (--expand-env), since Envoy reads them as they stand.

Works on values that have been read already, so what a variable holds can never become structure: a brace, a colon or a
line end in it stays text. ``$${`` stands for ``${``. As in a shell, ``:-`` also replaces a variable that is empty, and
defaults are taken as they stand (no variables within). Keys are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from proxy.api.json_text import Repeated
from proxy.api.marks import child_path, key_step

# "$${" is an escape; else a name and perhaps a default, which ends at the first brace.
_REFERENCE = r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?"
#: what the variables may add to one configuration, in characters
MAX_ADDED = 16 * 1024 * 1024

Report = Callable[[str, str], None]  # (path, message)


class TooMuch(Exception):
    """The variables make the configuration larger than MAX_ADDED."""


class Expander:
    """Expands one text's values; what cannot be goes to ``report`` and is left unset."""

    __slots__ = ("_added", "_done", "_environ", "_report")

    def __init__(self, environ: Mapping[str, str], report: Report) -> None:
        self._environ = environ
        self._report = report
        self._added = 0
        # What an alias stands for is one object in many places: expanded once. The value keeps the id from being
        # used again.
        self._done: dict[int, tuple[Any, Any]] = {}

    def expand(self, value: Any, path: str = "") -> Any:
        """The value with every reference replaced; the given one is not changed. Raises TooMuch."""
        if isinstance(value, str):
            return self._text(value, path) if "${" in value else value
        if not isinstance(value, (dict, list)):
            return value
        known = self._done.get(id(value))
        if known is None:
            known = self._done[id(value)] = (value, self._inside(value, path))
        return known[1]

    def _inside(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [self.expand(item, f"{path}[{index}]") for index, item in enumerate(value)]
        pairs = value.pairs if isinstance(value, Repeated) else value.items()
        expanded = [(key, self.expand(given, _below(path, key))) for key, given in pairs]
        return Repeated(expanded) if isinstance(value, Repeated) else dict(expanded)

    def _text(self, text: str, path: str) -> str | None:
        missing: list[str] = []

        def replaced(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if name is None:
                if match[0] == "${":
                    missing.append(
                        "is no reference to a variable: it takes ${NAME}, ${NAME:-default}, $${ for ${"
                    )
                return "${"
            given = self._environ.get(name)
            if given is not None and not _is_text(given):
                missing.append(f"refers to the environment variable {name}, which is not UTF-8")
                return ""
            if default is not None:
                return given or default
            if given is None:
                missing.append(
                    f"refers to the environment variable {name}, which is not set; ${{{name}:-default}} gives one"
                )
            return given or ""

        result = re.sub(_REFERENCE, replaced, text)
        self._added += max(len(result) - len(text), 0)
        if self._added > MAX_ADDED:
            raise TooMuch
        for message in missing:
            self._report(path, message)
        return None if missing else result


def _is_text(given: str) -> bool:
    """Whether a variable's bytes were UTF-8: Python hands on others as surrogates, which no message takes."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _below(path: str, key: str) -> str:
    return child_path(path, key) if key.isidentifier() else path + key_step(key)
