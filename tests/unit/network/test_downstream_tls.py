"""A client's connection over TLS: one write for an answer, the goodbye included."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.network.tls import PeerRules, TlsSide
from proxy.network.tls_transport import TlsTransport
from proxy.stats.store import Store
from proxy.stats.tls import TlsStats
from tests.support.certs import Authority
from tests.support.config import tcp_proxy
from tests.support.memory_loop import Pipe
from tests.support.transcript import RawTranscript, Transcript

CA = Authority()
SERVER = CA.signs("server")
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


class Recorded(Pipe):
    """Keeps each write by itself."""

    def __init__(self, *given: Any) -> None:
        self.writes: list[bytes] = []
        super().__init__(*given)

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)


class Secured:
    """A client over TLS 1.3, its handshake behind it. writes: what each write to the socket since then was"""

    def __init__(self, talk: Transcript, folder: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*SERVER.write(folder, "server"))
        stats = TlsStats(Store().scope("listener.l"), True)
        side = TlsSide(context, True, PeerRules((), frozenset(), frozenset()), stats)
        above = cast(Any, talk.listener.filter.new_connection(talk.listener, talk.dispatcher))
        layer = TlsTransport(above, side)
        self.talk = talk
        self.pipe = Recorded(talk.loop, layer, talk.peer, ("127.0.0.1", 10000))
        layer.connection_made(cast(Any, self.pipe))
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(cadata=CA.pem)
        self.there, self.back = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.wrap_bio(self.back, self.there)
        self.seen = 0
        for _ in range(2):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self._exchange()
        self.writes = self.pipe.writes
        self.writes.clear()

    def __call__(self, data: bytes) -> None:
        self.tls.write(data)
        self._exchange()

    def _exchange(self) -> None:
        self.pipe.arrive(self.there.read())
        self.talk.loop.run()
        self._take()

    def _take(self) -> None:
        self.back.write(bytes(self.pipe.got[self.seen :]))
        self.seen = len(self.pipe.got)

    def reads(self) -> bytes:
        """What has come, in plain text; ends with b"<end>" where the server has said goodbye."""
        self._take()
        text = b""
        while True:
            try:
                part = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return text
            if not part:
                return text + b"<end>"
            text += part


@pytest.fixture
def talk() -> Transcript:
    return Transcript()


@pytest.fixture
def client(talk: Transcript, tmp_path: Path) -> Iterator[Secured]:
    made = Secured(talk, tmp_path)
    yield made
    talk.waits(301)
    made.pipe.set_protocol(None)  # as uvloop's transports do when all is over


def test_the_goodbye_is_in_the_last_answer(talk: Transcript, client: Secured) -> None:
    client(GET)
    talk.upstream(0).replies()
    assert len(client.writes) == 1, "the session ticket is in it"
    assert client.reads().startswith(b"HTTP/1.1 200 OK\r\n")
    client(LAST)
    talk.upstream(0).replies()
    assert len(client.writes) == 2
    text = client.reads()
    assert b"connection: close" in text and text.endswith(b"<end>")
    assert client.pipe.at_end


def test_a_client_that_does_not_take_its_last_answer_is_left(talk: Transcript, client: Secured) -> None:
    client.pipe.stalled = True
    client(LAST)
    talk.upstream(0).replies()
    assert not client.pipe.at_end
    talk.waits(301)
    assert client.pipe.reset or client.pipe.lost


def test_who_may_still_be_sending_is_waited_for(talk: Transcript, client: Secured) -> None:
    """The answer is sent at once, the end comes when the wait is over."""
    client(b"POST /local HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 10\r\n\r\n12345")
    talk.upstream(0).replies()
    assert len(client.writes) == 1
    assert client.reads().endswith(b"\r\n\r\nok") and not client.pipe.at_end
    talk.waits(2)
    assert client.pipe.reset


def test_a_host_is_connected_to_with_the_end_of_the_handshake() -> None:
    mode = {"upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE", "max_early_data_bytes": 0}
    talk = RawTranscript(tcp_proxy("a", **mode))
    assert talk.stats["cluster.a.upstream_cx_total"] == 1, "there is no TLS to wait for"
    stats = TlsStats(Store().scope("listener.l"), True)
    side = TlsSide(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), True, PeerRules((), frozenset(), frozenset()), stats
    )
    session = cast(Any, talk.listener.filter.new_connection(talk.listener, talk.dispatcher))
    layer = TlsTransport(session, side)
    pipe = Pipe(talk.loop, layer, talk.peer, ("127.0.0.1", 10000))
    layer.connection_made(cast(Any, pipe))
    talk.loop.run()
    assert talk.stats["cluster.a.upstream_cx_total"] == 1
    session.on_secure(cast(Any, object()))
    talk.loop.run()
    assert talk.stats["cluster.a.upstream_cx_total"] == 2
    session.abort()
    talk.loop.run()
    pipe.set_protocol(None)  # else a cycle
