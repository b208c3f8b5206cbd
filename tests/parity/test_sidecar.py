"""The bootstrap that ``outrider sidecar`` makes is Envoy's too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from proxy.sidecar.bootstrap import make_bootstrap
from proxy.sidecar.settings import Settings
from tests.support.certs import Authority
from tests.support.envoy import ENVOY_MISSING, envoy_binary

pytestmark = pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(service="cart", version="v2", namespace="prod", zipkin="http://127.0.0.1:9411", ipv6=True),
        Settings(
            otlp="http://127.0.0.1",
            sampling=0.0,
            access_log=True,
            retries=0,
            detect_timeout_s=0.25,
            tcp_ports="25,3306",
        ),
    ],
    ids=["plain", "zipkin", "otlp"],
)
def test_envoy_takes_it(settings: Settings, tmp_path: Path):
    validate(settings, tmp_path)


def test_envoy_takes_tls_between_sidecars(tmp_path: Path):
    authority = Authority()
    (tmp_path / "ca.crt").write_text(authority.pem)
    certificate, key = authority.signs().write(tmp_path, "pod")
    files = {"tls_cert": certificate, "tls_key": key, "tls_ca": str(tmp_path / "ca.crt")}
    validate(Settings(tcp_ports="3306", tls_ranges="10.0.0.0/8,fd00::/8", tls_strict=True, **files), tmp_path)


def validate(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.json"
    file.write_text(json.dumps(make_bootstrap(settings)))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
