"""Waiting for what another process does, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(done: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Ask again and again until it is done. Raises AssertionError after the time."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}"
        time.sleep(0.01)
