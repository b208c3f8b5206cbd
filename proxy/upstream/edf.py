"""Earliest deadline first: turns by weight, as evenly spread as they can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace
from math import lcm
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.upstream.host import Host


# Deadlines are whole numbers below this, so that equal ones are equal: thirds do not add up in floats.
_EXACT: Final = 2**40


class EdfSchedule:
    """A host's next deadline is scale/weight after its last; among equals the one that waits longest comes first.

    The weight is asked for at each turn, so it may change in between.
    """

    __slots__ = ("_heap", "_scale", "_turn", "_weight")

    def __init__(self, hosts: Sequence[Host], weight: Callable[[Host], float], skip: int = 0) -> None:
        """hosts: at least one; skip: how many turns are over already (many proxies must not begin alike)."""
        self._weight = weight
        self._turn = len(hosts)
        common = lcm(*{host.weight for host in hosts})
        self._scale = float(common) if common < _EXACT else 1.0
        self._heap = [(self._scale / weight(host), turn, host) for turn, host in enumerate(hosts)]
        heapify(self._heap)
        for _ in range(skip):
            self.pick()

    def pick(self) -> Host:
        """Whose turn it is. O(log hosts)."""
        deadline, _, host = self._heap[0]
        self._turn += 1
        heapreplace(self._heap, (deadline + self._scale / self._weight(host), self._turn, host))
        return host


def has_weights(hosts: Sequence[Host]) -> bool:
    """Whether the hosts' weights differ."""
    return len({host.weight for host in hosts}) > 1
