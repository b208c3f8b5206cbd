"""What building clusters and balancing needs from the rest of the program, passed in once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from proxy.upstream.dns import SYSTEM_RESOLVER

_NO_VARIABLES: Mapping[str, str] = {}

if TYPE_CHECKING:
    from proxy.api.discovery import Secrets, Sources
    from proxy.base.clock import Clock
    from proxy.base.ids import Ids
    from proxy.base.registry import Registry
    from proxy.base.timers import TimerWheel
    from proxy.runtime.runtime import Runtime
    from proxy.stats.store import Store
    from proxy.upstream.dns import Resolver, ResolverOptions
    from proxy.upstream.pool_connection import Connector


class UpstreamContext(NamedTuple):
    """connector: opens connections; resolver: looks names up (both from the network room); registry: load balancers.
    default_resolver: how clusters look names up that say nothing of it. environ: environment variables.
    sources: make subscriptions of what comes while we run; secrets: certificates and the like by name"""

    clock: Clock
    timers: TimerWheel
    ids: Ids
    stats: Store
    registry: Registry
    connector: Connector
    resolver: Resolver
    runtime: Runtime
    default_resolver: ResolverOptions = SYSTEM_RESOLVER
    environ: Mapping[str, str] = _NO_VARIABLES
    sources: Sources | None = None
    secrets: Secrets | None = None
