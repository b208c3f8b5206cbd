"""Signals of a process with a loop, up to its very end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def handle_signals(
    loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], object]]
) -> None:
    """Call the handlers in a turn of the loop. Main thread only. ``ignore_signals`` has to follow before the loop is closed.

    Not by the loop's ``add_signal_handler``: a loop that closes gives its signals back to the system, and one that comes
    before the interpreter has ended is the exit code then. (Blocking them does not help: the loop's own threads do not.)
    """
    for number, handler in handlers.items():
        signal.signal(number, partial(_in_a_turn, loop, handler))


def ignore_signals(numbers: Iterable[signal.Signals]) -> None:
    """From here to the end of the process: the interpreter resets handlers of Python when it ends, and not this one."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _in_a_turn(
    loop: asyncio.AbstractEventLoop, handler: Callable[[], object], _number: int, _frame: object
) -> None:
    """A signal comes between any two instructions; what it changes must not."""
    loop.call_soon_threadsafe(handler)
