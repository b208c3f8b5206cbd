"""Configuration findings as SARIF 2.1.0 (OASIS), the form that code scanners and pull requests show beside the line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from proxy import __version__
from proxy.cli.findings import KINDS

if TYPE_CHECKING:
    from proxy.api.errors import Errors
    from proxy.base.errors import ConfigError

#: by kind of finding: SARIF's level, and what a rule of that name says
RULES = {
    "error": ("error", "Envoy would refuse it too."),
    "unsupported": ("error", "Envoy would take it, outrider cannot honour it."),
    "warning": ("warning", "Accepted, without effect."),
}


def as_sarif(errors: Errors) -> str:
    """One run with a result for each finding, in the order of the other formats; its kind is the rule."""
    rules = [{"id": name, "shortDescription": {"text": text}} for name, (_, text) in RULES.items()]
    driver = {"name": "outrider", "version": __version__, "rules": rules}
    results = [_result(finding) for finding in (*errors.findings, *errors.warnings)]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    whole = {"$schema": schema, "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def _result(finding: ConfigError) -> dict[str, object]:
    rule = KINDS[finding.kind]
    text = f"{finding.path}: {finding.message}" if finding.path else finding.message
    result: dict[str, object] = {"ruleId": rule, "level": RULES[rule][0], "message": {"text": text}}
    if finding.file:
        result["locations"] = [{"physicalLocation": _location(finding)}]
    return result


def _location(finding: ConfigError) -> dict[str, object]:
    place: dict[str, object] = {"artifactLocation": {"uri": quote(finding.file or "")}}
    region = {"startLine": finding.line, "startColumn": finding.column}
    known = {name: number for name, number in region.items() if number is not None}
    return place | {"region": known} if known else place
