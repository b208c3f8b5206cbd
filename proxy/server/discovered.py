"""What has come while we run, as the admin page shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from proxy.admin.state import Discovered

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.listener.manager import ListenerManager
    from proxy.server.bootstrap import Parts


def discovered(parts: Parts) -> list[Discovered]:
    """Every resource, section by section."""
    clusters = parts.clusters
    found = [
        Discovered("Clusters", each.name, state, each.version, each.updated_at, each.config.message)
        for state, group in (("active", clusters.clusters), ("warming", clusters.warming))
        for each in group.values()
        if each.added_via_api
    ]
    found += _listeners(parts.listeners)
    found += _routes([*parts.listeners.listeners, *parts.listeners.warming.values()])
    found += [
        Discovered(
            "Secrets",
            each.name,
            "warming" if each.message is None else "active",
            each.version,
            each.updated_at,
            each.shown,
        )
        for each in parts.secrets.secrets.values()
    ]
    return found


def discovered_versions(parts: Parts) -> Mapping[str, str]:
    """By section, the version of the last update of all of a kind."""
    dynamic = parts.dynamic
    sections = (("Clusters", dynamic.cds), ("Listeners", dynamic.lds))
    return {section: each.version for section, each in sections if each is not None and each.version}


def _listeners(manager: ListenerManager) -> Iterator[Discovered]:
    groups = (
        ("active", manager.listeners),
        ("warming", manager.warming.values()),
        ("draining", manager.draining),
    )
    shown = set()
    for state, group in groups:
        for each in group:
            if each.added_via_api:
                shown.add(each.name)
                failed = manager.failed.get(each.name)
                error = (failed.details, failed.at, failed.message) if failed is not None else None
                yield Discovered(
                    "Listeners", each.name, state, each.version, each.updated_at, each.message, error
                )
    for name, failed in manager.failed.items():
        if name not in shown:
            error = (failed.details, failed.at, failed.message)
            yield Discovered("Listeners", name, "active", "", failed.at, None, error)


def _routes(listeners: list[Listener]) -> Iterator[Discovered]:
    seen = []
    for listener in listeners:
        for chain in listener.filter_chains:
            hcm: Any = getattr(chain.filter, "hcm", None)
            rds = hcm.rds if hcm is not None else None
            if rds is not None and rds.message is not None and rds.message not in seen:
                seen.append(rds.message)
                yield Discovered("Routes", rds.name, "active", rds.version, rds.updated_at, rds.message)
