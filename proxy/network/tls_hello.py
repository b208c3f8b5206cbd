"""How long a client's hello says it is, before OpenSSL is asked.

OpenSSL takes 128 KiB, and makes room for as much as the first four bytes say, whether it comes or not: a connection that
sends nine bytes costs 158 KiB. BoringSSL, and so Envoy, takes 16 KiB.
"""

from __future__ import annotations

from typing import Final

LONGEST_HELLO: Final = 16 * 1024
#: what cannot be told yet
UNKNOWN: Final = -1

_HEAD: Final = 5  # of a record: type, version, length (RFC 8446 5.1)
_CHANGE_CIPHER_SPEC: Final = 20  # comes before a second hello, and says nothing
_HANDSHAKE: Final = 22
_MESSAGE_HEAD: Final = 4  # type, length (RFC 8446 4)
_HELLO: Final = b"\1"
#: a ServerHello with this for its random asks for another hello (RFC 8446 4.1.3): SHA-256 of "HelloRetryRequest"
_ASKS_AGAIN: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
_RANDOM_AT: Final = _HEAD + _MESSAGE_HEAD + 2  # behind the version
_MOST_BYTES: Final = 64  # before the four are there, in whatever records: one each, at worst


def hello_size(data: bytes) -> int:
    """Bytes of the hello with which a client begins, 0 for none; UNKNOWN while too little has come; more than
    LONGEST_HELLO for bytes that put off saying it."""
    head = b""
    at = 0
    while at + _HEAD <= len(data):
        kind, size = data[at], data[at + 3] << 8 | data[at + 4]
        at += _HEAD
        if kind == _HANDSHAKE:
            head += data[at : min(at + size, at + _MESSAGE_HEAD)]
            if head and head[:1] != _HELLO:
                return 0
            if len(head) >= _MESSAGE_HEAD:
                return int.from_bytes(head[1:_MESSAGE_HEAD], "big")
        elif kind != _CHANGE_CIPHER_SPEC:
            return 0
        at += size
    return UNKNOWN if len(data) < _MOST_BYTES else LONGEST_HELLO + 1


def asks_again(flight: bytes) -> bool:
    """Whether what a server says is a HelloRetryRequest. After anything else a client's records may be encrypted, and
    their bytes say nothing."""
    return flight[_RANDOM_AT : _RANDOM_AT + len(_ASKS_AGAIN)] == _ASKS_AGAIN
