"""gRPC calls of our own: messages both ways, statuses from wherever they come, deadlines, bounds."""

from __future__ import annotations

from typing import Any

import pytest
from h2 import events as ev

from proxy.base.headers import ResponseHeaders
from proxy.codec.grpc import FrameReader, frame
from proxy.http.grpc_service import GrpcService
from proxy.http.grpc_stream import GrpcReceiver, GrpcStream
from tests.support.config import Config
from tests.support.transcript import REFUSED, Transcript
from tests.unit.codec.http2_support import peer

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
GRPC = (b"content-type", b"application/grpc")
SERVICE = GrpcService("a", timeout_s=5.0)


def http2(**more: Any) -> Config:
    typed = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {"typed_extension_protocol_options": {OPTIONS: typed}, **more}


class Heard(GrpcReceiver):
    """Writes down what a call tells."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.stream: GrpcStream | None = None
        self.cancels = False

    def on_grpc_metadata(self, headers: ResponseHeaders) -> None:
        self.heard.append(("metadata", headers.get(b"x-head")))

    def on_grpc_message(self, message: bytes) -> None:
        self.heard.append(message)
        if self.cancels:
            assert self.stream is not None
            self.stream.cancel()

    def on_grpc_status(self, status: int, text: str) -> None:
        self.heard.append((status, text))

    def on_grpc_writable(self) -> None:
        self.heard.append("writable")


class Setting:
    """A worker, an HTTP/2 host in memory behind cluster "a", and what one call hears."""

    def __init__(self, **more: Any) -> None:
        self.talk = Transcript(a=http2(**more))
        self.receiver = Heard()
        self.host = peer(False)
        self.events: list[ev.Event] = []
        self.read = 0

    def call(self, cluster: str = "a", timeout_s: float = 0.0, **service: Any) -> GrpcStream:
        client = self.talk.parts.client
        stream = client.grpc_stream(GrpcService(cluster, **service), b"/s.S/M", self.receiver, timeout_s)
        self.receiver.stream = stream
        stream.start()
        self.settle()
        return stream

    def settle(self) -> None:
        """Until both sides are silent."""
        talk = self.talk
        for _ in range(50):
            talk.dispatcher.flush()
            talk.loop.run()
            if not talk.upstreams:
                return
            got = talk.upstream(0).got[self.read :]
            self.read += len(got)
            if got:
                self.events += self.host.receive_data(got)
            back = self.host.data_to_send()
            if back:
                talk.upstream(0).sends(back)
            elif not got:
                return
        raise AssertionError("they never fall silent")

    def sent(self) -> list[bytes]:
        """The messages the host has got."""
        body = b"".join(event.data for event in self.events if isinstance(event, ev.DataReceived))
        return [message for _, message in FrameReader(1 << 20).feed(body)]

    def heads(self) -> dict[bytes, bytes]:
        (event,) = [event for event in self.events if isinstance(event, ev.RequestReceived)]
        return dict(event.headers)

    def answers(self, *fields: tuple[bytes, bytes], status: bytes = b"200", end: bool = False) -> None:
        self.host.send_headers(1, [(b":status", status), GRPC, *fields], end_stream=end)
        self.settle()

    def says(self, data: bytes) -> None:
        self.host.send_data(1, data)
        self.settle()

    def ends(self, *fields: tuple[bytes, bytes]) -> None:
        self.host.send_headers(1, list(fields), end_stream=True)
        self.settle()


def test_messages_both_ways() -> None:
    setting = Setting()
    stream = setting.call(metadata=((b"x-mine", b"1"),))
    heads = setting.heads()
    assert (heads[b":path"], heads[b":authority"], heads[b"te"]) == (b"/s.S/M", b"a", b"trailers")
    assert (heads[b"content-type"], heads[b"x-mine"]) == (b"application/grpc", b"1")
    assert b"grpc-timeout" not in heads
    stream.send(b"one")
    setting.settle()
    assert setting.sent() == [b"one"]
    setting.answers((b"x-head", b"h"))
    setting.says(frame(b"first") + frame(b"second")[:3])
    setting.says(frame(b"second")[3:])
    stream.send(b"two")
    stream.end()
    stream.end()
    setting.settle()
    assert setting.sent() == [b"one", b"two"]
    assert stream.is_open
    setting.ends((b"grpc-status", b"7"), (b"grpc-message", b"not%20you"))
    assert setting.receiver.heard == [("metadata", b"h"), b"first", b"second", (7, "not you")]
    assert not stream.is_open
    stream.send(b"nobody hears this")
    stream.cancel()


def test_what_is_sent_before_the_connection_waits_for_it() -> None:
    setting = Setting()
    stream = setting.talk.parts.client.grpc_stream(GrpcService("a"), b"/s.S/M", setting.receiver)
    stream.start()
    for number in range(3):
        stream.send(b"%d" % number)
    stream.end()
    setting.settle()
    assert setting.sent() == [b"0", b"1", b"2"]
    assert any(isinstance(event, ev.StreamEnded) for event in setting.events)
    setting.answers((b"grpc-status", b"0"), end=True)
    assert setting.receiver.heard == [(0, "")]


def test_cancelled_by_us() -> None:
    setting = Setting()
    stream = setting.call()
    setting.answers()
    setting.receiver.cancels = True
    setting.says(frame(b"first") + frame(b"second"))
    assert setting.receiver.heard == [("metadata", None), b"first"]
    assert not stream.is_open
    assert any(isinstance(event, ev.StreamReset) for event in setting.events)


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (b"200", ((b"grpc-status", b"5"), (b"grpc-message", b"none")), (5, "none")),
        (b"503", ((b"grpc-status", b"8"),), (8, "")),
        (b"503", (), (14, "the host answered with HTTP status 503")),
        (b"404", (), (12, "the host answered with HTTP status 404")),
        (b"200", (), (2, "the host ended the call without a status")),
        (b"200", ((b"grpc-status", b"x"),), (2, "")),
    ],
)
def test_an_answer_that_is_only_a_head(status: bytes, fields: Any, expected: Any) -> None:
    setting = Setting()
    setting.call()
    setting.answers(*fields, status=status, end=True)
    assert setting.receiver.heard == [expected]


def test_an_http_error_with_a_body() -> None:
    setting = Setting()
    setting.call()
    setting.answers(status=b"429")
    assert setting.receiver.heard == [(14, "the host answered with HTTP status 429")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (frame(b"whole") + b"\x00\x00", (13, "the host ended the call within a message")),
        (frame(b"x", 1), (13, "a compressed message, which was not asked for")),
        (frame(b"x" * 101), (8, "the gRPC message is too long")),
    ],
)
def test_bodies_that_break_the_framing(body: bytes, expected: Any) -> None:
    setting = Setting()
    setting.call(limit_bytes=100)
    setting.answers()
    setting.says(body)
    if setting.receiver.heard[-1] != expected:
        setting.ends((b"grpc-status", b"0"))
    assert setting.receiver.heard[-1] == expected


def test_an_end_without_trailers() -> None:
    setting = Setting()
    setting.call()
    setting.answers()
    setting.host.send_data(1, b"", end_stream=True)
    setting.settle()
    assert setting.receiver.heard[-1] == (2, "the host ended the call without a status")


def test_resets() -> None:
    early = Setting()
    early.call()
    early.host.reset_stream(1)
    early.settle()
    assert early.receiver.heard == [(14, "remote reset")]
    late = Setting()
    late.call()
    late.answers()
    late.talk.upstream(0).resets()
    assert late.receiver.heard[-1] == (13, "connection termination")


def test_nobody_there() -> None:
    setting = Setting()
    setting.talk.loop.outcome = REFUSED
    setting.call()
    status, text = setting.receiver.heard[-1]
    assert status == 14 and "remote connection failure" in text
    setting.call("unknown")
    assert setting.receiver.heard[-1] == (14, "there is no cluster 'unknown'")
    nobody = Transcript(hosts=0, a=http2())
    stream = nobody.parts.client.grpc_stream(GrpcService("a"), b"/s.S/M", setting.receiver)
    stream.start()
    assert setting.receiver.heard[-1] == (14, "no healthy upstream")
    assert not stream.is_open


def test_out_of_time() -> None:
    setting = Setting()
    stream = setting.call(timeout_s=2.0)
    assert setting.heads()[b"grpc-timeout"] == b"2000m"
    assert stream in setting.talk.parts.client.calls
    setting.talk.waits(1.9)
    assert setting.receiver.heard == []
    setting.talk.waits(0.2)
    assert setting.receiver.heard == [(4, "the call took too long")]
    assert setting.talk.stats["cluster.a.upstream_rq_timeout"] == 1
    assert not setting.talk.parts.client.calls


def test_a_host_that_reads_slowly_is_noticed() -> None:
    setting = Setting()
    stream = setting.call()
    while not stream.blocked:
        stream.send(b"x" * 10_000)
        setting.settle()
        assert len(setting.sent()) < 50, "never blocked"
    read = 0
    while stream.blocked:
        come = [event for event in setting.events[read:] if isinstance(event, ev.DataReceived)]
        assert come, "blocked for ever"
        read = len(setting.events)
        for event in come:
            setting.host.acknowledge_received_data(event.flow_controlled_length, 1)
        setting.settle()
    assert setting.receiver.heard == ["writable"]
    stream.cancel()
    setting.settle()


def test_a_unary_call() -> None:
    setting = Setting()
    replies: list[Any] = []
    setting.talk.parts.client.grpc_call(SERVICE, b"/s.S/M", b"ask", lambda *reply: replies.append(reply))
    setting.settle()
    assert setting.sent() == [b"ask"]
    setting.answers()
    setting.says(frame(b"answer"))
    assert replies == []
    setting.ends((b"grpc-status", b"0"))
    assert replies == [(0, b"answer", "")]


def test_a_unary_call_wants_one_message() -> None:
    setting = Setting()
    replies: list[Any] = []
    setting.talk.parts.client.grpc_call(SERVICE, b"/s.S/M", b"ask", lambda *reply: replies.append(reply))
    setting.settle()
    setting.answers((b"grpc-status", b"0"), end=True)
    assert replies == [(13, b"", "0 messages instead of one")]
