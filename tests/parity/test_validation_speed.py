"""A bootstrap of 2,000 clusters is validated for about the CPU time that Envoy needs for it, imports and all.

Ratios of CPU time, best of three: absolute times say more of the machine and of what else runs on it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.config import address
from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.support.outrider import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]


def cluster(number: int) -> dict[str, Any]:
    name = f"cluster-{number}"
    host = {"endpoint": {"address": address(80, f"{name}.example")}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": {"thresholds": [{"max_connections": 100}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [host]}]},
    }


def cpu_seconds(*argv: str) -> float:
    """The least of three runs, each of which must end well."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(took)


@pytest.mark.timeout(180)
def test_two_thousand_clusters(tmp_path: Path) -> None:
    config = {"static_resources": {"clusters": [cluster(number) for number in range(2000)]}}
    in_json, in_yaml = tmp_path / "envoy.json", tmp_path / "envoy.yaml"
    in_json.write_text(json.dumps(config))
    in_yaml.write_text(yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    envoy = (str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "--concurrency", "1")
    theirs = cpu_seconds(*envoy, "-l", "off", "-c", str(in_json))
    ours = {
        path.suffix: cpu_seconds(sys.executable, "-m", "proxy", "validate", "-c", str(path))
        for path in (in_json, in_yaml)
    }
    print(f"CPU seconds: Envoy, JSON {theirs:.2f}; ours: {ours}")
    assert ours[".json"] < 2.0 * theirs
    assert ours[".yaml"] < 3.0 * theirs
