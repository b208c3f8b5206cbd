"""The collector of findings: everything wrong with a configuration, reported at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.api.marks import parent_path, paths_around
from proxy.base.errors import ConfigError, ConfigRefused


class Locator(Protocol):
    """Turns a field path into a place in the operator's text."""

    def locate(self, path: str) -> tuple[str | None, int | None, int | None]:
        """(file, line, column) of the field or of its nearest known parent; 1-based; None where unknown."""
        ...


MAX_FINDINGS = 1000  # of each sort: nobody reads more, and a hostile file could have millions


# A cluster that could be missing, or under another name, in what was compiled.
_CLUSTER = r"static_resources\.clusters(\[\d+\](\.name)?)?$"
_UNKNOWN_CLUSTER = ("unknown cluster", "unknown weighted cluster")


def _follows_from(first: Sequence[ConfigError]) -> Callable[[ConfigError], bool]:
    """Whether a finding could come from one of the first: it is about something around what is missing or, when it
    says that something is wrong, about any part of the message in which it is missing."""
    around = {path for finding in first for path in paths_around(finding.path)}
    messages = {parent_path(finding.path) for finding in first} - {""}
    clusters = any(
        re.match(_CLUSTER, parent_path(finding.path) if "is no field" in finding.message else finding.path)
        for finding in first
    )

    def follows(finding: ConfigError) -> bool:
        if finding.path in around or (clusters and finding.message.startswith(_UNKNOWN_CLUSTER)):
            return True
        return finding.kind == "invalid" and not messages.isdisjoint(paths_around(finding.path))

    return follows


def _place(finding: ConfigError) -> tuple[str, int, int]:
    return finding.file or "", finding.line or 0, finding.column or 0


class Errors:
    """findings: what refuses the configuration (kinds "invalid", "unsupported"); warnings: what does not."""

    __slots__ = ("_seen", "findings", "warnings")

    def __init__(self) -> None:
        self.findings: list[ConfigError] = []
        self.warnings: list[ConfigError] = []
        self._seen: set[ConfigError] = set()

    def is_full(self, kind: str = "invalid") -> bool:
        """Whether no more findings of this sort are kept."""
        return len(self.warnings if kind == "warning" else self.findings) >= MAX_FINDINGS

    def add(self, finding: ConfigError) -> None:
        """Keep a finding once; kind "warning" goes to the warnings. Beyond MAX_FINDINGS nothing is kept."""
        if finding not in self._seen and not self.is_full(finding.kind):
            self._seen.add(finding)
            (self.warnings if finding.kind == "warning" else self.findings).append(finding)

    def at(self, locator: Locator | None, path: str, message: str, kind: str = "invalid") -> None:
        """Keep a finding about a field path, with its place in the text when there is a locator."""
        if self.is_full(kind):
            return
        place = locator.locate(path) if locator is not None else (None, None, None)
        self.add(ConfigError(path, message, *place, kind=kind))

    def settle(self, known: int) -> None:
        """Leave out what only follows from other findings, and put the rest in the order of the text.

        known: so many findings (the first ones) are about values that could not be read or break a rule, and are
        therefore missing or wrong in what was compiled afterwards. Later findings that could come from that are left
        out; so are warnings about parts of what is refused.
        """
        first, later = self.findings[:known], self.findings[known:]
        if first:
            follows = _follows_from(first)
            later = [finding for finding in later if not follows(finding)]
        self.findings = sorted([*first, *later], key=_place)
        refused = {finding.path for finding in self.findings}
        self.warnings = sorted(
            (one for one in self.warnings if refused.isdisjoint(paths_around(one.path))), key=_place
        )

    def __bool__(self) -> bool:
        """Whether anything refuses the configuration."""
        return bool(self.findings)

    def raise_if_any(self) -> None:
        """Raises ConfigRefused with every finding, warnings not counted."""
        if self.findings:
            raise ConfigRefused(list(self.findings))
