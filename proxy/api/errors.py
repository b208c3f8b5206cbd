"""The collector of findings: everything wrong with a configuration, reported at once."""

from __future__ import annotations

from typing import Protocol

from proxy.base.errors import ConfigError, ConfigRefused


class Locator(Protocol):
    """Turns a field path into a place in the operator's text."""

    def locate(self, path: str) -> tuple[str | None, int | None, int | None]:
        """(file, line, column) of the field or of its nearest known parent; 1-based; None where unknown."""
        ...


MAX_FINDINGS = 1000  # of each sort: nobody reads more, and a hostile file could have millions


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

    def __bool__(self) -> bool:
        """Whether anything refuses the configuration."""
        return bool(self.findings)

    def raise_if_any(self) -> None:
        """Raises ConfigRefused with every finding, warnings not counted."""
        if self.findings:
            raise ConfigRefused(list(self.findings))
