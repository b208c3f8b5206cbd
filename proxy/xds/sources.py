"""ConfigSource (envoy.config.core.v3) → a subscription. Implements ``api.discovery.Sources``.

What speaks with a control plane, or reads a file, is imported when a source of its kind is named: most processes name none.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.xds.stats import SubscriptionStats

if TYPE_CHECKING:
    from proxy.api.discovery import Receiver, Subscription
    from proxy.base.clock import Clock
    from proxy.http.context import FactoryContext
    from proxy.network.file_watch import FileWatcher
    from proxy.stats.store import Scope
    from proxy.xds.control_plane import ApiSource
    from proxy.xds.grpc import GrpcSubscription, Mux
    from proxy.xds.transport import Transport

_NEEDS_NODE: Final = (
    "node 'id' and 'cluster' are required: write them in 'node', or give --service-node and --service-cluster"
)
CONFIG_SOURCE: Final = "envoy.config.core.v3.ConfigSource"


class ConfigSources:
    """Every source that a bootstrap can name. ``connect`` and ``finish`` belong to compiling the bootstrap: clusters may
    name sources before there is what streams go through, and before the cluster they go to is known.

    rejects_unknown: fields that the schema does not know refuse an update (--reject-unknown-dynamic-fields)
    """

    def __init__(self, watcher: FileWatcher, clock: Clock, rejects_unknown: bool = False) -> None:
        self.watcher = watcher
        self.clock = clock
        self.rejects_unknown = rejects_unknown
        self._transport: Transport | None = None
        self._context: FactoryContext | None = None
        self._ads: tuple[ApiSource, Mux] | None = None
        self._later: list[tuple[Reader, str, GrpcSubscription, Scope]] | None = []

    def connect(self, transport: Transport, context: FactoryContext) -> None:
        """What streams go through."""
        self._transport, self._context = transport, context

    @reads("envoy.config.core.v3.ApiConfigSource")
    def set_ads(self, reader: Reader) -> None:
        """dynamic_resources.ads_config."""
        from proxy.xds.control_plane import compile_api_source

        transport, context = self._connected()
        source = compile_api_source(reader, context)
        if source is not None:
            mux = source.open(transport, "", context.stats.scope(""))
            self._ads = source, mux

    def finish(self) -> None:
        """Everything of the bootstrap is compiled: whom subscriptions go to is known now."""
        later, self._later = self._later or [], None
        for reader, type_name, subscription, scope in later:
            self._attach(reader, type_name, subscription, scope)

    def close(self) -> None:
        """The process ends."""
        if self._ads is not None:
            self._ads[1].close()

    def _connected(self) -> tuple[Transport, FactoryContext]:
        assert self._transport is not None and self._context is not None, "connect() comes first"
        return self._transport, self._context

    @reads(CONFIG_SOURCE)
    def subscribe(
        self, source: Reader, type_name: str, name: str, receiver: Receiver, scope: Scope
    ) -> Subscription | None:
        """See Sources."""
        _check_version(source)
        node = self._connected()[1].node
        if not (node.id and node.cluster):
            source.fail("", f"{type_name}: {_NEEDS_NODE}")
        timeout_s = source.seconds("initial_fetch_timeout", 15.0)
        kind = source.which("config_source_specifier")
        if kind in ("ads", "api_config_source"):
            return self._by_grpc(source, type_name, name, receiver, scope, timeout_s or 0.0)
        source.unsupported("self", "is not supported; ads, api_config_source and path_config_source are")
        path, directory = source.text("path"), ""
        file = source.sub("path_config_source")
        if file is not None:
            path, directory = _compile_path(file)
        if not path:
            if kind is None:
                source.fail("", "needs ads, api_config_source or path_config_source")
            return None
        if not os.path.exists(path):
            words = f"paths must refer to an existing path in the system: '{path}' does not exist"
            source.fail("path_config_source" if file is not None else "path", words)
            return None
        from proxy.xds.file import FileSubscription

        stats = SubscriptionStats(scope, self.clock)
        return FileSubscription(
            path, directory, type_name, receiver, stats, self.watcher, self.rejects_unknown
        )

    def _by_grpc(
        self,
        source: Reader,
        type_name: str,
        name: str,
        receiver: Receiver,
        scope: Scope,
        timeout_s: float,
    ) -> Subscription | None:
        from proxy.xds.grpc import GrpcSubscription

        assert self._transport is not None, "connect() comes first"
        stats = SubscriptionStats(scope, self.clock)
        made = GrpcSubscription(name, receiver, stats, timeout_s, self._transport)
        if self._later is not None:
            self._later.append((source, type_name, made, scope))
        elif not self._attach(source, type_name, made, scope):
            return None
        return made

    @reads(CONFIG_SOURCE)
    def _attach(self, source: Reader, type_name: str, made: GrpcSubscription, scope: Scope) -> bool:
        """Give it its stream; False with a finding."""
        ads, api = source.sub("ads"), source.sub("api_config_source")
        if ads is not None:
            if self._ads is None:
                source.unsupported("ads", "there is no dynamic_resources.ads_config: nothing would ever come")
                return False
            configured, mux = self._ads
            made.find_kind = partial(configured.kind, mux, type_name)
            return True
        assert api is not None
        from proxy.xds.control_plane import compile_api_source

        transport, context = self._connected()
        own = compile_api_source(api, context, type_name)
        if own is None:
            return False
        made.owns_mux = True
        made.find_kind = partial(own.open_for, transport, type_name, scope)
        return True


@reads(CONFIG_SOURCE)
def _check_version(source: Reader) -> None:
    if source.enum("resource_api_version") == "V2":
        source.fail("resource_api_version", "V2 is no longer spoken; V3 is")
    source.unsupported("authorities", "xdstp:// resources are not supported")


@reads("envoy.config.core.v3.PathConfigSource")
def _compile_path(reader: Reader) -> tuple[str, str]:
    """(the file, the directory to watch in its place or "")."""
    return reader.text("path"), compile_watched(reader.sub("watched_directory"))


@reads("envoy.config.core.v3.WatchedDirectory")
def compile_watched(reader: Reader | None) -> str:
    """Its path, "" for none."""
    return reader.text("path") if reader is not None else ""
