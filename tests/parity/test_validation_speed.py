"""A bootstrap of 2,000 clusters is validated for about the CPU time that Envoy needs for it, imports and all.

Ratios of CPU time, best of three taken in turns: absolute times say more of the machine and of what else runs on it.
The compiled modules of Python are kept, as they are wherever outrider is installed (an environment may forbid it: then
each run compiles 300 modules anew, which is as much work as the 2,000 clusters).
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
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


def cpu_seconds(argv: Sequence[str], environment: dict[str, str]) -> float:
    """Of one run, which must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.timeout(180)
def test_two_thousand_clusters(tmp_path: Path) -> None:
    config = {"static_resources": {"clusters": [cluster(number) for number in range(2000)]}}
    in_json, in_yaml = tmp_path / "envoy.json", tmp_path / "envoy.yaml"
    in_json.write_text(json.dumps(config))
    in_yaml.write_text(yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    validate = (sys.executable, "-m", "proxy", "validate", "-c")
    runs = {
        "envoy": (
            str(envoy_binary()),
            "--mode",
            "validate",
            "--disable-hot-restart",
            "-l",
            "off",
            "-c",
            str(in_json),
        ),
        "json": (*validate, str(in_json)),
        "yaml": (*validate, str(in_yaml)),
    }
    cpu_seconds(runs["json"], environment)  # what is compiled once
    took = dict.fromkeys(runs, math.inf)
    for _ in range(3):
        for name, argv in runs.items():
            took[name] = min(took[name], cpu_seconds(argv, environment))
    print(f"CPU seconds: {took}")
    assert took["json"] < 2.0 * took["envoy"]
    assert took["yaml"] < 3.0 * took["envoy"]
