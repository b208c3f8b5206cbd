"""Hostile TLS peers: records made by hand with the keys of a handshake that Python's ssl has done.

``python -m tests.support.tls_attacks PORT NAME SECONDS CONNECTIONS`` floods a TLS server on loopback and prints "ready"
when it begins, and what it did as JSON.
"""

from __future__ import annotations

import hmac
import json
import select
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.network.openssl import reach

HANDSHAKE, ALERT, DATA = 22, 21, 23
KEY_UPDATE = b"\x18\0\0\1"


def context(version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    made.set_ciphers("ECDHE+AESGCM+AES128")
    openssl = reach()
    if openssl is not None:  # who lets clients choose would take another, whose keys ``record`` does not know
        openssl.set_ciphersuites(made, "TLS_AES_128_GCM_SHA256")
    return made


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label of one block (RFC 8446 7.1)."""
    named = b"tls13 " + label.encode()
    info = size.to_bytes(2) + bytes([len(named)]) + named + b"\0"
    block = hmac.digest(secret, info + b"\1", "sha256")
    if size > len(block):
        raise ValueError(size)
    return block[:size]


def prf(secret: bytes, seed: bytes, size: int) -> bytes:
    """TLS 1.2's (RFC 5246 5)."""
    out, a = b"", seed
    while len(out) < size:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + seed, "sha256")
    return out[:size]


class Hostile:
    """One connection whose handshake is over; ``record`` makes what the server will be able to read.

    is_new: TLS 1.3 with AES 128, else 1.2 with the same
    """

    def __init__(self, port: int, is_new: bool = True) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.is_new = is_new
        made = context(ssl.TLSVersion.TLSv1_3 if is_new else ssl.TLSVersion.TLSv1_2)
        with tempfile.NamedTemporaryFile() as log:
            made.keylog_filename = log.name
            heard = self._shake(made)
            lines = [line.split() for line in log.read().decode().splitlines() if line[:1] != "#"]
        secrets = {label: (bytes.fromhex(of), bytes.fromhex(what)) for label, of, what in lines}
        if is_new:
            self._secret = secrets["CLIENT_TRAFFIC_SECRET_0"][1]
            self._use()
            return
        random, master = secrets["CLIENT_RANDOM"]
        block = prf(master, b"key expansion" + heard[11:43] + random, 40)
        self._aead, self._iv, self._sequence = AESGCM(block[:16]), block[32:36], 1

    def _shake(self, made: ssl.SSLContext) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = made.wrap_bio(incoming, outgoing, server_hostname="front.example")
        heard = b""
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.sock.sendall(outgoing.read())
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("closed in the handshake") from None
                heard += data
                incoming.write(data)
        self.sock.sendall(outgoing.read())
        return heard

    def _use(self) -> None:
        self._aead = AESGCM(expand(self._secret, "key", 16))
        self._iv = expand(self._secret, "iv", 12)
        self._sequence = 0

    def record(self, kind: int, body: bytes) -> bytes:
        sequence = self._sequence.to_bytes(8)
        self._sequence += 1
        if self.is_new:
            nonce = (int.from_bytes(self._iv) ^ int.from_bytes(sequence)).to_bytes(12)
            head = b"\x17\3\3" + (len(body) + 17).to_bytes(2)
            return head + self._aead.encrypt(nonce, body + bytes([kind]), head)
        tied = sequence + bytes([kind]) + b"\3\3" + len(body).to_bytes(2)
        sealed = self._aead.encrypt(self._iv + sequence, body, tied)
        return bytes([kind]) + b"\3\3" + (len(sealed) + 8).to_bytes(2) + sequence + sealed

    def key_update(self, asks: bool) -> bytes:
        made = self.record(HANDSHAKE, KEY_UPDATE + bytes([asks]))
        self._secret = expand(self._secret, "traffic upd", 32)
        self._use()
        return made


#: what a connection sends
Make = Callable[[Hostile], bytes]


