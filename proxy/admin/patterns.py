"""The re2 filters of query strings (?filter=, ?name_regex=)."""

from __future__ import annotations

from collections.abc import Callable


class BadPattern(ValueError):
    """A pattern re2 does not take; the text is re2's reason."""


def compile_filter(pattern: str, whole: bool = False) -> Callable[[str], bool]:
    """A test that finds the pattern in a name (whole: as all of it). Raises BadPattern."""
    import re2  # type: ignore[import-untyped]  # only when somebody filters

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        raise BadPattern(
            reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        ) from None
    find = compiled.fullmatch if whole else compiled.search
    return lambda name: find(name) is not None
