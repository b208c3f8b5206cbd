"""One end of a TCP connection that carries bytes, and a host that plays a script on each connection."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any, Self

from tests.support.closing import Closing

TIMEOUT_S = 10.0
SHOWN = 80


class TcpPeer(Closing):
    """heard: what it was told, in order: bytes, then "end", "reset" or "silence".

    A secured one (``ssl.SSLSocket``) ends its half by TLS's own word.
    """

    def __init__(self, sock: socket.socket, timeout_s: float = TIMEOUT_S) -> None:
        self.sock = sock
        sock.settimeout(timeout_s)
        self.heard: list[bytes | str] = []

    @classmethod
    def connect(cls, port: int, timeout_s: float = TIMEOUT_S) -> Self:
        return cls(socket.create_connection(("127.0.0.1", port), timeout_s), timeout_s)

    def secure(self, context: ssl.SSLContext, name: str | None = "front.example") -> Self:
        """The handshake of a client."""
        self.sock = context.wrap_socket(self.sock, server_hostname=name, suppress_ragged_eofs=False)
        return self

    @property
    def story(self) -> str:
        """What it heard, bytes in one piece however they came; long ones by their length."""
        parts: list[bytes | str] = []
        for each in self.heard:
            if isinstance(each, bytes) and parts and isinstance(parts[-1], bytes):
                parts[-1] += each
            else:
                parts.append(each)
        return " ".join(_shown(each) for each in parts)

    def send(self, data: bytes) -> Self:
        self.sock.sendall(data)
        return self

    def read(self, count: int) -> bytes:
        """Exactly so many bytes. Raises AssertionError when the connection ends before."""
        got = b""
        while len(got) < count:
            piece = self._receive(min(65536, count - len(got)))
            assert piece, f"it ended after {got[:SHOWN]!r}"
            got += piece
        return got

    def hears(self) -> bytes:
        """What comes next; b"" at the end."""
        return self._receive(65536)

    def listen(self) -> Self:
        """To the end of what comes."""
        while self._receive(65536):
            pass
        return self

    def _receive(self, most: int) -> bytes:
        data = b""
        try:
            data = self.sock.recv(most)
            self.heard.append(data or "end")
        except ssl.SSLZeroReturnError:
            self.heard.append("end")
        except TimeoutError:
            self.heard.append("silence")
        except ssl.SSLEOFError:
            self.heard.append("cut")
        except (ConnectionResetError, BrokenPipeError):
            self.heard.append("reset")
        return data

    def end(self) -> Self:
        """Say no more; still listen."""
        if isinstance(self.sock, ssl.SSLSocket):
            secured: Any = self.sock
            inner = secured._sslobj  # unwrap() would wait for the other's word
            try:
                self.sock.setblocking(False)
                inner.shutdown()
            except ssl.SSLWantReadError:
                pass
            finally:
                self.sock.settimeout(TIMEOUT_S)
        else:
            self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Close so that the other end sees a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _shown(item: bytes | str) -> str:
    if isinstance(item, str):
        return item
    return repr(item) if len(item) <= SHOWN else f"<{len(item)} bytes>"


TcpScript = Callable[[TcpPeer], None]


def echo(peer: TcpPeer) -> None:
    """Says what it hears, to the end."""
    while data := peer.hears():
        peer.send(data)


class TcpUpstream(Closing):
    """Plays a script on each connection, each on a thread of its own. context: speaks TLS"""

    def __init__(self, script: TcpScript, context: ssl.SSLContext | None = None) -> None:
        self.script = script
        self.context = context
        self.peers: list[TcpPeer] = []
        self.threads: list[threading.Thread] = []
        self.errors: list[Exception] = []
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.sock.getsockname()[1]
        self.requests: list[object] = []  # it knows none
        self._accepting = threading.Lock()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def reset(self, script: TcpScript) -> None:
        """Forget what was; play another script from now on."""
        self.stories()
        self.script = script
        self.peers, self.threads = [], []

    def stories(self) -> list[str]:
        """What each connection heard, once all of them are over. Raises what a script raised."""
        with self._accepting:
            threads = list(self.threads)
        for thread in threads:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive(), "a host's script does not end"
        if self.errors:
            raise self.errors[0]
        return [peer.story for peer in self.peers]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            peer = TcpPeer(sock)
            thread = threading.Thread(target=self._play, args=(peer,), daemon=True)
            with self._accepting:  # nobody joins it before it runs
                self.peers.append(peer)
                self.threads.append(thread)
                thread.start()

    def _play(self, peer: TcpPeer) -> None:
        try:
            if self.context is not None:
                peer.sock = self.context.wrap_socket(peer.sock, server_side=True, suppress_ragged_eofs=False)
            self.script(peer)
        except Exception as error:
            self.errors.append(error)
        finally:
            peer.close()

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for peer in self.peers:
            peer.close()
