"""Where records end, and how many of them may bring nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.network.tls_records import TlsRecords

HANDSHAKE, DATA = 22, 23


def record(kind: int, size: int) -> bytes:
    return bytes([kind, 3, 3]) + size.to_bytes(2) + bytes(size)


UPDATE = record(DATA, 22)  # a KeyUpdate, seen from without
EMPTY = record(DATA, 17)


def new(hides: bool = True) -> TlsRecords:
    records = TlsRecords()
    records.shaken(hides)
    return records


def feed(records: TlsRecords, data: bytes, brought: int = 0) -> tuple[list[bytes], bool]:
    """The pieces; whether there were too many. brought: records of data in each piece."""
    pieces = [records.first(data)]
    ended = records.are_too_many(brought)
    while records.left() and not ended:
        pieces.append(records.next())
        ended = records.are_too_many(brought)
    return pieces, ended


@given(st.lists(st.integers(0, 300), max_size=100), st.lists(st.integers(1, 2000), max_size=50))
def test_nothing_is_lost_however_it_comes(sizes: list[int], cuts: list[int]) -> None:
    """However the socket cuts them, the same records are counted."""
    stream = b"".join(record(HANDSHAKE, size) for size in sizes)
    records = new(hides=False)
    got, counted, at = b"", 0, 0
    for size in [*cuts, len(stream) + 1]:
        data = stream[at : at + size]
        at += size
        if not data:
            break
        got += records.first(data)
        counted += records._other
        while records.left():
            piece = records.next()
            assert piece
            got += piece
            counted += records._other
    assert got == stream
    assert counted == len(sizes)


def test_one_record_is_passed_as_it_is() -> None:
    data = record(DATA, 1000)
    records = new()
    assert records.first(data) is data
    assert not records.left()


def test_many_are_given_few_at_once() -> None:
    pieces, _ = feed(new(), record(DATA, 100) * 100, brought=32)
    assert [len(piece) // 105 for piece in pieces] == [32, 32, 32, 4]


def test_those_of_before_the_handshake_do_not_count() -> None:
    records = TlsRecords()
    records.first(record(HANDSHAKE, 1) * 32)
    records.shaken(hides=False)
    assert not records.are_too_many(0)
    assert not any(feed(records, record(HANDSHAKE, 1))[1] for _ in range(32))
    assert feed(records, record(HANDSHAKE, 1))[1]


def test_in_a_row() -> None:
    records = new()
    assert not any(feed(records, UPDATE)[1] for _ in range(32))
    assert feed(records, UPDATE)[1]
    records = new()
    for _ in range(100):
        assert not any(feed(records, UPDATE)[1] for _ in range(32))
        assert not feed(records, record(DATA, 50), brought=1)[1]


def test_in_one_read() -> None:
    """Of each 32 one brings data: never 32 in a row, but too many of them at once."""
    pieces, ended = feed(new(), UPDATE * 8 * 32, brought=1)
    assert (len(pieces), ended) == (8, False)
    pieces, ended = feed(new(), UPDATE * 1000, brought=1)
    assert (len(pieces), ended) == (9, True)


@pytest.mark.parametrize("hides", [True, False])
def test_records_without_data_are_openssls_business(hides: bool) -> None:
    assert not feed(new(hides), EMPTY * 1000)[1]


def test_large_records_in_small_reads() -> None:
    """Nothing comes of most reads, and there is nothing wrong with it."""
    records = new()
    data = record(DATA, 16401)
    for _ in range(100):
        for at in range(0, len(data), 100):
            assert not feed(records, data[at : at + 100], brought=int(at + 100 >= len(data)))[1]


def test_what_nobody_wants_is_dropped() -> None:
    records = new()
    records.first(UPDATE * 100)
    assert records.left()
    records.drop()
    assert not records.left()
