"""How configuration findings look to a person: one line each, place first, so that editors can jump to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from proxy.base.errors import ConfigError, ConfigRefused

if TYPE_CHECKING:
    from proxy.api.errors import Errors

KINDS = {"invalid": "error", "unsupported": "unsupported", "warning": "warning"}


def line(finding: ConfigError) -> str:
    """ "file:line:column: error: path: message"."""
    place = finding.file or "configuration"
    if finding.line is not None:
        place += f":{finding.line}"
        if finding.column is not None:
            place += f":{finding.column}"
    path = f"{finding.path}: " if finding.path else ""
    return f"{place}: {KINDS[finding.kind]}: {path}{finding.message}"


def as_json(configuration: str, errors: Errors) -> str:
    """For machines: every finding in the order of the lines above; what is not known of a place is null."""
    findings = [
        {
            "kind": KINDS[finding.kind],
            "file": finding.file or None,
            "line": finding.line,
            "column": finding.column,
            "path": finding.path,
            "message": finding.message,
        }
        for finding in (*errors.findings, *errors.warnings)
    ]
    return json.dumps(
        {"configuration": configuration, "accepted": not errors, "findings": findings},
        indent=2,
        ensure_ascii=False,
    )


def print_findings(errors: Errors | ConfigRefused, out: TextIO) -> None:
    """Every error, then every warning, then a count."""
    warnings = [] if isinstance(errors, ConfigRefused) else errors.warnings
    for finding in (*errors.findings, *warnings):
        out.write(line(finding) + "\n")
    if errors.findings:
        count = len(errors.findings)
        out.write(f"configuration refused: {count} error{'s' if count > 1 else ''}\n")
