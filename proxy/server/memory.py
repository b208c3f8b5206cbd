"""Memory that is not needed any more, given back to the system: what reading a large configuration took, and what bodies took
that were waiting for slow clients.

The C library keeps what is freed below whatever still lives, and little of ours would ever use it again: what small
Python objects take comes from elsewhere.
"""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

#: In wire format, a tenth of the text. Smaller configurations leave less than asking the C library costs (ctypes).
LARGE_BYTES: Final = 128 * 1024


def give_back(config: Message) -> None:
    """Nothing where the C library cannot be asked (musl, macOS)."""
    if config.ByteSize() < LARGE_BYTES:
        return
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


#: grown by less, nobody is asked: then ctypes is never imported
MUCH_BYTES: Final = 16 * 1024 * 1024
#: less is not worth fetching it again
WORTH_BYTES: Final = 8 * 1024 * 1024
LOOK_S: Final = 4.0


class Spare:
    """Looks every few seconds, while the process holds much more than it once did, how much of that is free. That takes 0.3 ms,
    giving 25 MB back 3 ms. held: bytes that are this process's alone"""

    __slots__ = ("_held", "_least", "_library", "_next")

    def __init__(self, held: Callable[[], int]) -> None:
        self._held = held
        self._least = 0  # that was ever held
        self._next = 0.0
        self._library: Any = None

    def look(self, now: float) -> None:
        """Now and then; monotonic seconds."""
        if now < self._next:
            return
        self._next = now + LOOK_S
        held = self._held()
        self._least = min(self._least or held, held)
        if held - self._least < MUCH_BYTES:
            return
        library = self._library = self._library or _library()
        if library is None:
            self._next = inf
        elif library.mallinfo2().fordblks >= WORTH_BYTES:
            library.malloc_trim(0)


def held_bytes() -> int:
    """What is in memory of this process and of no file; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            _, resident, shared, *_ = file.read(256).split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGESIZE")


def _library() -> Any:
    """The C library, with ``mallinfo2`` and ``malloc_trim``; None where it has not both (glibc 2.33 has)."""
    import ctypes

    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    fields = [(name, ctypes.c_size_t) for name in names.split()]
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallinfo2") and hasattr(library, "malloc_trim")):
        return None
    library.mallinfo2.restype = type("mallinfo2", (ctypes.Structure,), {"_fields_": fields})
    return library
