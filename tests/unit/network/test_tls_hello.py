"""A client's hello is held until it is whole; what is none, or would be too much, is not."""

from __future__ import annotations

import random

import pytest

from proxy.network.tls_hello import LONGEST_HELLO, TOO_LONG, ClientHello, is_whole


def record(kind: int, body: bytes) -> bytes:
    return bytes([kind, 3, 1]) + len(body).to_bytes(2) + body


def message(size: int) -> bytes:
    return b"\1" + size.to_bytes(3) + bytes(size)


HELLO = message(300)
WHOLE = record(22, HELLO)
IN_BYTES = b"".join(record(22, HELLO[at : at + 1]) for at in range(len(HELLO)))
SECOND = record(20, b"\1") + WHOLE
LONG = record(22, message(LONGEST_HELLO)[:9000]) + record(22, message(LONGEST_HELLO)[9000:])
SHAPES = [WHOLE, IN_BYTES, SECOND, LONG, record(22, HELLO[:3]) + record(22, HELLO[3:])]


@pytest.mark.parametrize("data", SHAPES, ids=["whole", "bytes", "second", "long", "split"])
@pytest.mark.parametrize("pieces", [1, 2, 3, 50])
def test_a_hello_is_given_once_it_is_whole(data: bytes, pieces: int) -> None:
    cuts = sorted(random.Random(pieces).sample(range(1, len(data)), pieces - 1))
    hello = ClientHello()
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        given = hello.take(data[begin:end])
        assert given == (data if end == len(data) else None)


def test_byte_by_byte() -> None:
    hello = ClientHello()
    given = [hello.take(WHOLE[at : at + 1]) for at in range(len(WHOLE))]
    assert given == [None] * (len(WHOLE) - 1) + [WHOLE]


def test_what_comes_behind_it_is_given_too() -> None:
    assert ClientHello().take(IN_BYTES + b"more") == IN_BYTES + b"more"
    assert is_whole(WHOLE + b"more")


@pytest.mark.parametrize(
    "data", SHAPES[1:] + [WHOLE[:-1], WHOLE[:8], b"", record(22, message(LONGEST_HELLO + 1))]
)
def test_what_is_looked_at_twice(data: bytes) -> None:
    assert not is_whole(data)


@pytest.mark.parametrize(
    "data", [record(22, b"\x10\0\0\x20"), record(23, bytes(20)), b"GET / HTTP/1.1", record(21, b"\2\x28")]
)
def test_what_is_no_hello(data: bytes) -> None:
    assert not is_whole(data)
    assert ClientHello().take(data) == data


@pytest.mark.parametrize("data", [record(20, b"\1") * 11, record(22, b"") * 13, record(20, bytes(16000))])
def test_what_puts_it_off(data: bytes) -> None:
    hello = ClientHello()
    assert hello.take(data[:63]) is None
    assert hello.take(data[63:]) == TOO_LONG


@pytest.mark.parametrize("head", [b"\x16\3\1\x40\0\1\0\x40\1", IN_BYTES[:6] + record(22, b"\0\x40\1")])
def test_what_says_that_it_is_too_long(head: bytes) -> None:
    assert ClientHello().take(head) == TOO_LONG


def test_small_records_are_not_held_for_ever() -> None:
    """Six bytes for one: there is room for 20 KiB of them here."""
    records = b"".join(record(22, byte.to_bytes()) for byte in message(LONGEST_HELLO))
    hello = ClientHello()
    at = 0
    while (given := hello.take(records[at : at + 1000])) is None:
        at += 1000
    assert 20 * 1024 < len(given) <= 21 * 1024 + 1000
