"""A sidecar put into the pod of a workload, and taken out again.

What was done stands in the pod's annotation ``sidecar.outrider/status``, probes as they were included: so a second
injection knows that nothing is to do, and taking out gives back what was there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.inject import containers as made
from proxy.inject.decide import (
    CONTAINER,
    INIT_CONTAINER,
    asks_for_another,
    containers,
    malformed,
    refusal,
    wanted,
)
from proxy.inject.probes import Original, restore, rewrite
from proxy.inject.settings import SIDECAR, STATUS, BadSetting, Settings, merge, unknown
from proxy.inject.workload import Object, Workload, mapping

VERSION = 1
NATIVE_FROM = (1, 29)
#: a pod's terminationGracePeriodSeconds, and the sidecar's drain-time, where nobody says anything
GRACE_S, DRAIN_S = 30, 25
SCRAPE = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(made.METRICS_PORT),
    "prometheus.io/path": "/stats/prometheus",
}
#: where the sidecar finds its service's name
NAME_LABELS = ("app.kubernetes.io/name", "service.istio.io/canonical-name", "app")
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(slots=True)
class Outcome:
    """What became of one workload. changed: it was; why: if not, the reason; failed: the reason is a mistake of whoever
    wrote it; warnings: what to know besides."""

    workload: str
    changed: bool = False
    why: str = ""
    failed: bool = False
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True, frozen=True)
class Policy:
    """by_default: inject what says nothing; kubernetes: (major, minor) of the cluster; settings: of whoever runs this."""

    settings: Settings
    by_default: bool = True
    kubernetes: tuple[int, int] = (1, 33)


def version(text: str) -> tuple[int, int]:
    """ "1.29", "v1.29.3-gke.1" as (1, 29). Raises ValueError."""
    parts = text.strip().removeprefix("v").split(".")
    if len(parts) < 2:
        raise ValueError(f"{text!r} is no version like 1.29")
    minor = parts[1].rstrip("+").partition("-")[0]
    return int(parts[0]), int(minor)


def inject(workload: Workload, policy: Policy) -> Outcome:
    """Change the workload's pod in place, or say why not."""
    outcome = Outcome(workload.said)
    annotations = mapping(mapping(mapping(workload.pod).get("metadata")).get("annotations"))
    try:
        settings = merge(policy.settings, annotations, workload.annotations)
        want = wanted(workload, settings)
    except BadSetting as error:
        outcome.why, outcome.failed = f"is left alone: {error}", True
        return outcome
    outcome.warnings += [f"annotation {name} is not known" for name in unknown(annotations)]
    if want == "false" or (want != "true" and not policy.by_default):
        outcome.why = "is not to be injected" if want == "false" else "does not ask to be injected"
        return outcome
    native = policy.kubernetes >= NATIVE_FROM if settings.native == "auto" else settings.native == "true"
    other = asks_for_another(workload)
    outcome.why = refusal(workload, settings, native) or ("" if want == "true" else other)
    if not outcome.why:
        if other:
            outcome.warnings.append(f"{other} as well: only one of them can capture its traffic")
        settings = _with_time_to_drain(workload, settings, outcome)
        _put_in(workload, settings, native)
        outcome.changed = True
    return outcome


