"""How long a hello says it is."""

from __future__ import annotations

import pytest

from proxy.network.tls_hello import LONGEST_HELLO, UNKNOWN, hello_size


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 1]) + len(body).to_bytes(2) + body


HELLO = b"\1\0\x12\x34" + bytes(50)
WHOLE = record(22, HELLO)
IN_BYTES = b"".join(record(22, HELLO[at : at + 1]) for at in range(8))
SECOND = record(20, b"\1") + WHOLE


@pytest.mark.parametrize("data", [WHOLE, IN_BYTES, SECOND, record(22, HELLO[:3]) + record(22, HELLO[3:])])
def test_a_hello_however_it_comes(data: bytes) -> None:
    sizes = [hello_size(data[:end]) for end in range(len(data) + 1)]
    known = sizes.index(0x1234)
    assert set(sizes[:known]) == {UNKNOWN}
    assert set(sizes[known:]) == {0x1234}


@pytest.mark.parametrize(
    "data", [record(22, b"\x10\0\0\x20"), record(23, bytes(20)), b"GET / HTTP/1.1", record(21, b"\2\x28")]
)
def test_what_is_no_hello(data: bytes) -> None:
    assert hello_size(data) == 0


@pytest.mark.parametrize("data", [record(20, b"\1") * 11, record(22, b"") * 13, record(20, bytes(16000))])
def test_what_puts_it_off(data: bytes) -> None:
    assert hello_size(data[:63]) == UNKNOWN
    assert hello_size(data) > LONGEST_HELLO
