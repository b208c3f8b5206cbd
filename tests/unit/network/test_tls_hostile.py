"""TlsTransport without a socket."""

from __future__ import annotations

import ctypes
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from proxy.network.openssl import ByAddress, reach
from proxy.network.tls import PeerRules, TlsSide
from proxy.network.tls_transport import TlsTransport
from proxy.stats.store import Store
from proxy.stats.tls import TlsStats
from tests.support.certs import Authority

PAIR = Authority().signs("server", dns=("front.example",))


class Ends:
    """Both ends of a connection: ours, and the client's OpenSSL. group: the one that ours takes, "" for any"""

    def __init__(self, folder: Path, group: str = "") -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*PAIR.write(folder, "server"))
        if group:
            context.set_ecdh_curve(group)
        self.stats = TlsStats(Store().scope("listener"), True)
        side = TlsSide(context, True, PeerRules((), frozenset(), frozenset()), self.stats)
        self.above: Any = Mock()
        self.socket: Any = Mock()
        self.socket.is_closing.return_value = False
        self.ours = TlsTransport(self.above, side)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.socket.write.side_effect = self.incoming.write
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        self.client = client.wrap_bio(self.incoming, self.outgoing)
        self.ours.connection_made(self.socket)

    def says(self) -> bytes:
        """The client's next flight."""
        with suppress(ssl.SSLWantReadError):
            self.client.do_handshake()
        return self.outgoing.read()

    def shake(self, cut: Callable[[bytes], bytes] = bytes) -> None:
        """cut: what becomes of the client's records on the way"""
        for _ in range(2):
            self.ours.data_received(cut(self.says()))
        assert self.stats.handshake.value == 1


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    made = Ends(tmp_path)
    made.shake()
    return made


def test_what_comes_after_the_end_is_not_kept(ends: Ends) -> None:
    """The other half goes on, as for a tunnel."""
    ends.above.eof_received.return_value = True
    with suppress(ssl.SSLWantReadError):
        ends.client.unwrap()
    ends.ours.data_received(ends.outgoing.read())
    assert ends.ours.half
    for _ in range(10):
        ends.ours.data_received(bytes(65536))
    assert ends.ours._in.pending == 0
    assert not ends.above.data_received.called


@pytest.mark.parametrize("goes_on", [True, False])
def test_an_end_without_a_goodbye_is_one(ends: Ends, goes_on: bool) -> None:
    """Whoever only shuts TCP down still hears the answer, where the connection above goes on with one half."""
    ends.above.eof_received.return_value = goes_on
    assert ends.ours.eof_received() is goes_on
    assert ends.socket.close.called is not goes_on
    if goes_on:
        ends.ours.write(b"answer")
        assert ends.client.read(100) == b"answer"


def test_many_records_of_one_read_are_one_call(ends: Ends) -> None:
    for number in range(100):
        ends.client.write(b"%d " % number)
    ends.ours.data_received(ends.outgoing.read())
    ends.above.data_received.assert_called_once_with(b"".join(b"%d " % number for number in range(100)))


def in_bytes(data: bytes) -> bytes:
    """A hello, a byte a record."""
    if data[:1] != b"\x16":
        return data
    return b"".join(b"\x16\3\1\0\1" + data[at : at + 1] for at in range(5, len(data)))


def test_a_hello_in_pieces_of_one_byte(tmp_path: Path) -> None:
    """More records than OpenSSL is given at once: the handshake goes on with each piece."""
    Ends(tmp_path).shake(in_bytes)


@pytest.mark.parametrize(("size", "is_over"), [(16_384, False), (16_385, True)])
def test_the_hello_after_a_request_for_another_group(tmp_path: Path, size: int, is_over: bool) -> None:
    """It is asked for its length as the first is."""
    ends = Ends(tmp_path, "prime256v1")  # not what OpenSSL's clients begin with
    ends.ours.data_received(ends.says())
    assert ends.incoming.pending
    assert not ends.socket.close.called
    ends.ours.data_received(b"\x14\3\3\0\1\1" + b"\x16\3\3\0\4\1" + size.to_bytes(3))
    assert ends.socket.close.called is is_over
    assert ends.stats.connection_error.value == int(is_over)


def test_what_is_encrypted_is_no_hello(tmp_path: Path) -> None:
    """The end of a handshake of TLS 1.2 may begin with any byte."""
    ends = Ends(tmp_path)
    ends.client.context.maximum_version = ssl.TLSVersion.TLSv1_2
    ends.client = ends.client.context.wrap_bio(ends.incoming, ends.outgoing)
    ends.ours.data_received(ends.says())
    assert ends.incoming.pending and not ends.above.on_tls_failed.called
    ends.ours.data_received(b"\x14\3\3\0\1\1" + b"\x16\3\3\0\x28\1\xff\xff\xff" + bytes(36))
    (words,) = ends.above.on_tls_failed.call_args.args
    assert "EXCESSIVE_MESSAGE_SIZE" not in words, "OpenSSL has looked at it"


@pytest.mark.parametrize(("waiting", "is_cut_off"), [(0, False), (100, True)])
def test_answers_that_nobody_reads(ends: Ends, waiting: int, is_cut_off: bool) -> None:
    """A KeyUpdate that asks for one, with data: waiting: bytes that the client has not taken."""
    openssl = reach()
    if not isinstance(openssl, ByAddress):
        pytest.skip("OpenSSL is not at hand")
    update = openssl._library.SSL_key_update
    update.argtypes, update.restype = [ctypes.c_void_p, ctypes.c_int], ctypes.c_int
    ends.socket.get_write_buffer_size.return_value = waiting
    ends.socket.write.side_effect = None
    for _ in range(1000):
        assert update(openssl._of_connection(ends.client), 1) == 1
        ends.client.write(b"x")
        ends.ours.data_received(ends.outgoing.read())
        if ends.socket.abort.called:
            break
    assert ends.socket.abort.called is is_cut_off
    assert ends.stats.connection_error.value == int(is_cut_off)
