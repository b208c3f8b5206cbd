"""FrameWatch: looks at the heads of the frames that come in, before the engine sees them, and keeps their budgets.

The engine (libnghttp2) checks and decodes frames; it does not tell about most of them, and what it does tell costs an
object each. So the watch walks the 9-byte frame heads itself: a few bytes of arithmetic per frame, no object, no
payload touched. It counts what a connection may only do so often (Envoy's budgets, ours beside them) and what each
stream took on the wire.

Budgets without a clock hang on work: a client that opens streams and takes data may send more of everything.

Some violations the engine lets pass are found here too (clients' connections only): HEADERS and DATA of a stream that
the client itself has ended, HEADERS of a stream it has passed over (RFC 9113 section 5.1), PRIORITY of no stream and of
one that depends on itself (sections 5.3.2, 6.3). What comes for a stream that we have reset was on its way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.base.errors import CodecError
from proxy.codec.http2_settings import Http2Settings

if TYPE_CHECKING:
    from proxy.codec.http2_stream import Http2Stream

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9
END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
HEAD_BYTES: Final = 9
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: Frames of unknown types that a connection may send besides one hundred for each stream it opened. Envoy has no limit.
UNKNOWN_FRAMES: Final = 1000
#: Bytes of DATA that may come for streams which are over (in flight when they ended). Envoy has no limit.
STRAY_BYTES: Final = 64 * 1024 * 1024
#: Streams of ours that were reset, of which frames may still be on their way.
RESETS: Final = 1024
PRIORITY_BYTES: Final = 5
WINDOW_BYTES: Final = 4
#: A client that makes us reset its streams costs us a request each time ("made you reset"): then the connection ends.
MOST_LEAPS: Final = 4


class Http2Flood(CodecError):
    """A budget is used up (``FrameWatch.flood`` says which one), or a rule is broken ("")."""


class FrameWatch:
    """The incoming frames of one connection.

    streams: the codec's, by id; each has ``wire_bytes_in``
    heads: wire bytes of header blocks whose message has not been delivered, by stream
    tails: the same of the blocks behind it (a head behind an informational one, trailers), where they came before it
    was delivered; whoever takes from ``heads`` then asks for the ``next_head``
    early: the same of DATA that came in one read with its head; None while there is none
    opened: streams begun by the peer (server side) or by us (client side, counted by the codec)
    sent_data: DATA frames written, counted by the codec
    flood: the attribute of Http2Stats that counts the budget which is used up; flood_at: where in the read the frame
    begins that was one too many (negative: before it)
    control: frames that want an answer from us and came since the last flush; the codec sets it to 0
    leaps: where in the read there are WINDOW_UPDATEs of streams by more than half of what a window can be, or None;
    leapt: how many of them there have been, of which the first few are looked at
    resets, given_up: streams that we have reset, that the client has, the last of them, or None; is_strict: frames of other
    streams that are over may not come
    """

    __slots__ = (
        "_before",
        "_cut",
        "_empty",
        "_in_block",
        "_is_server",
        "_last_id",
        "_left",
        "_open",
        "_priorities",
        "_settings",
        "_stray",
        "_unknown",
        "_updates",
        "control",
        "early",
        "flood",
        "flood_at",
        "given_up",
        "heads",
        "is_strict",
        "leaps",
        "leapt",
        "opened",
        "resets",
        "sent_data",
        "streams",
        "tails",
    )

    def __init__(self, settings: Http2Settings, streams: dict[int, Http2Stream], is_server: bool) -> None:
        self._settings = settings
        self._is_server = is_server
        self.streams = streams
        self.heads: dict[int, int] = {}
        self.tails: dict[int, list[int]] = {}
        self.early: dict[int, int] | None = None
        self._cut = b""  # the head of a frame that is not whole yet
        self._left = len(PREFACE) if is_server else 0  # bytes still to skip
        self._open = False  # a header block goes on in CONTINUATION
        self._in_block = is_server  # the frame being skipped belongs to a header block (or is the preface)
        self._before = 0  # bytes of the cut head that precede this read
        self.flood = ""
        self.flood_at = 0
        self._empty = 0
        self._last_id = 0
        self._priorities = 0
        self._updates = 0
        self._unknown = 0
        self._stray = 0
        self.control = 0
        self.opened = 0
        self.sent_data = 0
        self.leaps: list[int] | None = None
        self.leapt = 0
        self.resets: dict[int, bool] | None = None
        self.given_up: dict[int, bool] | None = None
        self.is_strict = is_server

    def read(self, data: bytes) -> None:
        """Look at what has come. Raises Http2Flood."""
        at = self._left
        size = len(data)
        if at >= size:
            self._left = at - size
            return
        before = len(self._cut)
        if before:
            data = self._cut + data
            self._cut = b""
            size = len(data)
        self._before = before
        at = self._walk(data, at, size)
        if at < size:
            self._cut = data[at:]
            self._left = 0
        else:
            self._left = at - size

    def _flood(self, stat: str, at: int) -> Http2Flood:
        self.flood = stat
        self.flood_at = at - self._before
        return Http2Flood(0, b"", b"http2." + stat.encode())

    def reset(self, stream_id: int) -> None:
        """We have reset a stream."""
        self.resets = self._remember(self.resets, stream_id)

    @staticmethod
    def _remember(ids: dict[int, bool] | None, stream_id: int) -> dict[int, bool]:
        if ids is None:
            return {stream_id: True}
        ids[stream_id] = True
        if len(ids) > RESETS:
            del ids[next(iter(ids))]
        return ids

    def _is_over(self, stream_id: int) -> bool:
        """Whether the client itself must know that the stream is over."""
        if not self.is_strict or not 0 < stream_id <= self._last_id:
            return False
        if self._is_given_up(stream_id):
            return True
        if stream_id in self.streams or stream_id in self.heads:
            return False
        return self.resets is None or stream_id not in self.resets

    def _is_given_up(self, stream_id: int) -> bool:
        return self.given_up is not None and stream_id in self.given_up

    def _walk(self, data: bytes, at: int, size: int) -> int:
        """The frames whose heads are whole, from ``at`` on; where the next one begins."""
        while at + HEAD_BYTES <= size:
            length = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            kind = data[at + 3]
            flags = data[at + 4]
            if kind <= HEADERS:
                content = length
                if flags & PADDED and length:
                    if at + HEAD_BYTES == size:
                        break  # the pad length is in the next segment
                    content = length - 1 - data[at + HEAD_BYTES]
                stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
                if content > 0 or flags & END_STREAM:
                    self._empty = 0
                else:
                    self._count_empty(at)
                if kind == DATA:
                    self._in_block = False
                    self._data(stream_id, length, at)
                else:
                    if stream_id <= self._last_id and self._is_over(stream_id):
                        raise self._flood("", at)
                    self._in_block = True
                    self._open = not flags & END_HEADERS
                    if stream_id in self.heads:
                        self.tails.setdefault(stream_id, []).append(length + HEAD_BYTES)
                    else:
                        self.heads[stream_id] = length + HEAD_BYTES
                    if self._is_server and stream_id > self._last_id:
                        self._last_id = stream_id
                        self.opened += 1
            else:
                if kind == PRIORITY and self.is_strict and length == PRIORITY_BYTES:
                    if at + HEAD_BYTES + PRIORITY_BYTES > size:
                        break  # the rest is in the next segment
                    if not self._may_have_priority(data, at):
                        raise self._flood("", at)
                self._other(data, at, length, kind, flags)
            at += HEAD_BYTES + length
        return at

    @staticmethod
    def _may_have_priority(data: bytes, at: int) -> bool:
        """Whether a PRIORITY frame is of a stream, and one that does not depend on itself."""
        stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
        return stream_id not in (0, int.from_bytes(data[at + 9 : at + 13], "big") & 0x7FFFFFFF)

    @property
    def in_head(self) -> bool:
        """A head, or the head of a frame, has begun and is not whole."""
        return self._open or bool(self._cut) or (self._in_block and self._left > 0)

    def next_head(self, stream_id: int) -> None:
        """What was in ``heads`` of a stream is taken: what came behind it is."""
        tail = self.tails.get(stream_id)
        if tail is not None:
            self.heads[stream_id] = tail.pop(0)
            if not tail:
                del self.tails[stream_id]

    def forget_heads(self) -> None:
        """Heads that nobody has claimed belong to streams that are over; but not the one that is not whole yet."""
        heads = self.heads
        self.tails.clear()
        self.early = None
        if not self.in_head:
            heads.clear()
        elif len(heads) > 1:
            last = next(reversed(heads))
            size = heads[last]
            heads.clear()
            heads[last] = size
        # while the output is stuck the engine says nothing of refused heads: see Http2Codec.feed

    def _leaps(self, data: bytes, at: int) -> bool:
        """Whether a WINDOW_UPDATE that is here whole, of this read alone, is a stream's by 2^30 or more. Not inside a head:
        the engine has to see that it may not be there."""
        if self._open or at < self._before or len(data) < at + HEAD_BYTES + WINDOW_BYTES:
            return False
        return data[at + HEAD_BYTES] & 0x40 != 0 and data[at + 5 : at + HEAD_BYTES] != b"\0\0\0\0"

    def _data(self, stream_id: int, length: int, at: int) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.wire_bytes_in += length + HEAD_BYTES
        elif stream_id in self.heads and not self._is_given_up(stream_id):
            if self.early is None:
                self.early = {}
            self.early[stream_id] = self.early.get(stream_id, 0) + length + HEAD_BYTES
        elif self._is_over(stream_id):
            raise self._flood("", at)
        else:
            self._stray += length + HEAD_BYTES
            if self._stray > STRAY_BYTES:
                raise self._flood("inbound_stray_data_flood", at)

    def _count_empty(self, at: int) -> None:
        self._empty += 1
        if self._empty > self._settings.max_empty_frames:
            raise self._flood("inbound_empty_frames_flood", at)

    def _other(self, data: bytes, at: int, length: int, kind: int, flags: int) -> None:
        """Everything but HEADERS and DATA."""
        settings = self._settings
        self._in_block = False
        if kind == WINDOW_UPDATE:
            self._updates += 1
            if self._updates > 5 + 2 * (self.opened + settings.max_window_updates * self.sent_data):
                raise self._flood("inbound_window_update_frames_flood", at)
            if length == WINDOW_BYTES and self.leapt < MOST_LEAPS and self._leaps(data, at):
                self.leapt += 1
                if self.leaps is None:
                    self.leaps = []
                self.leaps.append(at - self._before)
        elif kind in (SETTINGS, PING):
            if not flags & ACK:
                self.control += 1
                if self.control > settings.max_outbound_control_frames:
                    raise self._flood("outbound_control_flood", at)
        elif kind == CONTINUATION:
            stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
            if stream_id in self.tails:
                self.tails[stream_id][-1] += length + HEAD_BYTES
            else:
                self.heads[stream_id] = self.heads.get(stream_id, 0) + length + HEAD_BYTES
            self._in_block = True
            self._open = not flags & END_HEADERS
            if length:
                self._empty = 0
            else:
                self._count_empty(at)
        elif kind == RST_STREAM:
            if self.is_strict:
                stream_id = int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF
                self.given_up = self._remember(self.given_up, stream_id)
        elif kind == PRIORITY:
            self._priorities += 1
            if self._priorities > settings.max_priority_frames * (1 + self.opened):
                raise self._flood("inbound_priority_frames_flood", at)
        elif kind > CONTINUATION:
            self._unknown += 1
            if self._unknown > UNKNOWN_FRAMES + 100 * self.opened:
                raise self._flood("inbound_unknown_frames_flood", at)
