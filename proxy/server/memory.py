"""What reading a large configuration took, given back to the system once everything is compiled.

The C library keeps what is freed below whatever still lives, and nothing of ours would ever use it again: what Python
objects take comes from elsewhere.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

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