def key_updates(asks: bool, requests: bool = False) -> Make:
    """requests: with a byte of application data in every 16, so that there are never 32 in a row without."""

    def make(peer: Hostile) -> bytes:
        made = [peer.record(DATA, b"GET /never HTTP/1.1\r\nhost: a\r\nx: ")] if requests else []
        for number in range(20_000):
            made.append(peer.key_update(asks))
            if requests and number % 16 == 15:
                made.append(peer.record(DATA, b"x"))
        return b"".join(made)

    return make


def records(kind: int, body: bytes, count: int = 20_000) -> Make:
    return lambda peer: b"".join(peer.record(kind, body) for _ in range(count))


def one_byte_body(peer: Hostile) -> bytes:
    """A request's body in records of one byte, with an empty one between them."""
    head = peer.record(DATA, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
    return head + b"".join(peer.record(DATA, b"x") for _ in range(20_000))


def sprinkled(peer: Hostile) -> bytes:
    head = peer.record(DATA, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n")
    made = [head]
    for _ in range(1000):
        made += [peer.record(DATA, b"") for _ in range(20)]
        made.append(peer.record(DATA, b"x"))
    return b"".join(made)


def hello() -> bytes:
    """A ClientHello of TLS 1.2."""
    out = ssl.MemoryBIO()
    tls = context(ssl.TLSVersion.TLSv1_2).wrap_bio(ssl.MemoryBIO(), out, server_hostname="front.example")
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()[5:]


def endless(kind: bytes) -> Make:
    """A message of the handshake that is longer than may be, as far as it goes."""
    return lambda peer: (
        peer.record(HANDSHAKE, kind + b"\xff\xff\xff") + records(HANDSHAKE, bytes(16384), 200)(peer)
    )


#: name → (TLS 1.3, what is sent once the handshake is over)
FLOODS: dict[str, tuple[bool, Make]] = {
    "key-update": (True, key_updates(False)),
    "key-update-asked": (True, key_updates(True)),
    "key-update-data": (True, key_updates(False, True)),
    "key-update-asked-data": (True, key_updates(True, True)),
    "warning-1.2": (False, records(ALERT, b"\1\x5a")),
    "warning-1.3": (True, records(ALERT, b"\1\x5a")),
    "no-renegotiation": (False, records(ALERT, b"\1\x64")),
    "empty-1.2": (False, records(DATA, b"")),
    "empty-1.3": (True, records(DATA, b"")),
    "empty-sprinkled-1.2": (False, sprinkled),
    "empty-sprinkled-1.3": (True, sprinkled),
    "one-byte": (True, one_byte_body),
    "hello-request": (False, records(HANDSHAKE, b"\0\0\0\0")),
    "renegotiate": (False, records(HANDSHAKE, hello(), 5000)),
    "ticket-from-client": (True, records(HANDSHAKE, b"\4\0\0\x10" + bytes(16))),
    "handshake-without-end": (True, endless(b"\x18")),
    "handshake-without-end-1.2": (False, endless(b"\1")),
    "ccs-1.2": (False, records(20, b"\1")),
    "ccs-1.3": (True, lambda peer: b"\x14\3\3\0\1\1" * 20_000),
}


def flood(port: int, name: str, seconds: float, count: int) -> dict[str, object]:
    """ended_s: when the last of ``count`` connections was ended by the server, None for not all; sent: bytes."""
    is_new, make = FLOODS[name]
    left: dict[socket.socket, memoryview] = {}
    for _ in range(count):
        peer = Hostile(port, is_new)
        left[peer.sock] = memoryview(make(peer))
        peer.sock.setblocking(False)
    print("ready", flush=True)
    begun = time.monotonic()
    sent = 0
    while left and time.monotonic() < begun + seconds:
        readable, writable, _ = select.select(left, [sock for sock in left if left[sock]], [], 0.1)
        for sock in {*readable, *writable}:
            try:
                if sock in writable:
                    size = sock.send(left[sock])
                    sent += size
                    left[sock] = left[sock][size:]
                elif not sock.recv(65536):
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                sock.close()
                del left[sock]
    return {"ended_s": None if left else time.monotonic() - begun, "sent": sent}


if __name__ == "__main__":
    print(json.dumps(flood(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))))
