"""Time, passed in and never called bare: rooms that are given a Clock can be tested without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """monotonic(): seconds for durations and deadlines; wall(): seconds since the epoch for logs and spans."""

    __slots__ = ("monotonic", "wall")

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.monotonic = monotonic
        self.wall = wall
