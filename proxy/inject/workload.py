"""Where a manifest keeps its pod: a Pod is one, the others have a template of one."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

Object = MutableMapping[str, Any]

#: kind → (group of apiVersion, path to the object that has the pod's metadata and spec)
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Pod": ("", ()),
    "Deployment": ("apps", ("spec", "template")),
    "StatefulSet": ("apps", ("spec", "template")),
    "DaemonSet": ("apps", ("spec", "template")),
    "ReplicaSet": ("apps", ("spec", "template")),
    "ReplicationController": ("", ("spec", "template")),
    "Job": ("batch", ("spec", "template")),
    "CronJob": ("batch", ("spec", "jobTemplate", "spec", "template")),
}
BATCH = frozenset({"Job", "CronJob"})


@dataclass(slots=True)
class Workload:
    """object: the whole manifest; pod: the part with the pod's metadata and spec, None where it should be and is not."""

    kind: str
    name: str
    object: Object
    pod: Object | None

    @property
    def said(self) -> str:
        """ "deployment/web"."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def annotations(self) -> dict[str, Any]:
        """Of the workload itself."""
        found: dict[str, Any] = mapping(mapping(self.object.get("metadata")).get("annotations"))
        return found

    @property
    def is_batch(self) -> bool:
        """Whether its pods are to end."""
        return self.kind in BATCH


def mapping(value: Any) -> Any:
    """The value when it is an object, else an empty one (``labels:`` without any is null)."""
    return value if isinstance(value, MutableMapping) else {}


def objects(document: Any) -> Iterator[Object]:
    """The objects of a document: itself, or the items of a List, however deep."""
    if not isinstance(document, MutableMapping):
        return
    kind = document.get("kind")
    items = document.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for item in items:
            yield from objects(item)
    else:
        yield document


def workload_of(manifest: Object) -> Workload | None:
    """None for what has no pods (a Service), or is not of Kubernetes' own (a Job of somebody's API)."""
    kind = manifest.get("kind")
    version = manifest.get("apiVersion")
    if not isinstance(kind, str) or kind not in KINDS or not isinstance(version, str):
        return None
    group, path = KINDS[kind]
    if (version.partition("/")[0] if "/" in version else "") != group:
        return None
    pod: Any = manifest
    for step in path:
        pod = mapping(pod).get(step)
    metadata = mapping(manifest.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName") or "(no name)"
    has_pod = isinstance(pod, MutableMapping) and isinstance(pod.get("spec"), MutableMapping)
    return Workload(kind, str(name), manifest, pod if has_pod else None)
