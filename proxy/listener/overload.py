"""The overload manager's limit of connections over all listeners (envoy.config.overload.v3.OverloadManager)."""

from __future__ import annotations

from proxy.api.reader import Reader, reads
from proxy.listener.listener import UNLIMITED
from proxy.runtime.runtime import Runtime
from proxy.runtime.slots import Watch
from proxy.runtime.snapshot import Snapshot

RUNTIME_KEY = "overload.global_downstream_max_connections"
MONITOR = "envoy.resource_monitors.global_downstream_max_connections"
CONNECTIONS = "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"


class ConnectionLimit:
    """How many downstream connections all listeners together may have open; ``open`` counts them."""

    __slots__ = ("most", "open", "watch")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0
        self.watch: Watch | None = None  # what keeps ``most`` as the runtime says


def limit_by_runtime(runtime: Runtime) -> ConnectionLimit:
    """The limit where the overload manager has none: the older runtime key, or no limit."""
    limit = ConnectionLimit(UNLIMITED)

    def refresh(snapshot: Snapshot) -> None:
        limit.most = snapshot.integer(RUNTIME_KEY, UNLIMITED)

    limit.watch = runtime.watch(refresh)
    return limit


@reads("envoy.config.overload.v3.OverloadManager")
def compile_overload(reader: Reader | None) -> ConnectionLimit | None:
    """The limit, None when there is none. Other monitors, and what they would trigger, are refused."""
    if reader is None:
        return None
    reader.ignore("refresh_interval", why="the limit of connections is looked at with each of them")
    reader.unsupported("actions", "overload actions are not supported yet; the limit of connections is")
    reader.unsupported("loadshed_points", "load shedding is not supported yet; the limit of connections is")
    limit: ConnectionLimit | None = None
    for monitor in reader.each("resource_monitors"):
        if monitor.text("name") == MONITOR and limit is not None:
            monitor.fail("name", "is there already")
        found = _compile_monitor(monitor)
        limit = found or limit
    return limit


@reads("envoy.config.overload.v3.ResourceMonitor")
def _compile_monitor(reader: Reader) -> ConnectionLimit | None:
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        reader.fail("typed_config", "is missing: a resource monitor needs its configuration")
        return None
    if config.type_name == CONNECTIONS:
        if name != MONITOR:
            reader.fail("name", f'must be "{MONITOR}": Envoy chooses resource monitors by name')
        return ConnectionLimit(config.number("max_active_downstream_connections"))
    reader.unsupported("", f"resource monitor {config.type_name} is not supported yet; {MONITOR} is")
    return None
