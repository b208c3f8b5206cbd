"""The collector of findings: everything wrong with a configuration, reported at once."""

from __future__ import annotations

from typing import Protocol

from proxy.base.errors import ConfigError, ConfigRefused


class Locator(Protocol):
    """Turns a field path into a place in the operator's text."""

    def locate(self, path: str) -> tuple[str | None, int | None, int | None]:
        """(file, line, column) of the field or of its nearest known parent; 1-based; None where unknown."""
        ...


class Errors:
    """findings: what refuses the configuration (kinds "invalid", "unsupported"); warnings: what does not."""

    __slots__ = ("findings", "warnings")

    def __init__(self) -> None:
        self.findings: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def add(self, finding: ConfigError) -> None:
        """Keep a finding once; kind "warning" goes to the warnings."""
        kept = self.warnings if finding.kind == "warning" else self.findings
        if finding not in kept:
            kept.append(finding)

    def at(self, locator: Locator | None, path: str, message: str, kind: str = "invalid") -> None:
        """Keep a finding about a field path, with its place in the text when there is a locator."""
        place = locator.locate(path) if locator is not None else (None, None, None)
        self.add(ConfigError(path, message, *place, kind=kind))

    def __bool__(self) -> bool:
        """Whether anything refuses the configuration."""
        return bool(self.findings)

    def raise_if_any(self) -> None:
        """Raises ConfigRefused with every finding, warnings not counted."""
        if self.findings:
            raise ConfigRefused(list(self.findings))
