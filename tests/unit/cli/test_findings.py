from __future__ import annotations

import io

from proxy.base.errors import ConfigError, ConfigRefused
from proxy.cli.findings import line, print_findings


def test_a_finding_begins_with_its_place():
    finding = ConfigError("a.b", "is wrong", file="envoy.yaml", line=3, column=5)
    assert line(finding) == "envoy.yaml:3:5: error: a.b: is wrong"
    assert line(ConfigError("", "is wrong", kind="unsupported")) == "configuration: unsupported: is wrong"


def test_findings_are_counted():
    out = io.StringIO()
    print_findings(ConfigRefused([ConfigError("a", "x"), ConfigError("b", "y")]), out)
    assert out.getvalue().splitlines()[-1] == "configuration refused: 2 errors"
