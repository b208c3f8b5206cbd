"""The containers and volumes that come into a pod.

Rights: the sidecar runs as 1337:1337 with nothing more than that: no capability, no writable root, no new privileges. Only
the init container is root with NET_ADMIN and NET_RAW, and ends before anything else begins.
"""

from __future__ import annotations

import json
from typing import Any

from proxy.inject.arguments import capture_arguments, sidecar_arguments
from proxy.inject.decide import CONTAINER, INIT_CONTAINER, UID
from proxy.inject.settings import Settings

METRICS_PORT = 15090
READY_PORT = 15021
PROBERS = "OUTRIDER_APP_PROBERS"
SERVICE = "OUTRIDER_SIDECAR_SERVICE"
#: variable → field of the pod
FIELDS = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "INSTANCE_IP": "status.podIP",
}
PODINFO = f"{CONTAINER}-podinfo"
TMP = f"{CONTAINER}-tmp"
#: whether the sidecar serves. /healthz/ready may wait for the application, which itself waits for this
STARTED = "/healthz/startup"
READY = "/healthz/ready"
WAIT = ["outrider", "ready", "--url", f"http://127.0.0.1:{READY_PORT}{STARTED}", "--wait", "60s"]


def init_container(settings: Settings) -> dict[str, Any]:
    """Makes the capture rules."""
    return {
        "name": INIT_CONTAINER,
        **_image(settings),
        "args": capture_arguments(settings),
        "resources": _resources(settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
        },
        "volumeMounts": [{"mountPath": "/run", "name": TMP}],  # where iptables has its lock
    }


def sidecar_container(
    settings: Settings, service: str, native: bool, probers: dict[str, Any]
) -> dict[str, Any]:
    """service: what traces and metrics call it, "" where the pod's labels say so; probers: what it has to ask the
    application."""
    made: dict[str, Any] = {
        "name": CONTAINER,
        **_image(settings),
        "args": sidecar_arguments(settings),
        "env": _environment(service, probers),
        "ports": [{"containerPort": METRICS_PORT, "name": "http-envoy-prom", "protocol": "TCP"}],
        "resources": _resources(settings),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": UID,
            "runAsNonRoot": True,
            "runAsUser": UID,
        },
        "startupProbe": _probe(STARTED, every_s=1, failures=600),
        "readinessProbe": _probe(READY, every_s=15, failures=4),
        "volumeMounts": [
            {"mountPath": "/etc/podinfo", "name": PODINFO, "readOnly": True},
            {"mountPath": "/tmp", "name": TMP},
        ],
    }
    if native:
        made["restartPolicy"] = "Always"
    elif settings.hold_application == "true":
        made["lifecycle"] = {"postStart": {"exec": {"command": WAIT}}}
    return made


def volumes() -> list[dict[str, Any]]:
    """What the sidecar mounts: the pod's labels and annotations, and a little memory to write to."""
    items = [
        {"fieldRef": {"fieldPath": f"metadata.{field}"}, "path": field} for field in ("labels", "annotations")
    ]
    return [
        {"downwardAPI": {"items": items}, "name": PODINFO},
        {"emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}, "name": TMP},
    ]


def _probe(path: str, every_s: int, failures: int) -> dict[str, Any]:
    asked = {"path": path, "port": READY_PORT}
    return {"httpGet": asked, "periodSeconds": every_s, "timeoutSeconds": 3, "failureThreshold": failures}


def _image(settings: Settings) -> dict[str, Any]:
    policy = {"imagePullPolicy": settings.image_pull_policy} if settings.image_pull_policy else {}
    return {"image": settings.image, **policy}


def _resources(settings: Settings) -> dict[str, Any]:
    return {
        "limits": {"cpu": settings.cpu_limit, "memory": settings.memory_limit},
        "requests": {"cpu": settings.cpu, "memory": settings.memory},
    }


def _environment(service: str, probers: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}} for name, field in FIELDS.items()
    ]
    if service:
        found.append({"name": SERVICE, "value": service})
    if probers:
        found.append({"name": PROBERS, "value": json.dumps(probers, separators=(",", ":"))})
    return found
