"""TlsRecords: where the records of a peer's TLS end, so that those which bring nothing can be counted.

What is in TLS 1.3's records cannot be seen from without: a KeyUpdate takes OpenSSL 23 us (36 with the answer that it asks
for) and its peer 27 bytes, and OpenSSL takes any number of them in one call. BoringSSL, and so Envoy, ends a connection
after 32 in a row. Here OpenSSL is given a few records at once, and those that gave no data are counted.
"""

from __future__ import annotations

from typing import Final

_HEAD: Final = 5  # type, version, length (RFC 8446 5.1)
_DATA: Final = 23
#: TLS 1.3's record without data: a type, a tag. OpenSSL itself takes no more than 32 in a row
_EMPTY: Final = 17
_AT_ONCE: Final = 32  # records
#: records in a row that are neither data nor empty, after which a connection is ended: BoringSSL's number
_IN_A_ROW: Final = 32
#: the same, not in a row, of what came with one read of the socket: 256 of them take us 9 ms
_IN_A_READ: Final = 256


class TlsRecords:
    """Of one connection, from its first byte on: ``first``, then ``next`` while there is something ``left``."""

    __slots__ = (
        "_at",
        "_data",
        "_head",
        "_hides",
        "_in_a_read",
        "_in_a_row",
        "_is_other",
        "_missing",
        "_other",
    )

    def __init__(self) -> None:
        self._hides = False  # of what kind a record is (TLS 1.3)
        self._data = b""  # what was read of the socket
        self._at = 0  # how far it was given out
        self._head = b""  # of a record of which less than that has come
        self._missing = 0  # bytes of a record of which more has come
        self._is_other = False  # that record is, or may be, something else than data
        self._other = 0  # such records in the piece given out last
        self._in_a_row = self._in_a_read = 0

    def first(self, data: bytes) -> bytes:
        """What of ``data``, which was read of the socket, OpenSSL is to have first."""
        self._in_a_read = 0
        if not self._missing and not self._head and len(data) >= _HEAD:
            size = data[3] << 8 | data[4]
            if size + _HEAD == len(data):  # a record, whole: as nearly all are
                self._other = int(data[0] != _DATA or (self._hides and size != _EMPTY))
                return data
        self._data = data
        self._at = 0
        return self.next()

    def next(self) -> bytes:
        """What comes after that."""
        data, began = self._data, self._at
        end = len(data)
        count = 0
        self._other = 0
        at = self._go_on(data, began) if self._missing or self._head else began
        while count < _AT_ONCE and at + _HEAD <= end:
            size = data[at + 3] << 8 | data[at + 4]
            if at + _HEAD + size > end:
                break
            self._other += data[at] != _DATA or (self._hides and size != _EMPTY)
            at += _HEAD + size
            count += 1
        if count < _AT_ONCE and at < end:
            at = self._go_on(data, at)
        self._at = at
        if at < end:
            return data[began:at]
        self.drop()
        return data[began:]

    def left(self) -> bool:
        """Whether ``next`` has something to give."""
        return bool(self._data)

    def drop(self) -> None:
        """Nobody wants the rest."""
        self._data = b""

    def _go_on(self, data: bytes, at: int) -> int:
        """Of a record that is not there whole; how far what is there of it goes."""
        if not self._missing:
            head = self._head + data[at : at + _HEAD - len(self._head)]
            at += len(head) - len(self._head)
            if len(head) < _HEAD:
                self._head = head
                return at
            self._head = b""
            self._missing = head[3] << 8 | head[4]
            self._is_other = head[0] != _DATA or (self._hides and self._missing != _EMPTY)
        taken = min(self._missing, len(data) - at)
        self._missing -= taken
        if not self._missing:
            self._other += self._is_other
        return at + taken

    def shaken(self, hides: bool) -> None:
        """The handshake, whose records do not count, is over."""
        self._hides = hides
        self._other = 0

    def are_too_many(self, count: int) -> bool:
        """Of the piece given out last ``count`` records brought data; whether that is too little."""
        other = self._other
        if self._hides:
            other = max(0, other - count)
        self._in_a_row = 0 if count else self._in_a_row + other
        self._in_a_read += other
        return self._in_a_row > _IN_A_ROW or self._in_a_read > _IN_A_READ
