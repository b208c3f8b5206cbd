"""Injection of the kinds of manifests that real projects ship: goldens, Kubernetes' own schemas, and the way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.inject.containers import PROBERS
from proxy.inject.decide import CONTAINER, INIT_CONTAINER
from proxy.inject.workload import objects, workload_of
from tests.inject.goldens import FOLDER, MANIFESTS, VERSIONS, golden, injected, said, taken_out

CASES = [
    pytest.param(manifest, kind, id=f"{manifest.stem}-{kind}") for kind in VERSIONS for manifest in MANIFESTS
]
NOT_KUBERNETES = ("argoproj.io/", "serving.knative.dev/", "batch.volcano.sh/")


def loaded(text: str) -> list[Any]:
    """As Kubernetes reads it: YAML 1.1."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document is not None]


def every_object(text: str) -> list[dict[str, Any]]:
    return [dict(each) for document in loaded(text) for each in objects(document)]


@pytest.mark.parametrize(("manifest", "kind"), CASES)
def test_golden(manifest: Path, kind: str) -> None:
    text, _ = injected(manifest.read_text(), VERSIONS[kind])
    assert text == golden(manifest, kind).read_text(), "see python -m tests.inject.goldens"


@pytest.mark.parametrize("kind", VERSIONS)
def test_what_is_said(kind: str) -> None:
    lines = []
    for manifest in MANIFESTS:
        lines += said(manifest, injected(manifest.read_text(), VERSIONS[kind])[1])
    assert lines == (FOLDER / "goldens" / f"{kind}.txt").read_text().splitlines()


@pytest.mark.parametrize(("manifest", "kind"), CASES)
def test_kubernetes_takes_it(manifest: Path, kind: str) -> None:
    checked = 0
    for each in every_object(golden(manifest, kind).read_text()):
        if not each["apiVersion"].startswith(NOT_KUBERNETES):
            kubernetes_validate.validate(each, VERSIONS[kind], strict=True)
            checked += 1
    assert checked or manifest.name == "foreign-kinds.yaml"


@pytest.mark.parametrize(("manifest", "kind"), CASES)
def test_once_more_changes_nothing(manifest: Path, kind: str) -> None:
    text = golden(manifest, kind).read_text()
    again, outcomes = injected(text, VERSIONS[kind])
    assert again == text
    assert not any(outcome.changed for outcome in outcomes)


@pytest.mark.parametrize(("manifest", "kind"), CASES)
def test_taken_out_it_is_what_it_was(manifest: Path, kind: str) -> None:
    text, _ = taken_out(golden(manifest, kind).read_text())
    assert loaded(text) == loaded(manifest.read_text())
    comments = [line.strip() for line in manifest.read_text().splitlines() if line.strip().startswith("#")]
    assert [line for line in comments if line not in text] == []


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.stem)
def test_rights(manifest: Path) -> None:
    """Only the init container has NET_ADMIN and NET_RAW, whatever the workload."""
    for kind in VERSIONS:
        for each in every_object(golden(manifest, kind).read_text()):
            workload = workload_of(each)
            spec = workload.pod["spec"] if workload is not None and workload.pod is not None else {}
            ours = [
                one
                for one in [*spec.get("initContainers", []), *spec.get("containers", [])]
                if one["name"] in (CONTAINER, INIT_CONTAINER) and "image" in one and "securityContext" in one
            ]
            for one in ours:
                rights = one["securityContext"]
                is_init = one["name"] == INIT_CONTAINER
                assert rights["capabilities"]["drop"] == ["ALL"]
                assert rights["capabilities"].get("add", []) == (["NET_ADMIN", "NET_RAW"] if is_init else [])
                assert (rights["runAsUser"], rights["runAsGroup"]) == ((0, 0) if is_init else (1337, 1337))
                assert rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"]
                assert not rights["privileged"] and rights["runAsNonRoot"] is not is_init


def test_order_of_containers() -> None:
    """Native: before everybody, who has a network only with it. Classic: rules behind those that need the network."""
    orders = {}
    for kind in VERSIONS:
        (each,) = every_object((FOLDER / "goldens" / kind / "wait-for-db.yaml").read_text())
        spec = each["spec"]["template"]["spec"]
        orders[kind] = [[one["name"] for one in spec[field]] for field in ("initContainers", "containers")]
    assert orders["native"] == [["outrider-init", "outrider", "wait-for-db", "tail-log"], ["api"]]
    assert orders["classic"] == [["wait-for-db", "tail-log", "outrider-init"], ["outrider", "api"]]


def test_every_rewritten_probe_is_asked_by_the_sidecar() -> None:
    for manifest in MANIFESTS:
        for each in every_object(golden(manifest, "native").read_text()):
            workload = workload_of(each)
            if workload is None or workload.pod is None:
                continue
            spec = workload.pod["spec"]
            everyone = [*spec.get("initContainers", []), *spec["containers"]]
            asked = {
                holder["httpGet"]["path"]
                for one in everyone
                for holder in [
                    *(one.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")),
                    *one.get("lifecycle", {}).values(),
                ]
                if holder.get("httpGet", {}).get("port") == 15020
            }
            sidecar = next((one for one in everyone if one["name"] == CONTAINER and "env" in one), {})
            probers = {one["name"]: one.get("value") for one in sidecar.get("env", [])}.get(PROBERS)
            assert asked == set(json.loads(probers) if probers else ())
