"""TlsTransport: TLS between a socket's transport and a connection that reads and writes plain bytes.

To the event loop it is the protocol, to the connection it is the transport. OpenSSL works on memory: one read of the
socket is one call of the connection at most, and one write of the connection is one write of the socket.

A server's connection exists from the accept on, as in Envoy, and hears nothing until the handshake is over. A client's
is told of its transport (``connection_made``) once the handshake is over; till then only that it failed.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from proxy.base.stream_info import HANDSHAKE_TIMEOUT
from proxy.base.x509 import BadCertificate
from proxy.network.handshake_deadline import HandshakeDeadline
from proxy.network.layer import TransportLayer
from proxy.network.tls import TlsRefused, tls_error
from proxy.network.tls_hello import TOO_LONG, ClientHello, asks_again, is_whole
from proxy.network.tls_records import TlsRecords

if TYPE_CHECKING:
    from proxy.base.tls_info import TlsInfo
    from proxy.network.tls import TlsSide

SHAKING: Final = 0
FRESH: Final = 1  # secure, and nothing read yet
STEADY: Final = 2
OVER: Final = 3
#: the most a record holds (RFC 8446 5.1), which is what OpenSSL gives at once; more room than that is malloc's work for
#: nothing (256 KiB cost 15 us a read)
_RECORD_BYTES: Final = 16 * 1024
#: what OpenSSL may have to say beside what we write (session tickets, answers to KeyUpdate) leaves with the next write, for
#: nobody waits for it; but not more than this
_HELD_BYTES: Final = 4096
#: answers of OpenSSL's own that a peer may leave unread: 600 KeyUpdates
_MOST_UNREAD: Final = 16 * 1024


class TlsTransport(TransportLayer):
    """One connection's TLS."""

    __slots__ = (
        "_awaits",
        "_has_begun",
        "_hello",
        "_in",
        "_out",
        "_records",
        "_tls",
        "_unread",
        "deadline",
        "ends",
        "failure",
        "half",
        "peer_name",
        "preface",
        "rules",
        "server_name",
        "side",
        "state",
        "unwritten",
    )

    def __init__(
        self,
        connection: Any,
        side: TlsSide,
        server_name: str = "",
        peer_name: str = "",
        alpn: tuple[str, ...] = (),
        preface: bytes = b"",
    ) -> None:
        """connection: an asyncio.Protocol with ``on_secure(TlsInfo)`` and ``on_tls_failed(words)``; connection_lost
        follows the latter where connection_made came before. peer_name: what the peer's certificate has to name, ""
        for what is configured. alpn: see ``TlsSide.begin``; preface: said in plain text before all TLS"""
        TransportLayer.__init__(self, connection)
        self.peer_name = peer_name
        self.side = side
        self.server_name = server_name
        self.state = SHAKING
        self.failure = ""
        self.deadline: HandshakeDeadline | None = None
        self.preface = preface
        self.ends = False  # our half, once the handshake is over
        self.half = False  # the peer has ended its half, and ours goes on
        self.unwritten: list[bytes] = []
        self._awaits = side.is_server  # what comes next is the beginning of a client's hello
        self._hello: ClientHello | None = None  # of which a part has come
        self._has_begun = False
        self._unread = 0  # bytes of answers since the peer had taken all
        if not side.is_server:
            self._begin(alpn)

    # -- the loop's calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        side = self.side
        if side.is_server:
            side.cx_total.value += 1
            side.cx_active.value += 1
            self.connection.connection_made(self)
            if not side.is_ready:
                self._fail(side.unready(), aborts=False)
        elif side.is_ready:
            if self.preface:
                self.transport.write(self.preface)
            self._shake()
        else:
            self._fail(side.unready(), aborts=True)

    def data_received(self, data: bytes) -> None:
        if self.state == OVER:
            return  # the peer has said its last
        if self._awaits:
            data = self._await_hello(data)
            if not data:
                return
        self._in.write(self._records.first(data))
        if self.state == SHAKING:
            while not self._shake():
                if self.state != SHAKING or not self._records.left():
                    return
                self._in.write(self._records.next())
        self._read()

    def _read(self) -> None:
        """Give the connection all that can be read now, in one call."""
        records = self._records
        parts: list[bytes] = []
        said = self._out.pending
        while True:
            before = len(parts)
            try:
                ended = self._decrypt(parts)
            except ssl.SSLError:
                self.side.stats.connection_error.value += 1
                self._push()
                self.abort()
                return
            if records.are_too_many(len(parts) - before):
                self.side.stats.flooded()
                self.abort()
                return
            if ended or not records.left():
                break
            self._in.write(records.next())
        if self._out.pending > said and not self._may_answer(self._out.pending - said):
            return
        if parts:
            if self.state == FRESH:
                self.state = STEADY
                self.side.keep(self._tls, self.server_name)
            self.connection.data_received(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._out.pending > _HELD_BYTES:
            self._push()
        if ended:
            records.drop()
            self._ended()

    def _decrypt(self, parts: list[bytes]) -> bool:
        """All that OpenSSL has, a part a record; True: TLS has ended. Raises ssl.SSLError."""
        tls = self._tls
        source = self._in
        try:
            while source.pending or tls.pending():
                part = tls.read(_RECORD_BYTES)
                if not part:
                    return True
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            return True
        return False

    def eof_received(self) -> bool:
        """TCP's end: an end of the peer's half without a word of TLS before it too, as in Envoy."""
        if self.state != OVER:
            self._ended()
        return self.half

    def _ended(self) -> None:
        """The peer has said its last. The connection may still have something to say to it."""
        if self.state == OVER:
            return
        if self.state == SHAKING:
            self._fail("", aborts=True)
            return
        self.state = OVER
        self.half = bool(self.connection.eof_received())
        if not self.half:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        was = self.state
        self.state = OVER
        self._end_deadline()
        if self.side.is_server:
            self.side.cx_active.value -= 1
            if was == SHAKING:
                self.failure = "closed"  # there is nobody to say goodbye to, and nothing to say it with
                self.side.stats.connection_error.value += 1
            self.connection.connection_lost(exc)
        elif was == SHAKING:
            self.connection.on_tls_failed("")
        elif not self.failure:
            self.connection.connection_lost(exc)
        self.unwritten.clear()
        self.connection = None  # it holds us: a cycle of 32 KB each

    # -- the handshake -------------------------------------------------------------------------------------------

    def _shake(self) -> bool:
        """A step of the handshake; True once it is over, well."""
        try:
            self._tls.do_handshake()
            info = self.side.shaken(self._tls, self.rules, self.peer_name, self.server_name)
        except ssl.SSLWantReadError:
            if self._out.pending:
                out = self._out.read()
                self._awaits = self.side.is_server and asks_again(out)
                self._send(out)
            return False
        except TlsRefused as refused:  # a name for each: compiled, a variable has one type
            self._fail(self.side.refused(refused), aborts=True)
            return False
        except BadCertificate as unreadable:  # OpenSSL is more lenient than we
            self.side.stats.fail_verify_error.value += 1
            self._fail(tls_error("CERTIFICATE_VERIFY_FAILED", str(unreadable)), aborts=True)
            return False
        except ssl.SSLError as failure:
            self._push()
            self._fail(self.side.failed(failure), aborts=False)
            return False
        self._shaken(info)
        return self.state == FRESH

    def _shaken(self, info: TlsInfo) -> None:
        """The handshake is over, well."""
        self.state = FRESH
        self._end_deadline()
        self._awaits = False
        self._records.shaken(info.version == "TLSv1.3")
        is_server = self.side.is_server
        if is_server and info.version != "TLSv1.3":
            self._push()  # the end of the handshake; in TLS 1.3 that was before the client's
        self.connection.on_secure(info)
        if not is_server:
            self.connection.connection_made(self)
        for data in self.unwritten:
            self.write(data)
        self.unwritten.clear()
        if not is_server and self._out.pending:
            self._push()  # there was nothing to write with it
        if self.ends:
            self._say_goodbye()

    def _await_hello(self, data: bytes) -> bytes:
        """What OpenSSL is to have of it; b"" for nothing, or nothing yet."""
        if self._hello is not None or not is_whole(data):
            hello = self._hello or ClientHello()
            taken = hello.take(data)
            if taken is None:
                self._hello = hello
                return b""
            self._hello = None
            data = taken
        self._awaits = False
        if data == TOO_LONG:
            self.side.stats.connection_error.value += 1
            self._fail(tls_error("EXCESSIVE_MESSAGE_SIZE"), aborts=False)
        elif not self._has_begun:
            self._begin()
        return data

    def _begin(self, alpn: tuple[str, ...] = ()) -> None:
        """From here on it costs what OpenSSL's connections cost."""
        side = self.side
        self._has_begun = True
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._records = TlsRecords()
        self.rules = side.rules  # of its context; others may be in force once the handshake is over
        self._tls = side.begin(self._in, self._out, self.server_name, alpn)

    def expire(self) -> None:
        """The handshake takes too long."""
        self.connection.info.local_close_reason = HANDSHAKE_TIMEOUT
        self._fail("", aborts=True)

    def _end_deadline(self) -> None:
        if self.deadline is not None:
            self.deadline.end()
            self.deadline = None

    def _fail(self, words: str, aborts: bool) -> None:
        self.state = OVER
        self._end_deadline()
        self.failure = words or "closed"
        self.connection.on_tls_failed(words)
        if aborts:
            self.transport.abort()
        else:
            self.transport.close()

    def _may_answer(self, size: int) -> bool:
        """What OpenSSL itself says to what was read, a KeyUpdate for a KeyUpdate, waits while the peer takes nothing; and
        nobody is held back by it."""
        if not self.transport.get_write_buffer_size():
            self._unread = 0
        self._unread += size
        if self._unread <= _MOST_UNREAD:
            return True
        self.side.stats.flooded()
        self.abort()
        return False

    def _push(self) -> None:
        self._send(self._out.read())

    def _send(self, out: bytes) -> None:
        if out and not self.transport.is_closing():
            self.transport.write(out)

    # -- the connection's calls ----------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """One write: records already waiting (session tickets, say) leave with it."""
        if self.state == SHAKING:
            self.unwritten.append(data)
        elif self._encrypt(data):
            self.transport.write(self._out.read())

    def write_last(self, data: bytes) -> None:
        """One write with the goodbye."""
        if self.state == SHAKING:
            self.unwritten.append(data)
        else:
            self._encrypt(data)

    def _encrypt(self, data: bytes) -> bool:
        """Whether it is in what goes out now; if not, that is the end."""
        try:
            written = self._tls.write(data)
            while written < len(data):
                written += self._tls.write(data[written:])
        except ssl.SSLError:
            self.abort()
            return False
        return True

    def close(self) -> None:
        """Say goodbye (close_notify), then close once all is written."""
        if self.state in (FRESH, STEADY) or (self.state == OVER and not self.failure):
            self._say_goodbye()
        self.transport.close()

    def can_write_eof(self) -> bool:
        return False  # not in a way that a peer which waits for TCP's end would notice

    def write_eof(self) -> None:
        """End our half (close_notify); what the peer says is read on."""
        if self.state == SHAKING:
            self.ends = True
            return
        self._say_goodbye()

    def _say_goodbye(self) -> None:
        try:
            self._tls.unwrap()
        except (ssl.SSLError, OSError):  # it wants the peer's, which is not waited for
            pass
        self._push()
