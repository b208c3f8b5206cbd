"""Request, trace and span ids from one seeded source, so that tests can repeat them."""

from __future__ import annotations

import random
from binascii import hexlify
from typing import Final

#: A random hexadecimal digit, as a byte → the digit of variant 10 (RFC 9562 section 4.1) with the same two low bits.
_VARIANT: Final = tuple(
    b"89ab"[int(chr(code), 16) & 3 :][:1] if chr(code) in "0123456789abcdef" else b"" for code in range(128)
)
#: so many request ids are drawn at once
_BLOCK: Final = 64
_DIGITS: Final = 32


class Ids:
    """Random ids; not secrets. Seeded from the operating system unless a seed is given."""

    __slots__ = ("_at", "_block", "getrandbits", "randbytes", "random", "randrange")

    def __init__(self, seed: int | None = None) -> None:
        source = random.Random(seed)
        self._block = b""  # hexadecimal digits, and where those of the next request id begin
        self._at = 0
        self.randbytes = source.randbytes
        self.getrandbits = source.getrandbits
        self.random = source.random
        self.randrange = source.randrange

    def request_id(self) -> bytes:
        """A UUID version 4 in its text form (RFC 9562 section 5.4), 36 bytes."""
        at = self._at
        if at == len(self._block):
            self._block = hexlify(self.randbytes(_BLOCK * _DIGITS // 2))
            at = 0
        self._at = at + _DIGITS
        block = self._block
        return b"%b-%b-4%b-%b%b-%b" % (
            block[at : at + 8],
            block[at + 8 : at + 12],
            block[at + 13 : at + 16],
            _VARIANT[block[at + 16]],
            block[at + 17 : at + 20],
            block[at + 20 : at + _DIGITS],
        )

    def id64(self) -> int:
        """A non-zero 64-bit id."""
        return self.getrandbits(64) or 1

    def id128(self) -> int:
        """A non-zero 128-bit id."""
        return self.getrandbits(128) or 1
