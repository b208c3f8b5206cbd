"""Whether a workload is injected, and why not: every refusal is said, the manifest is then left as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.inject.settings import BY_FIELD, INJECT, ISTIO_STATUS, STATUS, Settings, checked
from proxy.inject.workload import Workload, mapping

CONTAINER = "outrider"
INIT_CONTAINER = "outrider-init"
#: what others' injectors call theirs
OTHERS = {
    "istio-proxy": "Istio",
    "linkerd-proxy": "Linkerd",
    "kuma-sidecar": "Kuma",
    "consul-dataplane": "Consul",
}
#: the label or annotation by which a pod asks others' webhooks for a sidecar, and the values that do
ASKS = {
    "linkerd.io/inject": ("Linkerd", ("enabled", "ingress")),
    "sidecar.istio.io/inject": ("Istio", ("true",)),
    "kuma.io/sidecar-injection": ("Kuma", ("enabled", "true")),
    "consul.hashicorp.com/connect-inject": ("Consul", ("true",)),
}
UID = 1337
PORTS = {
    15000: "admin",
    15001: "outbound",
    15006: "inbound",
    15020: "probes",
    15021: "readiness",
    15090: "metrics",
}


def wanted(workload: Workload, settings: Settings) -> str:
    """ "true", "false" or "": the pod's label, its annotation, the workload's annotation, in this order. Raises
    BadSetting."""
    labels = mapping(mapping(mapping(workload.pod).get("metadata")).get("labels"))
    if INJECT in labels:
        return checked(BY_FIELD["inject"], f"label {INJECT}", str(labels[INJECT]))
    return settings.inject


def asks_for_another(workload: Workload) -> str:
    """Of which mesh the pod will get another sidecar, and how it says so; "" where none."""
    metadata = mapping(mapping(workload.pod).get("metadata"))
    for name, (mesh, values) in ASKS.items():
        for field in ("labels", "annotations"):
            if str(mapping(metadata.get(field)).get(name, "")).lower() in values:
                return f"asks for a sidecar of {mesh} ({name})"
    return ""


def refusal(workload: Workload, settings: Settings, native: bool) -> str:
    """Why the workload is left alone; "" when nothing speaks against it."""
    pod = workload.pod
    if pod is None:
        return "has no pod template"
    spec = mapping(pod.get("spec"))
    found = (
        malformed(spec)
        or _is_there(pod, spec)
        or _refused_by_spec(spec, settings)
        or _refused_by_container(spec, settings)
        or _refused_volumes(spec)
    )
    ends = workload.is_batch or spec.get("restartPolicy") in ("Never", "OnFailure")
    if not found and ends and not native:
        return "ends when its containers do, which a classic sidecar never does: it needs native sidecars (Kubernetes 1.29)"
    return found


def containers(spec: Any) -> Iterator[tuple[str, Any]]:
    """("containers" or "initContainers", container) for each of a spec that is not malformed."""
    for field in ("initContainers", "containers"):
        for container in mapping(spec).get(field) or ():
            yield field, container


def malformed(spec: Any) -> str:
    """What is no list of objects with names and should be; "" for a pod."""
    for field in ("containers", "initContainers", "volumes"):
        if not _are_objects(spec.get(field), "name", str):
            return f"is no pod: {field} is no list of objects with names"
    for _, container in containers(spec):
        if not _are_objects(container.get("ports"), "containerPort", int):
            return (
                f"is no pod: ports of container {container['name']} are no list of objects with containerPort"
            )
    return ""


def _are_objects(value: Any, key: str, kind: type) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(mapping(each).get(key), kind) for each in value)
    )


def _is_there(pod: Any, spec: Any) -> str:
    annotations = mapping(mapping(pod.get("metadata")).get("annotations"))
    if STATUS in annotations:
        return "is injected already"
    if ISTIO_STATUS in annotations:
        return "has a sidecar of Istio"
    for _, container in containers(spec):
        name = container["name"]
        if name in (CONTAINER, INIT_CONTAINER):
            return f"has a container named {name} already"
        if name in OTHERS:
            return f"has a sidecar of {OTHERS[name]}"
    return ""


def _refused_by_spec(spec: Any, settings: Settings) -> str:
    if spec.get("hostNetwork") is True:
        return "uses the host's network (hostNetwork), whose traffic is not the pod's own"
    system = mapping(spec.get("os")).get("name") or mapping(spec.get("nodeSelector")).get("kubernetes.io/os")
    if system not in (None, "linux"):
        return f"runs on {system}; capture is for Linux"
    if not spec.get("containers"):
        return "has no containers"
    who = _runs_as(spec)
    if settings.interception != "none" and who:
        return f"runs as {who}, whose traffic is taken for the sidecar's own"
    return ""


def _runs_as(what: Any) -> str:
    """The sidecar's own user or group, where a pod or container runs as one of them: the capture rules go by both."""
    context = mapping(what.get("securityContext"))
    found = (
        word for field, word in (("runAsUser", "user"), ("runAsGroup", "group")) if context.get(field) == UID
    )
    return next((f"{word} {UID}" for word in found), "")


def _refused_by_container(spec: Any, settings: Settings) -> str:
    for _, container in containers(spec):
        name = container["name"]
        who = _runs_as(container)
        if who and settings.interception != "none":
            return f"runs container {name} as {who}, whose traffic is taken for the sidecar's own"
        for port in container.get("ports") or ():
            number = port["containerPort"]
            if number in PORTS:
                return f"has port {number} in container {name}, which is the sidecar's ({PORTS[number]})"
    return ""


def _refused_volumes(spec: Any) -> str:
    for volume in spec.get("volumes") or ():
        if volume["name"].startswith(f"{CONTAINER}-"):
            return f"has a volume named {volume['name']}, which is the sidecar's"
    return ""
