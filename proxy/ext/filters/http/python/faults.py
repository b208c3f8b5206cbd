"""What goes wrong in an operator's filter: counted always, logged with its traceback while it is not too much."""

from __future__ import annotations

import logging
from collections.abc import Callable

from proxy.stats.store import Scope

log = logging.getLogger("filter")

LOGGED = 10  # tracebacks
WINDOW_S = 10.0


class Faults:
    """Of one configured filter.

    errors: hooks that raised, ran out of time or found no room, each once; timeouts, overflow: those of them that did
    """

    __slots__ = ("_logged", "_monotonic", "_name", "_silent", "_since", "errors", "overflow", "timeouts")

    def __init__(self, name: str, scope: Scope, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._monotonic = monotonic
        self._since = monotonic()
        self._logged = 0
        self._silent = 0
        self.errors = scope.counter("errors")
        self.timeouts = scope.counter("timeouts")
        self.overflow = scope.counter("overflow")

    def report(self, hook: str, error: BaseException) -> None:
        """Count and log one."""
        self.errors.value += 1
        now = self._monotonic()
        if now - self._since >= WINDOW_S:
            if self._silent:
                log.error("python filter %s: %d more errors were not logged", self._name, self._silent)
            self._since, self._logged, self._silent = now, 0, 0
        if self._logged >= LOGGED:
            self._silent += 1
            return
        self._logged += 1
        log.error("python filter %s: %s failed", self._name, hook, exc_info=error)
