"""ConfigSource (envoy.config.core.v3) → a subscription. Implements ``api.discovery.Sources``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.xds.file import FileSubscription
from proxy.xds.stats import SubscriptionStats

if TYPE_CHECKING:
    from proxy.api.discovery import Receiver, Subscription
    from proxy.base.clock import Clock
    from proxy.network.file_watch import FileWatcher
    from proxy.stats.store import Scope

CONFIG_SOURCE: Final = "envoy.config.core.v3.ConfigSource"


class ConfigSources:
    """Every source that a bootstrap can name.

    rejects_unknown: fields that the schema does not know refuse an update (--reject-unknown-dynamic-fields)
    """

    def __init__(self, watcher: FileWatcher, clock: Clock, rejects_unknown: bool = False) -> None:
        self.watcher = watcher
        self.clock = clock
        self.rejects_unknown = rejects_unknown

    @reads(CONFIG_SOURCE)
    def subscribe(
        self, source: Reader, type_name: str, name: str, receiver: Receiver, scope: Scope
    ) -> Subscription | None:
        """See Sources."""
        _check_version(source)
        source.seconds("initial_fetch_timeout", 15.0)  # a file's first answer, good or bad, is there at once
        source.unsupported("ads", "aggregated discovery (ADS) is not supported yet; path_config_source is")
        source.unsupported(
            "api_config_source", "discovery from a control plane is not supported yet; path_config_source is"
        )
        source.unsupported("self", "is for what a control plane sends; path_config_source is supported")
        path, directory = source.text("path"), ""
        file = source.sub("path_config_source")
        if file is not None:
            path, directory = _compile_path(file)
        if not path:
            if source.which("config_source_specifier") is None:
                source.fail("", "needs path_config_source")
            return None
        if not os.path.exists(path):
            words = f"paths must refer to an existing path in the system: '{path}' does not exist"
            source.fail("path_config_source" if file is not None else "path", words)
            return None
        stats = SubscriptionStats(scope, self.clock)
        return FileSubscription(
            path, directory, type_name, receiver, stats, self.watcher, self.rejects_unknown
        )


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
