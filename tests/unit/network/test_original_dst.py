"""What getsockopt(SO_ORIGINAL_DST) gives, read; a kernel that knows nothing."""

from __future__ import annotations

import socket
import struct

import pytest

from proxy.network.original_dst import original_destination, parse_sockaddr

IN4 = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 8080) + bytes([10, 0, 0, 7]) + bytes(8)
IN6 = (
    struct.pack("=H", 10)
    + struct.pack(">HI", 443, 0)
    + socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + bytes(4)
)


class Fake:
    def __init__(self, family: int, **answers: bytes) -> None:
        self.family = family
        self.transparent = answers.get("transparent", bytes(4))
        self.answers = {socket.SOL_IP: answers.get("v4"), socket.IPPROTO_IPV6: answers.get("v6")}

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.1", 15006)

    def getsockopt(self, level: int, name: int, length: int) -> bytes:
        if name in (19, 75):
            return self.transparent
        answer = self.answers[level]
        if name != 80 or answer is None:
            raise OSError(2, "No such file or directory")
        return answer[:length]


def test_both_versions_are_read():
    assert parse_sockaddr(IN4) == ("10.0.0.7", 8080)
    assert parse_sockaddr(IN6) == ("2001:db8::7", 443)
    with pytest.raises(ValueError):
        parse_sockaddr(b"\x02\x00")


@pytest.mark.parametrize(
    ("sock", "expected"),
    [
        (Fake(socket.AF_INET, v4=IN4), ("10.0.0.7", 8080)),
        (Fake(socket.AF_INET6, v6=IN6), ("2001:db8::7", 443)),
        (Fake(socket.AF_INET6, v4=IN4), ("10.0.0.7", 8080)),  # an IPv4 client of a dual-stack socket
        (Fake(socket.AF_INET), None),
        (Fake(socket.AF_INET6), None),
        (Fake(socket.AF_UNIX, v4=IN4), None),
        (None, None),
        (Fake(socket.AF_INET, v4=IN4, transparent=b"\1\0\0\0"), ("192.0.2.1", 15006)),
    ],
)
def test_who_is_asked(sock, expected):
    assert original_destination(sock) == expected
