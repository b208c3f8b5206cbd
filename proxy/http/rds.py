"""RDS: the route table of a connection manager as a source sends it (envoy.config.route.v3.RouteConfiguration).

A new table takes the old one's place by one assignment; streams keep the route they have. Until the first one comes, a
listener is not served; where none comes in time, every request is answered with 404, as in Envoy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from proxy.api.discovery import Rejected, Resource, check
from proxy.api.pool import new_message
from proxy.api.reader import Reader, finish, reads
from proxy.base.init import InitTarget
from proxy.http.filter_config import ChainTable, level_compiler
from proxy.http.route_stats import make_table_stats
from proxy.router.route_table import RouteTable, compile_route_table

if TYPE_CHECKING:
    from proxy.api.discovery import Subscription
    from proxy.http.connection_manager import ConnectionManager
    from proxy.http.context import FactoryContext
    from proxy.stats.store import Scope

ROUTES: Final = "envoy.config.route.v3.RouteConfiguration"


class RouteDiscovery:
    """One connection manager's subscription. Implements ``api.discovery.Receiver``.

    message, version, updated_at: of the table in force, for /config_dump; message is None as long as there is none
    """

    __slots__ = (
        "_chains",
        "_context",
        "_hcm",
        "_reloaded_at",
        "_reloads",
        "message",
        "name",
        "subscription",
        "target",
        "updated_at",
        "version",
    )

    def __init__(self, name: str, hcm: ConnectionManager, context: FactoryContext, scope: Scope) -> None:
        self.name = name
        self.subscription: Subscription | None = None
        self.target = InitTarget(f"RdsRouteConfigSubscription RDS init {name}", self._begin)
        self.message: Any = None
        self.version = ""
        self.updated_at = 0.0
        self._hcm = hcm
        self._context = context
        self._chains: ChainTable | None = None
        self._reloads = scope.counter("config_reload")
        self._reloaded_at = scope.gauge("config_reload_time_ms")
        scope.counter("update_empty")
        hcm.route_table = self._compile(Reader(new_message(ROUTES)))

    def bind(self, chains: ChainTable) -> None:
        """The filters that the routes of every table run."""
        self._chains = chains

    def _begin(self) -> None:
        if self.subscription is not None:
            self.subscription.start()

    def close(self) -> None:
        """The connection manager is no longer used."""
        if self.subscription is not None:
            self.subscription.stop()

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """See Receiver."""
        if not resources:  # Envoy keeps the table of before, too
            self.target.ready()
            return
        if len(resources) != 1:
            raise Rejected(f"Unexpected RDS resource length: {len(resources)}")
        (resource,) = resources
        if resource.name != self.name:
            raise Rejected(f"Unexpected RDS configuration (expecting {self.name}): {resource.name}")
        if resource.message != self.message:
            reader = resource.reader()
            table = self._compile(reader)
            check(finish(reader))
            self._hcm.route_table = table
            wall = self._context.clock.wall()
            self.message, self.updated_at = resource.message, wall
            self._reloads.value += 1
            self._reloaded_at.set(int(wall * 1000))
        self.version = resource.version
        self.target.ready()

    def on_unavailable(self) -> None:
        """See Receiver."""
        self.target.ready()

    @reads(ROUTES)
    def _compile(self, reader: Reader) -> RouteTable:
        context = self._context
        table = compile_route_table(
            reader,
            context,
            context.clusters.clusters,
            validate_clusters=False,
            compile_level=level_compiler(context),
        )
        make_table_stats(table, context.stats.scope("vhost"))
        if self._chains is not None and self._chains.named:
            self._chains.bind(table)
        return table


HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3"


@reads(f"{HCM}.Rds")
def compile_rds(
    reader: Reader, hcm: ConnectionManager, context: FactoryContext, scope: Scope
) -> RouteDiscovery | None:
    """Not yet subscribed: the listener's init manager begins. None with a finding. scope: ``http.<stat_prefix>.``"""
    name, source = reader.text("route_config_name"), reader.sub("config_source")
    if source is None or context.sources is None:
        reader.fail("config_source", "is missing")
        return None
    if not name:
        reader.unsupported("", "has no route_config_name: there is nothing to subscribe to", whole=False)
        return None
    own = scope.scope("rds").scope(name)
    made = RouteDiscovery(name, hcm, context, own)
    made.subscription = context.sources.subscribe(source, ROUTES, name, made, own)
    if made.subscription is None:
        return None
    context.init.add(made.target)
    return made
