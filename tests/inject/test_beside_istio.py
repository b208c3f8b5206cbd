"""Beside Istio's own injection, read in place: probes, capture and rights of the same manifests."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.inject.containers import PROBERS
from proxy.inject.workload import objects, workload_of
from tests.inject.goldens import injected

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "istio" / "inject"
CASES = sorted(path for path in FIXTURES.glob("*.yaml") if path.with_suffix(".yaml.injected").exists())

pytestmark = pytest.mark.skipif(not CASES, reason="needs ../shared/fixtures/istio (another project's files)")

OURS, THEIRS = ("outrider-init", "outrider"), ("istio-init", "istio-proxy")
#: flags of the capture rules that mean the same in both
FLAGS = ("-p", "-z", "-u", "-m", "-i", "-x", "-b", "-d", "-o", "-q")


def pods(text: str) -> list[dict[str, Any]]:
    found = [workload_of(each) for one in yaml.safe_load_all(text) for each in objects(one)]
    return [dict(one.pod["spec"]) for one in found if one is not None and one.pod is not None]


def containers(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in [*spec.get("initContainers", []), *spec["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container.get("env", [])}


def flags(arguments: list[str]) -> dict[str, Any]:
    """Values by flag; lists of ports as sets."""
    found: dict[str, Any] = {}
    for flag, value in pairwise(arguments):
        if flag in FLAGS:
            found[flag] = set(value.split(",")) if flag in ("-b", "-d", "-o", "-q") else value
    return {flag: value for flag, value in found.items() if value not in ("", {""})}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_same_pods(path: Path) -> None:
    mine = pods(injected(path.read_text(), "1.33")[0])
    theirs = pods(path.with_suffix(".yaml.injected").read_text())
    assert len(mine) == len(theirs)
    compared = 0
    for ours, istio in zip(map(containers, mine), map(containers, theirs), strict=True):
        if THEIRS[1] not in istio or OURS[1] not in ours:
            continue
        compared += 1
        for name in set(ours) - set(OURS):
            for field in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
                assert ours[name].get(field) == istio[name].get(field), f"{name}.{field}"
        asked = environment(ours[OURS[1]]).get(PROBERS) or "{}"
        assert json.loads(asked) == json.loads(
            environment(istio[THEIRS[1]]).get("ISTIO_KUBE_APP_PROBERS") or "{}"
        )
        if THEIRS[0] in istio:
            assert flags(ours[OURS[0]]["args"]) == flags(istio[THEIRS[0]]["args"])
        for one, other in zip(OURS, THEIRS, strict=True):
            if other in istio:
                rights, istios = ours[one]["securityContext"], istio[other]["securityContext"]
                # ours has a read-only root in the init container too
                assert {**istios, "readOnlyRootFilesystem": True} == rights
    assert compared, "nothing was compared"
