"""What must be known before somebody begins to serve: a listener waits for its routes and certificates, the process for
its listeners. Envoy's init manager, its targets and its watcher.

A target is added at configuration time with what begins its work; ``InitManager.initialize`` begins them all and calls
back once every one has said ``ready``. Whatever becomes of the work, a target must say so once: a source that fails is
ready too.
"""

from __future__ import annotations

from collections.abc import Callable


class InitTarget:
    """One thing waited for, by one manager or by several. name: what it is; begin: starts the work, and may call
    ``ready`` at once; it is called by each manager."""

    __slots__ = ("begin", "is_ready", "managers", "name")

    def __init__(self, name: str, begin: Callable[[], None]) -> None:
        self.name = name
        self.begin = begin
        self.is_ready = False
        self.managers: list[InitManager] = []

    def ready(self) -> None:
        """It is there, or will not come. Later calls are of no effect."""
        if self.is_ready:
            return
        self.is_ready = True
        managers, self.managers = self.managers, []
        for manager in managers:
            manager.settle(self)


class InitManager:
    """The targets of one owner. name: whose; waiting: those that are not ready, in order; begun: ``initialize`` was
    called: a target added later begins at once, and is waited for when others still are.
    """

    __slots__ = ("_callback", "begun", "is_ready", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[InitTarget] = []
        self.begun = False
        self.is_ready = False
        self._callback: Callable[[], None] | None = None

    def add(self, target: InitTarget) -> None:
        """Wait for it as well."""
        if target.is_ready:
            return
        if not self.is_ready:
            target.managers.append(self)
            self.waiting.append(target)
        if self.begun:
            target.begin()

    def initialize(self, on_ready: Callable[[], None]) -> None:
        """Begin every target's work; ``on_ready()`` once they are all ready, which may be now."""
        self.begun = True
        self._callback = on_ready
        for target in list(self.waiting):
            target.begin()
        self._finish()

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._callback = None

    def settle(self, target: InitTarget) -> None:
        """The target is ready."""
        if target in self.waiting:
            self.waiting.remove(target)
            self._finish()

    def _finish(self) -> None:
        if not self.begun or self.waiting or self.is_ready:
            return
        self.is_ready = True
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
