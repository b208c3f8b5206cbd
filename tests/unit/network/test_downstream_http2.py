"""An accepted HTTP/2 connection: how much of one read a turn takes."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from proxy.codec.http2_watch import FrameWatch
from proxy.network.downstream_http2 import PIECE_BYTES, PREMATURE_MIN
from tests.support.h2_attacks import GET, POST, head, rapid_reset
from tests.support.h2_client import PREFACE
from tests.support.transcript import Transcript, to

OK = {
    "match": {"path": "/ok"},
    "direct_response": {"status": 200, "body": {"inline_string": "fine"}},
}
BEGIN = PREFACE + SettingsFrame(0).serialize()
#: what a loop reads at most at once
READ_BYTES = 256_000


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        frame.parse_body(memoryview(data[9 : 9 + length]))
        data = data[9 + length :]
        found.append(frame)
    return found


def test_frames_behind_what_ends_the_connection_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand frames come in one read, and a few hundred resets are enough."""
    seen: list[int] = []
    read = FrameWatch.read

    def noted(self: FrameWatch, data: bytes) -> None:
        seen.append(len(data))
        read(self, data)

    monkeypatch.setattr(FrameWatch, "read", noted)
    talk = Transcript(OK)
    talk.client(BEGIN)
    flood = b""
    for pair in rapid_reset():
        flood += pair
        if len(flood) > READ_BYTES:
            break
    before = sum(seen)
    talk.client(flood)
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_rq_too_many_premature_resets"] == 1
    assert PREMATURE_MIN <= talk.stats["http.front.downstream_rq_http2_total"] < 2 * PREMATURE_MIN
    assert sum(seen) - before <= PIECE_BYTES
    assert max(seen) <= PIECE_BYTES


def test_many_requests_in_one_read_are_all_served() -> None:
    talk = Transcript(OK)
    talk.client(BEGIN)
    encoder = Encoder()
    streams = range(1, 2 * 700, 2)
    fields = [*GET, ("x-long", "y" * 150)]
    talk.client(
        b"".join(
            HeadersFrame(
                stream,
                encoder.encode([*fields, ("x-number", f"{stream:08}")], huffman=False),
                flags=["END_HEADERS", "END_STREAM"],
            ).serialize()
            for stream in streams
        )
        + SettingsFrame(0).serialize()
    )
    ended = [frame.stream_id for frame in frames(talk.client.got) if "END_STREAM" in frame.flags]
    assert ended == list(streams)
    assert talk.stats["http.front.downstream_rq_2xx"] == len(streams)
    assert talk.stats["http.front.downstream_cx_active"] == 1


@pytest.mark.parametrize("extra", [0, 1, 5, 9])
def test_a_body_in_one_read_comes_whole(extra: int) -> None:
    """Pieces cut frames anywhere, their heads too."""
    talk = Transcript(to("a"))
    talk.client(BEGIN)
    body = bytes(range(256)) * 200  # within the window
    parts = [body[at : at + 9000 + extra] for at in range(0, len(body), 9000 + extra)]
    data = head(1, Encoder().encode([*POST, ("content-length", str(len(body)))]), end=False)
    for part in parts:
        frame = DataFrame(1, part)
        if part is parts[-1]:
            frame.flags.add("END_STREAM")
        data += frame.serialize()
    assert len(data) > PIECE_BYTES
    talk.client(data)
    got: Any = talk.upstream().request
    assert got.body == body
    talk.upstream().replies(200)
    assert talk.stats["http.front.downstream_rq_2xx"] == 1


def test_a_connection_that_breaks_the_protocol_is_ended_by_us() -> None:
    """In the middle of a request: DATA of a stream that nobody has opened."""
    talk = Transcript(to("a"))
    talk.client(BEGIN + head(1, Encoder().encode(POST), end=False))
    talk.client(DataFrame(99, b"x").serialize())
    stats = talk.stats
    assert stats["http.front.downstream_cx_protocol_error"] == 1
    assert stats["http.front.downstream_cx_destroy_active_rq"] == 1
    assert stats["http.front.downstream_cx_destroy_local_active_rq"] == 1
    assert stats["http.front.downstream_cx_destroy_remote_active_rq"] == 0
