"""What a server's TlsTransport writes to its socket, and when."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from proxy.network.openssl import ByAddress, find
from proxy.network.tls import PeerRules, TlsSide
from proxy.network.tls_transport import TlsTransport
from proxy.stats.store import Store
from proxy.stats.tls import TlsStats
from tests.support.certs import Authority

CA = Authority()
SERVER = CA.signs("server")
ANYBODY = PeerRules((), frozenset(), frozenset())


class Socket:
    """An asyncio.Transport that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class Above:
    """The connection above; keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.info: Any = None
        self.failure = ""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def on_secure(self, info: Any) -> None:
        self.info = info

    def on_tls_failed(self, words: str) -> None:
        self.failure = words

    def data_received(self, data: bytes) -> None:
        self.heard += data


class Rig:
    """A server's end over a socket of ours, and a client in memory."""

    def __init__(self, folder: Path, version: ssl.TLSVersion, rules: PeerRules = ANYBODY) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*SERVER.write(folder, "server"))
        side = TlsSide(server, True, rules, TlsStats(Store().scope("listener.l"), True))
        self.above, self.socket = Above(), Socket()
        self.ours = TlsTransport(self.above, side)
        self.ours.connection_made(self.socket)  # type: ignore[arg-type]
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(cadata=CA.pem)
        client.maximum_version = version
        self.there, self.back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.back, self.there)
        self.read = 0

    def turn(self) -> None:
        """What the client has said goes to the server, and what that says comes back."""
        try:
            self.client.do_handshake()
        except ssl.SSLWantReadError:
            pass
        self.deliver()
        for data in self.socket.writes[self.read :]:
            self.back.write(data)
        self.read = len(self.socket.writes)

    def deliver(self) -> None:
        data = self.there.read()
        if data:
            self.ours.data_received(data)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    made = Rig(tmp_path, request.param)
    for _ in range(3):
        made.turn()
    assert made.above.info is not None
    return made


def test_tickets_leave_with_the_first_write(rig: Rig) -> None:
    """In TLS 1.2 they are part of the handshake, and the client waits for its end."""
    assert len(rig.socket.writes) == (2 if rig.above.info.version == "TLSv1.2" else 1)
    before = len(rig.socket.writes)
    rig.ours.write(b"answer")
    assert len(rig.socket.writes) == before + 1
    rig.turn()
    assert rig.client.read(100) == b"answer"
    assert rig.client.session is not None and rig.client.session.has_ticket


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_judged_by_the_rules_of_when_it_came(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """Its handshake goes on in the context of then, which may let in who has still to be looked at."""
    rig = Rig(tmp_path, version, PeerRules((), frozenset({"00" * 32}), frozenset()))
    rig.turn()
    rig.ours.side.renew(rig.ours.side.context, ANYBODY)
    rig.turn()
    rig.turn()
    assert rig.above.info is None and rig.socket.closed
    assert "peer did not return a certificate" in rig.above.failure


def test_the_answer_and_what_was_held_are_one_write(rig: Rig) -> None:
    rig.client.write(b"question")
    before = len(rig.socket.writes)
    rig.deliver()
    assert rig.above.heard == b"question" and len(rig.socket.writes) == before
    rig.ours.write(b"answer")
    assert len(rig.socket.writes) == before + 1


def test_what_was_held_leaves_with_the_goodbye(rig: Rig) -> None:
    before = len(rig.socket.writes)
    rig.ours.close()
    assert len(rig.socket.writes) == before + 1 and rig.socket.closed
    rig.turn()
    assert rig.client.read(1) == b"", "it has ended well"


def test_no_more_than_so_much_is_held(tmp_path: Path) -> None:
    """A client that asks for new keys again and again."""
    openssl = find()
    if not isinstance(openssl, ByAddress):
        pytest.skip("this Python's OpenSSL cannot be told to ask for new keys")
    import ctypes

    update = openssl._library.SSL_key_update
    update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    rig = Rig(tmp_path, ssl.TLSVersion.TLSv1_3)
    for _ in range(3):
        rig.turn()
    for _ in range(400):
        assert update(openssl._of_connection(rig.client), 1) == 1  # SSL_KEY_UPDATE_REQUESTED
        rig.client.write(b".")
        rig.deliver()
        assert rig.ours._out.pending <= 4096
    written = sum(map(len, rig.socket.writes[rig.read :]))
    assert rig.above.heard == b"." * 400 and written + rig.ours._out.pending > 400 * 25


class Asks(Above):
    """A connection to a host, which asks as soon as it is there."""

    def __init__(self, question: bytes) -> None:
        super().__init__()
        self.question = question

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.question:
            transport.write(self.question)


@pytest.mark.parametrize("question", [b"question", b""])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_question_leaves_with_the_end_of_the_handshake(
    tmp_path: Path, version: ssl.TLSVersion, question: bytes
) -> None:
    """Which is said all the same where there is none yet."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.load_verify_locations(cadata=CA.pem)
    ours.maximum_version = version
    stats = TlsStats(Store().scope("cluster.c"), False)
    side = TlsSide(ours, False, PeerRules((), frozenset(), frozenset()), stats)
    above, wire = Asks(question), Socket()
    layer = TlsTransport(above, side)
    layer.connection_made(wire)  # type: ignore[arg-type]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*SERVER.write(tmp_path, "server"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    host = server.wrap_bio(there, back, True)
    for _ in range(3):
        there.write(b"".join(wire.writes))
        said, wire.writes[:] = len(wire.writes), []
        try:
            host.do_handshake()
        except ssl.SSLWantReadError:
            pass
        data = back.read()
        if data:
            layer.data_received(data)
        assert said <= 1, "a flight is a write"
    there.write(b"".join(wire.writes))
    host.do_handshake()  # it is over for the host as well
    assert above.info.version == host.version()
    if question:
        assert host.read(100) == question
