"""gRPC's frames, cut anywhere."""

from __future__ import annotations

import pytest

from proxy.base.errors import CodecError
from proxy.codec.grpc import FrameCounter, FrameReader, frame

MESSAGES = [b"", b"a", b"b" * 300, b"", b"\x00" * 70_000]
BODY = b"".join(frame(message) for message in MESSAGES)


def test_a_frame() -> None:
    assert frame(b"abc") == b"\x00\x00\x00\x00\x03abc"
    assert frame(b"", 0x80) == b"\x80\x00\x00\x00\x00"


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7, 4096, len(BODY)])
def test_messages_come_however_they_are_cut(cut: int) -> None:
    reader, counter = FrameReader(100_000), FrameCounter()
    found = []
    for at in range(0, len(BODY), cut):
        found += reader.feed(BODY[at : at + cut])
        counter.feed(BODY[at : at + cut])
        assert counter.count == len(found) + (not reader.is_between), "one counts when it begins"
    assert found == [(0, message) for message in MESSAGES]
    assert reader.is_between


def test_a_message_that_is_too_long_is_refused_at_its_head() -> None:
    reader = FrameReader(10)
    assert reader.feed(frame(b"x" * 10)) == [(0, b"x" * 10)]
    with pytest.raises(CodecError):
        reader.feed(b"\x00\x00\x00\x00\x0b")


def test_half_a_message_is_known() -> None:
    reader = FrameReader(10)
    assert reader.feed(frame(b"abc")[:-1]) == []
    assert not reader.is_between
    assert reader.feed(b"c") == [(0, b"abc")]
