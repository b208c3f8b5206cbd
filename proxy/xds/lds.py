"""LDS: listeners that come and go (envoy.config.listener.v3.Listener)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from proxy.api.discovery import Rejected, Resource, Subscription
from proxy.base.init import InitTarget

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext
    from proxy.listener.manager import ListenerManager

log = logging.getLogger("upstream")


class ListenerDiscovery:
    """Implements ``api.discovery.Receiver``. version: of the last update; target: ready with the first one.

    A listener that is refused does not hold up the others, as in Envoy; the update counts as rejected all the same.
    """

    def __init__(self, listeners: ListenerManager, context: FactoryContext) -> None:
        self.listeners = listeners
        self.context = context
        self.version = ""
        self.subscription: Subscription | None = None
        self.target = InitTarget("LDS", self._begin)

    def _begin(self) -> None:
        if self.subscription is not None:
            self.subscription.start()

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """See Receiver. What goes, goes first: another listener may want its address."""
        listeners = self.listeners
        if removed is None:
            names = {resource.name for resource in resources}
            removed = sorted(listeners.added_names() - names)
            for name in set(listeners.failed) - names:
                del listeners.failed[name]
        for name in removed:
            listeners.remove(name)
        refused: list[str] = []
        for resource in resources:
            try:
                listeners.update(resource, self.context)
            except Rejected as error:
                log.warning("lds: listener '%s' config rejected: %s", resource.name, error)
                refused.append(f"{resource.name}: {error}")
        self.version = version
        self.target.ready()
        if refused:
            raise Rejected(f"Error adding/updating listener(s) {', '.join(refused)}")

    def on_unavailable(self) -> None:
        """See Receiver."""
        self.target.ready()
