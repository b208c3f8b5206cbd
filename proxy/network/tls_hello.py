"""ClientHello: what a client begins with, held until all of it is there; OpenSSL is not asked before.

A connection of OpenSSL's costs 12 KiB before a byte has come and 47 KiB after the first one, for as long as the client
likes; one that is held here costs what it has sent. And OpenSSL takes 128 KiB, for which it makes room as soon as the first
four bytes say so: nine bytes cost 158 KiB. BoringSSL, and so Envoy, takes 16 KiB.
"""

from __future__ import annotations

from typing import Final

LONGEST_HELLO: Final = 16 * 1024
#: a hello that says it is longer, or puts off saying how long it is
TOO_LONG: Final = b""

_HEAD: Final = 5  # of a record: type, version, length (RFC 8446 5.1)
_CHANGE_CIPHER_SPEC: Final = 20  # comes before a second hello, and says nothing
_HANDSHAKE: Final = 22
_MESSAGE_HEAD: Final = 4  # type, length (RFC 8446 4)
_HELLO: Final = 1
#: a ServerHello with this for its random asks for another hello (RFC 8446 4.1.3): SHA-256 of "HelloRetryRequest"
_ASKS_AGAIN: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_RANDOM_AT: Final = _HEAD + _MESSAGE_HEAD + 2  # behind the version
_PUTS_OFF: Final = 64  # bytes before the four are there, in whatever records: one each, at worst
_MOST_HELD: Final = LONGEST_HELLO + 4096  # for the heads of records: eight hundred


def is_whole(data: bytes) -> bool:
    """Whether it begins with a hello in one record, all of it, as nearly every client sends it."""
    if len(data) < _HEAD + _MESSAGE_HEAD or data[0] != _HANDSHAKE or data[_HEAD] != _HELLO:
        return False
    size = data[3] << 8 | data[4]
    if size + _HEAD > len(data):
        return False
    message = data[_HEAD + 1] << 16 | data[_HEAD + 2] << 8 | data[_HEAD + 3]
    return message + _MESSAGE_HEAD <= size and message <= LONGEST_HELLO


class ClientHello:
    """One, in whatever records and pieces it comes."""

    __slots__ = ("_at", "_had", "_head", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._at = 0  # of the first record in it that was not looked at to its end
        self._head = b""  # the message's, as far as those before hold it
        self._had = 0  # bytes of the message in those

    def take(self, data: bytes) -> bytes | None:
        """What OpenSSL is to have, all that has come: a hello, what is none, or one in so small records that it would cost
        more here. None: more has to come. TOO_LONG: nothing, it is to be refused."""
        held = self._held = self._held + data
        head = self._head
        while self._at + _HEAD <= len(held):
            size = held[self._at + 3] << 8 | held[self._at + 4]
            body = self._at + _HEAD
            if held[self._at] == _HANDSHAKE:
                head = self._head + held[body : min(body + size, body + _MESSAGE_HEAD - len(self._head))]
                if head and head[0] != _HELLO:
                    return held
                if len(head) == _MESSAGE_HEAD and int.from_bytes(head[1:]) > LONGEST_HELLO:
                    return TOO_LONG
            elif held[self._at] != _CHANGE_CIPHER_SPEC:
                return held
            if body + size > len(held):
                break  # the record is not whole
            if held[self._at] == _HANDSHAKE:
                self._head = head
                self._had += size
                if len(head) == _MESSAGE_HEAD and self._had >= _MESSAGE_HEAD + int.from_bytes(head[1:]):
                    return held
            self._at = body + size
        if len(head) < _MESSAGE_HEAD and len(held) >= _PUTS_OFF:
            return TOO_LONG
        return held if len(held) > _MOST_HELD else None


def asks_again(flight: bytes) -> bool:
    """Whether what a server says is a HelloRetryRequest. After anything else a client's records may be encrypted, and
    their bytes say nothing."""
    return flight[_RANDOM_AT : _RANDOM_AT + len(_ASKS_AGAIN)] == _ASKS_AGAIN
