"""Resource attributes from OTEL_* variables; the SDK is not imported for nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.tracing.resource import resource_attributes


def test_names_and_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"OTEL_SERVICE_NAME": "shop", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,zone=a%20b,bad"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert resource_attributes(environ) == {"service.name": "shop", "zone": "a b"}


def test_nothing_to_read_imports_nothing() -> None:
    program = "import sys; from proxy.tracing.resource import resource_attributes as r; assert r({}) == {}; "
    program += "assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)