def _with_time_to_drain(workload: Workload, settings: Settings, outcome: Outcome) -> Settings:
    """The sidecar ends before Kubernetes kills the pod, and not sooner than need be: requests of a pod that has ten minutes
    may take ten. Of a period that is not the usual it gets as much as its default is of that."""
    given = mapping(mapping(workload.pod).get("spec")).get("terminationGracePeriodSeconds")
    period_s = int(given) if isinstance(given, int) else GRACE_S
    if settings.drain_time:
        if int(settings.drain_time.removesuffix("s")) >= max(period_s, 1):
            outcome.warnings.append(
                f"drain-time {settings.drain_time} is cut short by terminationGracePeriodSeconds {period_s}"
            )
        return settings
    if period_s == GRACE_S:
        return settings
    return replace(settings, drain_time=str(max(1, period_s * DRAIN_S // GRACE_S)))


def _put_in(workload: Workload, settings: Settings, native: bool) -> None:
    pod: Any = workload.pod
    spec = pod["spec"]
    first = spec["containers"][0]["name"]
    probers, originals = _rewrite_probes(spec) if settings.rewrite_probes == "true" else ({}, [])
    sidecar = made.sidecar_container(settings, _service(workload), native, probers)
    added = {"initContainers": [], "containers": [], "volumes": []}  # type: dict[str, list[str]]
    before = [made.init_container(settings)] if settings.interception == "redirect" else []
    if native:
        # before every other one: from the rules on nobody has a network without the sidecar
        _add(spec, "initContainers", [*before, sidecar], 0, added)
    else:
        _add(spec, "initContainers", before, None, added)  # behind the others, which need the network
        _add(spec, "containers", [sidecar], 0 if settings.hold_application == "true" else None, added)
    _add(spec, "volumes", made.volumes(), None, added)
    _annotate(pod, settings, added, originals, first)


def _service(workload: Workload) -> str:
    """The workload's name, unless the pod says itself what its service is."""
    metadata = mapping(mapping(workload.pod).get("metadata"))
    labels, annotations = mapping(metadata.get("labels")), mapping(metadata.get("annotations"))
    says = SIDECAR + "service" in annotations or any(labels.get(name) for name in NAME_LABELS)
    return "" if says else workload.name


def _rewrite_probes(spec: Any) -> tuple[dict[str, Any], list[Original]]:
    probers: dict[str, Any] = {}
    originals: list[Original] = []
    for kind, container in containers(spec):
        if kind == "initContainers" and container.get("restartPolicy") != "Always":
            continue  # has no probes
        asked, was = rewrite(container)
        probers.update(asked)
        originals += was
    return probers, originals


def _add(
    spec: Any, name: str, items: list[dict[str, Any]], at: int | None, added: dict[str, list[str]]
) -> None:
    if not items:
        return
    there = spec.get(name)
    if not isinstance(there, list):
        there = spec[name] = []
    for step, item in enumerate(items):
        there.insert(len(there) if at is None else at + step, item)
        added[name].append(item["name"])


def _annotate(
    pod: Any, settings: Settings, added: dict[str, list[str]], originals: list[Original], first: str
) -> None:
    metadata = pod.get("metadata")
    if not isinstance(metadata, dict):
        metadata = pod["metadata"] = {}
    had = isinstance(metadata.get("annotations"), dict)
    annotations = metadata["annotations"] if had else {}
    extra: dict[str, str] = {}
    if settings.scrape == "true" and not any(str(name).startswith("prometheus.io/") for name in annotations):
        extra.update(SCRAPE)
    if DEFAULT_CONTAINER not in annotations:
        extra[DEFAULT_CONTAINER] = first
    status = {"version": VERSION, **added, "annotations": list(extra), "probes": originals}
    annotations.update(extra)
    annotations[STATUS] = json.dumps(status, separators=(",", ":"))
    if not had:
        metadata["annotations"] = annotations


def uninject(workload: Workload) -> Outcome:
    """Take out what ``inject`` put in, in place."""
    outcome = Outcome(workload.said)
    pod: Any = workload.pod
    annotations = mapping(mapping(mapping(pod).get("metadata")).get("annotations"))
    if STATUS not in annotations:
        outcome.why = "is not injected"
        return outcome
    try:
        status = _read_status(str(annotations[STATUS]))
    except ValueError as error:
        outcome.why, outcome.failed = f"is left alone: {STATUS} {error}", True
        return outcome
    spec = pod["spec"]
    outcome.why = malformed(spec)
    if outcome.why:
        return outcome
    for name in ("initContainers", "containers", "volumes"):
        _remove(spec, name, status[name])
    for original in status["probes"]:
        for _, container in containers(spec):
            if container["name"] == original["container"]:
                restore(container, original)
    for name in (*status["annotations"], STATUS):
        annotations.pop(name, None)
    if not annotations:
        del pod["metadata"]["annotations"]
        if not pod["metadata"]:
            del pod["metadata"]
    outcome.changed = True
    return outcome


def _read_status(text: str) -> Object:
    try:
        status = json.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None
    lists = ("initContainers", "containers", "volumes", "annotations", "probes")
    if not isinstance(status, dict) or not all(isinstance(status.get(name), list) for name in lists):
        raise ValueError("was not written by this injector")
    if status.get("version") != VERSION:
        raise ValueError(f"is of version {status.get('version')}, this injector writes {VERSION}")
    ours = (CONTAINER, INIT_CONTAINER)
    if not all(name in ours for name in (*status["containers"], *status["initContainers"])):
        raise ValueError("names containers that are not this injector's")
    for name in (*status["volumes"], *status["annotations"]):
        if not isinstance(name, str):
            raise ValueError("was not written by this injector")
    for original in status["probes"]:
        if not isinstance(mapping(original).get("field"), list) or "container" not in original:
            raise ValueError("was not written by this injector")
    return status


def _remove(spec: Any, name: str, names: list[str]) -> None:
    items = spec.get(name)
    if not isinstance(items, list) or not names:
        return
    for at in reversed(range(len(items))):
        if items[at]["name"] in names:
            del items[at]
    if not items:
        del spec[name]
