"""Filter hooks: who runs when, who holds, what is replaced, how much is kept."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.headers import HeaderMap
from proxy.http.chain import FilterChain
from proxy.http.filter import STOP, Filter
from proxy.http.stream import ActiveStream
from tests.support.transcript import GET, Transcript, to
from tests.support.upstream import chunked, reply

TRAILERS = {"http_protocol_options": {"enable_trailers": True}}
UP_TRAILERS = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        }
    }
}
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


class Spy(Filter):
    """Writes down every hook into a shared list; answers as told by name of hook (a list is used up)."""

    def __init__(self, name: str, seen: list[Any], **answers: Any) -> None:
        self.name = name
        self.seen = seen
        self.answers = answers
        self.stream: ActiveStream | None = None

    def _answer(self, hook: str, *what: Any) -> Any:
        self.seen.append((self.name, hook, *what))
        answer = self.answers.get(hook)
        if isinstance(answer, list):
            return answer.pop(0) if answer else None
        return answer

    def decode_headers(self, stream: ActiveStream) -> Any:
        self.stream = stream
        return self._answer("decode_headers")

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        return self._answer("decode_data", bytes(data), end)

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> Any:
        return self._answer("decode_trailers")

    def encode_headers(self, stream: ActiveStream) -> Any:
        return self._answer("encode_headers")

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        return self._answer("encode_data", bytes(data), end)

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> Any:
        return self._answer("encode_trailers")

    def on_complete(self, stream: ActiveStream) -> None:
        self.stream = None
        self._answer("on_complete")


def chain(hook: str = "", **answers: Any) -> tuple[Transcript, list[Any], list[Spy]]:
    """Filters a, b, c before the router; b answers as told."""
    seen: list[Any] = []
    spies = [Spy("a", seen), Spy("b", seen, **answers), Spy("c", seen)]
    return Transcript(filters=spies, hcm=TRAILERS, a=UP_TRAILERS), seen, spies


def of(seen: list[Any], *hooks: str) -> list[Any]:
    return [(name, *what) for name, hook, *what in seen if hook in hooks]


def test_requests_run_down_and_responses_up_the_chain():
    talk, seen, _ = chain()
    talk.client(POST + b"abcdef")
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    talk.upstream(0).sends(b"ok")
    hooks = ("decode_headers", "decode_data", "encode_headers", "encode_data", "on_complete")
    assert [(hook, name) for name, hook, *_ in seen] == [
        (hook, name) for hook in hooks for name in ("cba" if hook.startswith("encode") else "abc")
    ]


def test_inherited_hooks_are_not_in_the_chain():
    class Quiet(Filter):
        pass

    compiled = FilterChain([Quiet(), Spy("a", []), Quiet()])
    assert [place for place, _ in compiled.decode_headers] == [1]
    assert [place for place, _ in compiled.encode_data] == [1], "counted in running order"
    assert FilterChain([Quiet()]).decode_data == ()


def test_the_fast_lane_is_only_for_a_chain_where_nobody_else_looks_at_bodies():
    spy = Spy("a", [])
    assert FilterChain([spy]).terminal_data is not None
    assert FilterChain([spy, Spy("b", [])]).terminal_data is None


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_filter_that_stops_a_request_holds_everything_behind_it():
    talk, seen, (_, b, _) = chain(decode_headers=STOP, decode_data=[STOP, STOP])
    talk.client(POST + b"abc")
    talk.client(b"def")
    assert of(seen, "decode_headers") == [("a",), ("b",)]
    assert talk.upstreams == 0
    assert b.stream is not None
    b.stream.continue_decoding()
    talk.loop.run()
    assert of(seen, "decode_headers") == [("a",), ("b",), ("c",)]
    data = [(b"abc", False), (b"def", True)]
    for name in "abc":
        assert [(part, end) for who, part, end in of(seen, "decode_data") if who == name] == data, name
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).replies()


@pytest.mark.parametrize("raw", [POST + b"abcdef", CHUNKED + b"6\r\nabcdef\r\n0\r\nx-sum: 1\r\n\r\n"])
def test_a_held_request_that_finds_an_open_connection(raw):
    """Its head must not say that nothing follows, though the whole request has come."""
    talk, _, (_, b, _) = chain(decode_headers=[None, STOP], decode_data=STOP, decode_trailers=STOP)
    talk.client(GET)
    talk.upstream(0).replies()
    talk.client(raw)
    b.stream.continue_decoding()
    talk.dispatcher.flush()
    assert talk.upstreams == 1
    assert talk.upstream(0).request.body == b"abcdef"
    assert talk.upstream(0).request.trailers == ([] if raw.startswith(POST) else [("x-sum", "1")])
    talk.upstream(0).replies()
    assert len(talk.client.responses()) == 2


def test_a_filter_may_let_the_request_go_at_its_end():
    talk, seen, _ = chain(decode_headers=STOP, decode_data=[STOP, None])
    talk.client(POST + b"abc")
    assert talk.upstreams == 0
    talk.client(b"def")
    assert talk.upstream(0).request.body == b"abcdef"
    assert [part for who, part, _ in of(seen, "decode_data") if who == "c"] == [b"abc", b"def"]
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200


def test_a_filter_without_a_data_hook_holds_bodies_too():
    class Holds(Filter):
        def decode_headers(self, stream: ActiveStream) -> Any:
            self.stream = stream
            return STOP

        def on_complete(self, stream: ActiveStream) -> None:
            del self.stream

    holds = Holds()
    talk = Transcript(filters=[holds])
    talk.client(POST + b"abcdef")
    assert talk.upstreams == 0
    holds.stream.continue_decoding()
    talk.loop.run()
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).replies()


def test_two_filters_may_hold_one_after_the_other():
    seen: list[Any] = []
    spies = [
        Spy("a", seen, decode_headers=STOP, decode_data=[STOP]),
        Spy("b", seen, decode_headers=STOP, decode_data=[STOP]),
    ]
    talk = Transcript(filters=spies)
    talk.client(POST + b"abcdef")
    assert of(seen, "decode_data") == [("a", b"abcdef", True)]
    spies[0].stream.continue_decoding()
    assert of(seen, "decode_headers") == [("a",), ("b",)]
    assert of(seen, "decode_data") == [("a", b"abcdef", True), ("b", b"abcdef", True)]
    assert talk.upstreams == 0
    spies[1].stream.continue_decoding()
    talk.loop.run()
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).replies()


def test_a_filter_may_hold_data_only():
    talk, _, (_, b, _) = chain(decode_data=[STOP])
    talk.client(POST + b"abc")
    assert talk.upstream(0).got.endswith(b"\r\n\r\n"), "the head has gone"
    b.stream.continue_decoding()
    talk.dispatcher.flush()
    talk.client(b"def")
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).replies()


def test_a_filter_replaces_request_data():
    talk, seen, _ = chain(decode_data=[b"123", b"456"])
    talk.client(POST + b"abc")
    talk.client(b"def")
    assert [part for who, part, _ in of(seen, "decode_data") if who == "c"] == [b"123", b"456"]
    assert talk.upstream(0).request.body == b"123456"
    talk.upstream(0).replies()


def test_too_much_held_is_a_413():
    talk, _, _ = chain(decode_headers=STOP, decode_data=STOP)
    talk.hcm.buffer_limit_bytes = 10
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n" + b"x" * 10)
    assert talk.client.got == b""
    talk.client(b"x")
    assert (talk.client_saw.status, talk.client_saw.body) == (413, b"Payload Too Large")
    assert talk.client_saw.one("connection") == "close"
    assert talk.last["details"] == b"request_payload_too_large"
    talk.waits(1.1)


@pytest.mark.parametrize("held", [False, True])
def test_trailers_come_after_the_whole_body(held):
    stops = {"decode_headers": STOP, "decode_data": [STOP], "decode_trailers": STOP} if held else {}
    talk, seen, (_, b, _) = chain(**stops)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n")
    if held:
        assert talk.upstreams == 0
        b.stream.continue_decoding()
        talk.loop.run()
    assert [name for name, hook, *_ in seen if hook == "decode_trailers"] == ["a", "b", "c"]
    assert talk.upstream(0).request.body == b"abc"
    assert talk.upstream(0).request.trailers == [("x-sum", "1")]
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200


def test_trailers_wait_behind_a_filter_that_says_nothing_of_them():
    class Holds(Filter):
        def decode_headers(self, stream: ActiveStream) -> Any:
            self.stream = stream
            return STOP

        def on_complete(self, stream: ActiveStream) -> None:
            del self.stream

    holds = Holds()
    talk = Transcript(filters=[holds], hcm=TRAILERS, a=UP_TRAILERS)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n")
    assert talk.upstreams == 0
    holds.stream.continue_decoding()
    talk.loop.run()
    assert talk.upstream(0).request.body == b"abc"
    assert talk.upstream(0).request.trailers == [("x-sum", "1")]
    talk.upstream(0).replies()


def test_a_filter_may_let_the_request_go_at_its_trailers():
    talk, _, _ = chain(decode_headers=STOP, decode_data=STOP)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n")
    assert talk.upstream(0).request.body == b"abc"
    assert talk.upstream(0).request.trailers == [("x-sum", "1")]
    talk.upstream(0).replies()


@pytest.mark.parametrize("hook", ["decode_headers", "decode_data"])
def test_a_local_reply_of_a_filter_ends_the_request(hook):
    class Denies(Filter):
        def decode_headers(self, stream: ActiveStream) -> Any:
            return stream.local_reply(403, b"no") if hook == "decode_headers" else None

        def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
            return stream.local_reply(403, b"no") if hook == "decode_data" else None

    seen: list[Any] = []
    talk = Transcript(filters=[Denies(), Spy("b", seen)])
    talk.client(POST + b"abcdef")
    assert (talk.client_saw.status, talk.client_saw.body) == (403, b"no")
    assert of(seen, "encode_headers") == [("b",)], "local replies go through the filters"
    assert of(seen, "decode_data") == []


# -- responses -----------------------------------------------------------------------------------------------------


def test_a_filter_that_stops_a_response_holds_everything_behind_it():
    talk, seen, (_, b, _) = chain(encode_headers=STOP, encode_data=[STOP, STOP])
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
    talk.upstream(0).sends(b"def")
    assert talk.client.got == b""
    assert of(seen, "encode_headers") == [("c",), ("b",)]
    b.stream.continue_encoding()
    talk.dispatcher.flush()
    assert talk.client_saw.body == b"abcdef"
    for name in "abc":
        assert [part for who, part, _ in of(seen, "encode_data") if who == name] == [b"abc", b"def"], name


def test_a_filter_may_let_the_response_go_at_its_end():
    talk, seen, _ = chain(encode_headers=STOP, encode_data=[STOP, None])
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
    assert talk.client.got == b""
    talk.upstream(0).sends(b"def")
    assert talk.client_saw.body == b"abcdef"
    assert [part for who, part, _ in of(seen, "encode_data") if who == "a"] == [b"abc", b"def"]


def test_a_response_without_a_body_that_was_held():
    talk, _, (_, b, _) = chain(encode_headers=STOP)
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert talk.client.got == b""
    b.stream.continue_encoding()
    talk.dispatcher.flush()
    assert talk.client_saw.status == 204


def test_a_filter_replaces_response_data():
    talk, seen, _ = chain(encode_data=[b"123"])
    talk.client(GET)
    talk.upstream(0).replies(200, b"abc")
    assert talk.client_saw.body == b"123"
    assert of(seen, "encode_data") == [("c", b"abc", True), ("b", b"abc", True), ("a", b"123", True)]


def test_too_much_of_a_response_held_is_a_500():
    talk, _, _ = chain(encode_headers=STOP, encode_data=STOP)
    talk.hcm.buffer_limit_bytes = 10
    talk.client(GET)
    talk.upstream(0).replies(200, b"x" * 11)
    assert (talk.client_saw.status, talk.client_saw.body) == (500, b"Internal Server Error")
    assert talk.stats["http.front.rs_too_large"] == 1
    assert talk.last["details"] == b"response_payload_too_large"
    assert talk.upstream(0).pipe.lost or talk.upstream(0).requests


class Refuser(Filter):
    """Replies itself in the hook it is told."""

    def __init__(self, hook: str) -> None:
        self.hook = hook

    def _reply(self, stream: ActiveStream, hook: str) -> Any:
        if hook != self.hook:
            return STOP if self.hook == "encode_data" else None
        stream.local_reply(418, b"tea", b"my_words")
        return STOP

    def encode_headers(self, stream: ActiveStream) -> Any:
        return self._reply(stream, "encode_headers")

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        return self._reply(stream, "encode_data") if self.hook != "encode_headers" else None


@pytest.mark.parametrize("hook", ["encode_headers", "encode_data"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_reply_while_the_response_runs_goes_past_the_filters(hook, method):
    """Envoy: sendLocalReply while encoding, before a head has left, is written directly (FilterManager)."""
    seen: list[Any] = []
    added = [{"header": {"key": "x-route", "value": "1"}}]
    other = {**to("a"), "response_headers_to_add": added}
    talk = Transcript(other, filters=[Spy("a", seen), Refuser(hook)])
    talk.client(method + b" / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
    if hook == "encode_data" and method == b"HEAD":
        assert talk.client.got == b""  # nothing comes that could be answered
        talk.client.closes()
        return
    if hook == "encode_data":
        talk.upstream(0).sends(b"secret")
    saw = talk.client_saw
    assert (saw.status, saw.body) == (418, b"" if method == b"HEAD" else b"tea")
    assert (saw.one("content-length"), saw.one("x-route")) == ("3", "1")
    assert of(seen, "encode_headers", "encode_data") == []
    assert (talk.last["status"], talk.last["details"]) == (418, b"my_words")
    assert not talk.client.is_closed


def test_a_reply_after_the_head_has_left_resets():
    class Late(Filter):
        def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
            stream.local_reply(418, b"tea", b"my_words")
            return STOP

    talk = Transcript(filters=[Late()])
    talk.client(GET)
    talk.upstream(0).replies(200, b"abc")
    assert talk.client.is_closed and talk.client.got.startswith(b"HTTP/1.1 200 OK")
    assert talk.last["details"] == b"my_words"


@pytest.mark.parametrize("held", [False, True])
def test_response_trailers_come_after_the_whole_body(held):
    stops = {"encode_headers": STOP, "encode_data": STOP, "encode_trailers": STOP} if held else {}
    talk, seen, (_, b, _) = chain(**stops)
    talk.client(GET)
    talk.upstream(0).sends(chunked([b"abc"], trailers=[("x-sum", "1")]).data)
    if held:
        assert talk.client.got == b""
        b.stream.continue_encoding()
        talk.dispatcher.flush()
    assert [name for name, hook, *_ in seen if hook == "encode_trailers"] == ["c", "b", "a"]
    assert talk.client_saw.body == b"abc"
    assert talk.client_saw.trailers == [("x-sum", "1")]


@pytest.mark.parametrize("direction", ["decode", "encode"])
def test_a_client_that_leaves_while_a_filter_holds(direction):
    talk, _, _ = chain(**{f"{direction}_headers": STOP, f"{direction}_data": STOP})
    talk.client(POST + b"abcdef")
    if direction == "encode":
        talk.upstream(0).sends(reply(200, b"ok").data)
    talk.client.resets()
    assert talk.stats["http.front.downstream_rq_active"] == 0
