"""A subscription to a file (core.v3.PathConfigSource): read at once, and again whenever it is swapped by a rename."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from proxy.api.discovery import Receiver, Rejected
from proxy.api.load import load
from proxy.base.errors import ConfigRefused
from proxy.xds.resources import RESPONSE, read_resources

if TYPE_CHECKING:
    from proxy.network.file_watch import FileWatch, FileWatcher
    from proxy.xds.stats import SubscriptionStats

log = logging.getLogger("config")


class FileSubscription:
    """Implements ``api.discovery.Subscription``.

    path: a DiscoveryResponse in YAML, JSON, text or wire format; directory: watched in place of the file, "" for none
    name: the one resource wanted, "" for all
    """

    def __init__(
        self,
        path: str,
        directory: str,
        type_name: str,
        receiver: Receiver,
        stats: SubscriptionStats,
        watcher: FileWatcher,
        rejects_unknown: bool,
    ) -> None:
        self.path = path
        self.directory = directory
        self.type_name = type_name
        self.receiver = receiver
        self.stats = stats
        self._watcher = watcher
        self._rejects_unknown = rejects_unknown
        self._watch: FileWatch | None = None

    def start(self) -> None:
        """Read it, and go on watching."""
        try:
            if self.directory:
                self._watch = self._watcher.watch_directory(self.directory, self.refresh)
            else:
                self._watch = self._watcher.watch(self.path, self.refresh)
        except OSError as error:
            log.warning("cannot watch %s: %s", self.directory or self.path, error.strerror)
        self.refresh()

    def stop(self) -> None:
        """See Subscription."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def refresh(self) -> None:
        """Read the file. What cannot be read changes nothing, and is counted."""
        self.stats.update_attempt.value += 1
        loaded = load(RESPONSE, self.path, allow_unknown_fields=not self._rejects_unknown, checks_rules=False)
        response: Any = loaded.message
        try:
            if loaded.errors:
                self._fail(str(ConfigRefused(list(loaded.errors.findings))))
                return
            resources = read_resources(response, self.type_name, loaded.locator)
            self.receiver.on_update(resources, None, response.version_info)
        except Rejected as error:
            log.warning("%s: update rejected: %s", self.path, error)
            self.stats.update_rejected.value += 1
            self.receiver.on_unavailable()
            return
        self.stats.accepted(response.version_info)

    def _fail(self, reason: str) -> None:
        log.warning("%s: update failure: %s", self.path, reason)
        self.stats.update_failure.value += 1
        self.receiver.on_unavailable()
