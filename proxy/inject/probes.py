"""Probes of the application. The kubelet asks from outside the pod: where the sidecar demands mTLS it would be refused, and
where a port is captured a TCP probe would only ever find the sidecar. So they ask the sidecar, at a port that is not
captured, and the sidecar asks the application: ``/app-health/<container>/livez``.

Handlers of lifecycle hooks (postStart, preStop) are rewritten as well. ``exec`` runs in the container and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from proxy.inject.workload import mapping

PROBE_PORT = 15020
#: field of a container → last word of the path
PROBES = {"livenessProbe": "livez", "readinessProbe": "readyz", "startupProbe": "startupz"}
HOOKS = {"postStart": "poststartz", "preStop": "prestopz"}
HANDLERS = ("httpGet", "tcpSocket", "grpc")
LOCAL = ("", "localhost", "127.0.0.1", "::1")

#: (container, field path, original handler): what has to be put back
Original = dict[str, Any]


def handlers(container: Any) -> Iterator[tuple[Any, str, tuple[str, ...], str]]:
    """(the object that has the probe or hook, its name there, its path in the container, the path the sidecar answers)."""
    name = container["name"]
    for field, word in PROBES.items():
        if mapping(container.get(field)):
            yield container, field, (field,), f"/app-health/{name}/{word}"
    lifecycle = mapping(container.get("lifecycle"))
    for field, word in HOOKS.items():
        if mapping(lifecycle.get(field)):
            yield lifecycle, field, ("lifecycle", field), f"/app-lifecycle/{name}/{word}"


def is_shared(value: Any) -> bool:
    """Whether a YAML anchor is on it, or keys are merged into it from one."""
    anchor = getattr(value, "anchor", None)
    return getattr(anchor, "value", None) is not None or bool(getattr(value, "merge", None))


def rewrite(container: Any) -> tuple[dict[str, Any], list[Original]]:
    """Rewrite the container's handlers in place. Gives what the sidecar has to ask, by path, and what was there."""
    ports = {
        mapping(port)["name"]: mapping(port).get("containerPort")
        for port in container.get("ports") or ()
        if isinstance(mapping(port).get("name"), str)
    }
    probers: dict[str, Any] = {}
    originals: list[Original] = []
    for owner, field, path, url in handlers(container):
        holder = owner[field]
        kind = next((each for each in HANDLERS if each in holder), None)
        if kind is None:
            continue
        prober = _prober(kind, holder[kind], ports, holder.get("timeoutSeconds"))
        if prober is None:
            continue
        originals.append(
            {"container": container["name"], "field": list(path), kind: deepcopy(plain(holder[kind]))}
        )
        if is_shared(holder):  # an anchor elsewhere must not change with it
            holder = owner[field] = plain(holder)
        _replace(holder, kind, {"path": url, "port": PROBE_PORT})
        probers[url] = prober
    return probers, originals


def restore(container: Any, original: Original) -> None:
    """Put one handler back, if ours is still there."""
    holder: Any = container
    for step in original["field"]:
        holder = mapping(holder).get(step)
    here = mapping(mapping(holder).get("httpGet"))
    kind = next((each for each in HANDLERS if each in original), None)
    if kind is None or here.get("port") != PROBE_PORT or not str(here.get("path", "")).startswith("/app-"):
        return
    _replace(holder, "httpGet", original[kind], kind)


def _replace(holder: Any, old: str, handler: Any, new: str = "httpGet") -> None:
    """Another handler in the old one's place."""
    at = list(holder).index(old)
    if hasattr(holder, "insert"):  # ruamel's maps keep an order of their own
        del holder[old]
        holder.insert(at, new, handler)
        return
    items = list(holder.items())
    items[at] = (new, handler)
    holder.clear()
    holder.update(items)


def _prober(kind: str, handler: Any, ports: dict[str, Any], timeout: Any) -> dict[str, Any] | None:
    """What the sidecar asks; None for what it must not take over (another host, a port nobody knows)."""
    handler = mapping(handler)
    if handler.get("host", "") not in LOCAL:
        return None
    port = handler.get("port")
    number = ports.get(port) if isinstance(port, str) and not port.isdigit() else port
    try:
        number = int(number)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    asked = {key: deepcopy(plain(value)) for key, value in handler.items() if key != "host"}
    asked["port"] = number
    found: dict[str, Any] = {kind: asked}
    if isinstance(timeout, int):
        found["timeoutSeconds"] = timeout
    return found


def plain(value: Any) -> Any:
    """The value as plain dicts, lists and scalars (ruamel's are subclasses, with comments)."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
