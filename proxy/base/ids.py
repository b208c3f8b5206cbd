"""Request, trace and span ids from one seeded source, so that tests can repeat them."""

from __future__ import annotations

import random
from binascii import hexlify
from typing import Final

#: The bits of a UUID that are random in version 4, and the ones that say version 4, variant 10 (RFC 9562 section 5.4).
_RANDOM: Final = (1 << 128) - 1 & ~(0xF << 76) & ~(0b11 << 62)
_VERSION_4: Final = 4 << 76 | 0b10 << 62


class Ids:
    """Random ids; not secrets. Seeded from the operating system unless a seed is given."""

    __slots__ = ("getrandbits", "random", "randrange")

    def __init__(self, seed: int | None = None) -> None:
        source = random.Random(seed)
        self.getrandbits = source.getrandbits
        self.random = source.random
        self.randrange = source.randrange

    def request_id(self) -> bytes:
        """A UUID version 4 in its text form (RFC 9562 section 5.4), 36 bytes."""
        number = self.getrandbits(128) & _RANDOM | _VERSION_4
        digits = hexlify(number.to_bytes(16, "big"))
        return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def id64(self) -> int:
        """A non-zero 64-bit id."""
        return self.getrandbits(64) or 1

    def id128(self) -> int:
        """A non-zero 128-bit id."""
        return self.getrandbits(128) or 1
