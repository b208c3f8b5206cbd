"""AdmissionReview (admission.k8s.io/v1) of a pod → the response with its JSON patch. Knows no server.

The webhook sees pods, not the workloads they are made for: those are injected when their pods are created.
"""

from __future__ import annotations

import base64
import json
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from proxy.inject.patch import difference
from proxy.inject.pod import Outcome, Policy, inject
from proxy.inject.workload import Workload, mapping

API = "admission.k8s.io/v1"
KIND = "AdmissionReview"
#: a CronJob calls its Jobs after themselves and the minute
_OF_CRON_JOB = re.compile(r"-\d{8,10}$")


class BadReview(ValueError):
    """A body that is no AdmissionReview of a pod."""


@dataclass(slots=True)
class Answer:
    """body: the AdmissionReview to send back; outcome: what became of the pod; pod: how it is called in logs."""

    body: dict[str, Any]
    outcome: Outcome
    pod: str


def read(body: bytes) -> dict[str, Any]:
    """The review's request. Raises BadReview."""
    try:
        review = json.loads(body)
    except (ValueError, RecursionError):
        raise BadReview("is no JSON") from None
    if not isinstance(review, dict) or review.get("kind") != KIND:
        raise BadReview(f"is no {KIND}")
    if review.get("apiVersion") != API:
        raise BadReview(f"is {KIND} of {review.get('apiVersion')}, not of {API}")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise BadReview("has no request with a uid")
    return request


def answer(request: dict[str, Any], policy: Policy) -> Answer:
    """Admit the pod, with a patch where it is injected."""
    uid = request["uid"]
    pod = request.get("object")
    if mapping(request.get("kind")).get("kind") != "Pod" or not isinstance(pod, dict):
        return Answer(response(uid), Outcome("?", why="is no pod"), "?")
    name = described(request, pod)
    if request.get("operation", "CREATE") != "CREATE" or request.get("subResource"):
        # of a pod that is there containers cannot be changed: a patch would have its update refused
        return Answer(response(uid), Outcome("?", why="is not being created"), name)
    changed = deepcopy(pod)
    changed.setdefault("metadata", {})
    outcome = inject(workload(changed), policy)
    made = response(uid, warnings=[f"outrider: {text}" for text in outcome.warnings])
    if outcome.failed:
        made["response"].setdefault("warnings", []).append(f"outrider: pod {name} {outcome.why}")
    if outcome.changed:
        patch = json.dumps(difference(pod, changed), separators=(",", ":")).encode()
        made["response"] |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
    return Answer(made, outcome, name)


def workload(pod: dict[str, Any]) -> Workload:
    """The pod, named after the workload that owns it where it says so."""
    metadata = mapping(pod.get("metadata"))
    for owner in metadata.get("ownerReferences") or ():
        if mapping(owner).get("controller"):
            kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
            template = str(mapping(metadata.get("labels")).get("pod-template-hash", ""))
            if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
                return Workload("Deployment", name.removesuffix(f"-{template}"), pod, pod)
            if kind == "Job" and _OF_CRON_JOB.search(name):
                return Workload("CronJob", _OF_CRON_JOB.sub("", name), pod, pod)
            return Workload(kind or "Pod", name, pod, pod)
    return Workload("Pod", str(metadata.get("name") or metadata.get("generateName") or "?"), pod, pod)


def described(request: dict[str, Any], pod: dict[str, Any]) -> str:
    """ "namespace/name" for logs."""
    metadata = mapping(pod.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName") or "?"
    return f"{request.get('namespace') or '?'}/{name}"[:300]


def response(
    uid: str, allowed: bool = True, message: str = "", warnings: list[str] | None = None
) -> dict[str, Any]:
    """An AdmissionReview with a response."""
    made: dict[str, Any] = {"uid": uid, "allowed": allowed}
    if message:
        made["status"] = {"code": 500 if not allowed else 200, "message": message}
    if warnings:
        made["warnings"] = warnings
    return {"apiVersion": API, "kind": KIND, "response": made}
