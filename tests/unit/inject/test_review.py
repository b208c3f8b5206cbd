"""AdmissionReview in, AdmissionReview out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from proxy.inject.pod import Policy
from proxy.inject.review import BadReview, answer, read, response, workload
from proxy.inject.settings import STATUS, Settings
from tests.support.json_patch import apply

POLICY = Policy(Settings())
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "web-5d8f-"},
    "spec": {"containers": [{"name": "a"}]},
}


def request(pod: Any, **more: Any) -> dict[str, Any]:
    return {
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "shop",
        "object": pod,
        **more,
    }


def test_the_patch_puts_the_sidecar_in() -> None:
    made = answer(request(POD), POLICY)
    told = made.body["response"]
    assert (told["uid"], told["allowed"], told["patchType"]) == ("u-1", True, "JSONPatch")
    patched = apply(POD, json.loads(base64.b64decode(told["patch"])))
    assert [one["name"] for one in patched["spec"]["initContainers"]] == ["outrider-init", "outrider"]
    assert STATUS in patched["metadata"]["annotations"]
    assert (made.pod, made.outcome.changed) == ("shop/web-5d8f-", True)
    assert "metadata" in POD and "annotations" not in POD["metadata"], "the request is not changed"


def test_pods_are_called_after_their_owners() -> None:
    def named(kind: str, name: str, **labels: str) -> str:
        owner = {"kind": kind, "name": name, "controller": True}
        return workload({"metadata": {"ownerReferences": [owner], "labels": labels}, "spec": {}}).said

    assert named("ReplicaSet", "web-5d8f", **{"pod-template-hash": "5d8f"}) == "deployment/web"
    assert named("ReplicaSet", "web-5d8f") == "replicaset/web-5d8f"
    assert named("Job", "backup-123") == "job/backup-123"
    assert named("Job", "backup-29401217") == "cronjob/backup"


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        ({"spec": {"hostNetwork": True, "containers": [{"name": "a"}]}}, "hostNetwork"),
        ({"spec": None}, "has no containers"),
        ({}, "has no containers"),
        (
            {
                "metadata": {"labels": {"sidecar.outrider/inject": "false"}},
                "spec": {"containers": [{"name": "a"}]},
            },
            "not to be",
        ),
    ],
)
def test_left_alone(pod: dict[str, Any], why: str) -> None:
    made = answer(request(pod), POLICY)
    assert made.body["response"] == {"uid": "u-1", "allowed": True} and why in made.outcome.why


def test_what_is_no_pod_is_admitted() -> None:
    for asked in (request(POD, kind={"kind": "Service"}), request(None), request([])):
        assert answer(asked, POLICY).body == response("u-1")


@pytest.mark.parametrize(
    "more",
    [
        {"operation": "UPDATE"},
        {"operation": "UPDATE", "subResource": "ephemeralcontainers"},
        {"operation": "DELETE"},
        {"operation": "CREATE", "subResource": "status"},
    ],
)
def test_a_pod_that_is_there_is_not_patched(more: dict[str, Any]) -> None:
    """Its containers cannot be changed any more: whoever updates it would be refused for our patch."""
    made = answer(request(POD, **more), POLICY)
    assert made.body == response("u-1") and made.outcome.why == "is not being created"
    assert answer(request(POD, operation="CREATE", dryRun=True), POLICY).outcome.changed


def test_mistakes_are_warned_of() -> None:
    pod = {
        **POD,
        "metadata": {"name": "p", "annotations": {"inject.outrider/cpu": "x", "inject.outrider/cpus": "1"}},
    }
    told = answer(request(pod), POLICY).body["response"]
    assert told["allowed"] and "patch" not in told
    assert any('inject.outrider/cpu: "x" is not a quantity' in text for text in told["warnings"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no AdmissionReview"),
        (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1"}', "v1beta1"),
        (b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', "no request with a uid"),
        (
            b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":5}}',
            "no request with a uid",
        ),
        (b"\xff\xfe", "is no JSON"),
    ],
)
def test_bad_reviews(body: bytes, said: str) -> None:
    with pytest.raises(BadReview, match=said):
        read(body)
