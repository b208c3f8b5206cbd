"""A name server on loopback, UDP and TCP, that answers what the test says and remembers what it was asked."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading

from tests.support.closing import Closing

A, AAAA = 1, 28
SERVFAIL, NXDOMAIN = 2, 3
_TYPES = {4: A, 6: AAAA}


class DnsServer(Closing):
    """Listens on 127.0.0.1:port, the same for UDP and TCP, until closed.

    answers: name (lower case) -> [(ip, ttl)], in the order in which they are sent; a name that is not there does not
    exist. failing: names to which the server says SERVFAIL; silent: names it does not answer at all.
    asked: (name, "A" or "AAAA", "udp" or "tcp") of each question
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[str, int]]] = {}
        self.failing: set[str] = set()
        self.silent: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self._changed = threading.Condition()
        self._udp, self._tcp = _sockets()
        self.port: int = self._udp.getsockname()[1]
        self._threads = [
            threading.Thread(target=self._serve_udp, daemon=True),
            threading.Thread(target=self._serve_tcp, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[tuple[str, str, str]]:
        """Wait until so many questions have come. Raises AssertionError when they do not."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.asked) >= count, timeout_s):
                raise AssertionError(f"{len(self.asked)} questions came, not {count}: {self.asked}")
            return list(self.asked)

    def close(self) -> None:
        for sock in (self._udp, self._tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        for thread in self._threads:
            thread.join(5)

    def _serve_udp(self) -> None:
        while True:
            try:
                query, peer = self._udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            reply = self._reply(query, "udp")
            if reply:
                self._udp.sendto(reply, peer)

    def _serve_tcp(self) -> None:
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(5)
                try:
                    while size := sock.recv(2, socket.MSG_WAITALL):
                        query = sock.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)
                        reply = self._reply(query, "tcp")
                        sock.sendall(struct.pack("!H", len(reply)) + reply)
                except OSError:
                    continue

    def _reply(self, query: bytes, how: str) -> bytes:
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode("latin-1").lower())
            at += length + 1
        name = ".".join(labels)
        kind = struct.unpack_from("!H", query, at + 1)[0]
        question = query[12 : at + 5]
        with self._changed:
            self.asked.append((name, {A: "A", AAAA: "AAAA"}.get(kind, str(kind)), how))
            self._changed.notify_all()
        if name in self.silent:
            return b""
        if name in self.failing:
            return self._head(query, SERVFAIL, 0) + question
        if name not in self.answers:
            return self._head(query, NXDOMAIN, 0) + question
        records = []
        for ip, ttl in self.answers[name]:
            address = ipaddress.ip_address(ip)
            if _TYPES[address.version] == kind:
                data = address.packed
                records.append(struct.pack("!HHHIH", 0xC00C, kind, 1, ttl, len(data)) + data)
        return self._head(query, 0, len(records)) + question + b"".join(records)

    @staticmethod
    def _head(query: bytes, code: int, count: int) -> bytes:
        """The same id; a recursive answer."""
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, count, 0, 0)


def _sockets() -> tuple[socket.socket, socket.socket]:
    """One free port for both."""
    for _ in range(20):
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            udp.close()
            continue
        return udp, tcp
    raise AssertionError("no port was free for UDP and TCP")
