"""Request, trace and span ids from one seeded source, so that tests can repeat them."""

from __future__ import annotations

import random


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
        digits = b"%032x" % self.getrandbits(128)
        return b"%b-%b-4%b-%c%b-%b" % (
            digits[:8],
            digits[8:12],
            digits[13:16],
            b"89ab"[digits[16] & 3],
            digits[17:20],
            digits[20:],
        )

    def id64(self) -> int:
        """A non-zero 64-bit id."""
        return self.getrandbits(64) or 1

    def id128(self) -> int:
        """A non-zero 128-bit id."""
        return self.getrandbits(128) or 1
