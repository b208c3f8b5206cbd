"""Python filters: hooks sync and async, whole bodies, errors contained, configuration refused with its place."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from opentelemetry import trace

from proxy.base.errors import ConfigRefused
from proxy.base.headers import HeaderMap
from proxy.ext.filters.http.python.faults import LOGGED, WINDOW_S
from proxy.http.filter import STOP, Filter
from proxy.http.stream import ActiveStream
from tests.support.config import TYPES, Config, cluster, zipkin
from tests.support.transcript import GET, Transcript, to

PYTHON = "type.googleapis.com/outrider.filters.http.python.v1.Python"
ROUTER = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
UP_TRAILERS = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        }
    }
}
TRAILERS = {"http_protocol_options": {"enable_trailers": True}}

#: what the classes below have seen, and what they wait for
SEEN: list[Any] = []
GATES: list[asyncio.Future[Any]] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    SEEN.clear()
    GATES.clear()


async def gate() -> Any:
    """Waits until the test opens it."""
    future: asyncio.Future[Any] = asyncio.Future(loop=LOOP[0])
    GATES.append(future)
    return await future


LOOP: list[Any] = [None]


def python(target: str, name: str = "mine", **more: Any) -> Config:
    return {"name": name, "typed_config": {"@type": PYTHON, "filter": f"{__name__}:{target}", **more}}


def talk_of(*filters: Config, route: Config | None = None, **more: Any) -> Transcript:
    hcm = {"http_filters": [*filters, ROUTER], **more.pop("hcm", {})}
    one = {"match": {"prefix": "/"}, "route": {"cluster": "a"}, "typed_per_filter_config": route or {}}
    talk = Transcript(one, hcm=hcm, **more)
    LOOP[0] = talk.loop
    return talk


def open_gate(talk: Transcript, number: int = 0, value: Any = None) -> None:
    GATES[number].set_result(value)
    talk.loop.run()


# -- the hooks -------------------------------------------------------------------------------------------------------


class Everything:
    """Writes down all its hooks."""

    def __init__(self, config: dict[str, Any], context: Any) -> None:
        self.word = config.get("word", "")
        self.calls = context.counter("calls")

    def decode_headers(self, stream: ActiveStream) -> None:
        assert stream.request_headers is not None
        stream.request_headers.set(b"x-word", self.word.encode())
        self.calls.value += 1

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes:
        SEEN.append(("decode", bytes(data), end))
        return data.upper()

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> None:
        SEEN.append(("decode", trailers.fields))

    def encode_headers(self, stream: ActiveStream) -> None:
        assert stream.response_headers is not None
        stream.response_headers.add(b"x-done", b"1")

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes:
        SEEN.append(("encode", bytes(data), end))
        return data * 2

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> None:
        SEEN.append(("encode", trailers.fields))

    def on_complete(self, stream: ActiveStream) -> None:
        SEEN.append(("complete", stream.status))


def test_every_hook() -> None:
    talk = talk_of(python("Everything", config={"word": "hi"}), hcm=TRAILERS)
    talk.client(POST + b"abcdef")
    upstream = talk.upstream()
    assert upstream.request.one("x-word") == "hi"
    assert (upstream.request.body, upstream.request.one("content-length")) == (b"ABCDEF", None)
    upstream.replies(200, b"ok")
    saw = talk.client_saw
    assert (saw.one("x-done"), saw.body, saw.one("content-length")) == ("1", b"okok", None)
    assert SEEN == [("decode", b"abcdef", True), ("encode", b"ok", True), ("complete", 200)]
    assert talk.stats["http.front.python.mine.calls"] == 1


def test_trailers() -> None:
    talk = talk_of(python("Everything"), hcm=TRAILERS)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    assert SEEN == [("decode", b"abc", False), ("decode", [(b"x-t", b"1")])]


class Redactor:
    """Keeps the length."""

    keeps_length = True

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes:
        return data.replace(b"secret", b"******")


class Liar(Redactor):
    """Does not."""

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> bytes:
        return data + b"!"


def test_a_filter_that_keeps_the_length_keeps_the_field() -> None:
    talk = talk_of(python("Redactor"))
    talk.client(GET)
    talk.upstream().replies(200, b"a secret.")
    assert (talk.client_saw.one("content-length"), talk.client_saw.body) == ("9", b"a ******.")


def test_a_promise_to_keep_the_length_is_held_to() -> None:
    talk = talk_of(python("Liar"))
    talk.client(GET)
    talk.upstream().replies(200, b"abc")
    assert talk.last["details"] == b"python_filter_error"
    assert talk.stats["http.front.python.mine.errors"] == 1


class Silent(Filter):
    """Has a filter's empty hooks only."""


class OnlyEnd:
    """Only looks at the end."""

    def on_complete(self, stream: ActiveStream) -> None:
        SEEN.append(stream.status)


def test_hooks_that_a_class_has_not_are_not_in_the_chain() -> None:
    chain = talk_of(python("OnlyEnd")).hcm.chain
    router_only = [chain.decode_headers, chain.decode_data, chain.decode_trailers]
    assert [len(hooks) for hooks in router_only] == [1, 1, 1]
    assert chain.encode_headers == chain.encode_data == chain.encode_trailers == ()
    assert chain.terminal_data is not None


# -- whole bodies ----------------------------------------------------------------------------------------------------


class WholeBodies:
    """Turns bodies round."""

    def decode_body(self, stream: ActiveStream, body: bytes) -> bytes:
        assert stream.request_headers is not None
        stream.request_headers.set(b"x-size", b"%d" % len(body))
        return body[::-1] + b"."

    def encode_body(self, stream: ActiveStream, body: bytes) -> bytes | None:
        return None if body == b"same" else b"[" + body + b"]"


def test_a_body_is_given_whole_and_its_length_is_honest() -> None:
    talk = talk_of(python("WholeBodies"))
    talk.client(POST + b"abc")
    assert talk.upstreams == 0
    talk.client(b"def")
    request = talk.upstream().request
    assert (request.one("x-size"), request.body, request.one("content-length")) == ("6", b"fedcba.", "7")
    talk.upstream().replies_chunked(b"one", b"two")
    saw = talk.client_saw
    assert (saw.body, saw.one("content-length"), saw.one("transfer-encoding")) == (b"[onetwo]", "8", None)


def test_a_body_that_stays_stays_as_it_was() -> None:
    talk = talk_of(python("WholeBodies"))
    talk.client(GET)
    assert talk.upstream().head.one("x-size") is None
    talk.upstream().replies(200, b"same")
    assert (talk.client_saw.body, talk.client_saw.one("content-length")) == (b"same", "4")


def test_whole_bodies_with_trailers() -> None:
    talk = talk_of(python("WholeBodies"), hcm=TRAILERS)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    assert talk.upstream().request.body == b"cba."
    assert talk.upstream().request.one("content-length") is None


def test_whole_bodies_are_bounded() -> None:
    small = {"per_connection_buffer_limit_bytes": 20}
    talk = talk_of(python("WholeBodies"), listener=small)
    talk.client(CHUNKED + b"14\r\n" + b"a" * 20 + b"\r\n")
    assert talk.client.got == b""
    talk.client(b"1\r\na\r\n")
    assert (talk.client_saw.status, talk.last["details"]) == (413, b"request_payload_too_large")
    talk = talk_of(python("WholeBodies"), listener=small)
    talk.client(GET)
    talk.upstream().replies(200, b"a" * 21)
    assert talk.last["details"] == b"response_payload_too_large"
    assert talk.stats["http.front.rs_too_large"] == 1


class Choosy(WholeBodies):
    """Wants short bodies only, and fails at unknown ones."""

    def encode_wants_body(self, stream: ActiveStream) -> bool:
        assert stream.response_headers is not None
        length = stream.response_headers.get(b"content-length")
        if length is None:
            raise LookupError("no length")
        return int(length) < 4


def test_a_filter_may_want_the_body_of_some_messages_only() -> None:
    talk = talk_of(python("Choosy"))
    talk.client(GET)
    talk.upstream().replies(200, b"abc")
    assert talk.client_saw.body == b"[abc]"
    talk.client(GET)
    talk.upstream().replies(200, b"abcd")
    assert talk.client_saw.body == b"abcd"
    talk.client(GET)
    talk.upstream().replies_chunked(b"abc")
    assert (talk.client_saw.status, talk.last["details"]) == (500, b"python_filter_error")


def test_two_filters_that_gather() -> None:
    talk = talk_of(python("WholeBodies", "one"), python("WholeBodies", "two"))
    talk.client(POST + b"abcdef")
    assert (talk.upstream().request.body, talk.upstream().request.one("x-size")) == (b".abcdef.", "7")
    talk.upstream().replies(200, b"x")
    assert talk.client_saw.body == b"[[x]]"


# -- hooks that await ------------------------------------------------------------------------------------------------


class Patient:
    """Waits in every hook for the test to open its gate."""

    async def decode_headers(self, stream: ActiveStream) -> Any:
        SEEN.append("decode_headers")
        return await gate()

    async def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        SEEN.append(("decode_data", bytes(data), end))
        return await gate()

    async def encode_headers(self, stream: ActiveStream) -> Any:
        SEEN.append("encode_headers")
        return await gate()

    async def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        SEEN.append(("encode_data", bytes(data), end))
        return await gate()


def test_heads_and_bodies_wait_in_order() -> None:
    talk = talk_of(python("Patient"))
    talk.client(POST + b"abc")
    assert (SEEN, talk.upstreams) == (["decode_headers"], 0)
    talk.client(b"def")
    open_gate(talk, 0)
    assert SEEN[1:] == [("decode_data", b"abc", False)] and talk.upstreams == 1
    open_gate(talk, 1, b"one")
    assert SEEN[2:] == [("decode_data", b"def", True)]
    open_gate(talk, 2)
    assert (talk.upstream().request.body, talk.upstream().request.one("content-length")) == (b"onedef", None)
    SEEN.clear()
    talk.upstream().replies(200, b"answer")
    assert SEEN == ["encode_headers"] and talk.client.got == b""
    open_gate(talk, 3)
    assert SEEN[1:] == [("encode_data", b"answer", True)]
    open_gate(talk, 4, b"other")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"other")
    assert talk.parts.context.tasks.running == set()


class Setter:
    """Sets the header it is told, at once or after a while."""

    FIELDS: ClassVar[dict[str, tuple[Any, Any]]] = {
        "split": (b"x-bad", b"1\r\nx-worse: 2"),
        "text": (b"x-text", "text"),
        "name": (b"X-Upper", b"1"),
    }

    def __init__(self, config: dict[str, Any]) -> None:
        self.field = self.FIELDS[config["field"]]

    async def decode_headers(self, stream: ActiveStream) -> None:
        await gate()
        assert stream.request_headers is not None
        stream.request_headers.set(*self.field)


class SetterAtOnce(Setter):
    def decode_headers(self, stream: ActiveStream) -> None:  # type: ignore[override]
        assert stream.request_headers is not None
        stream.request_headers.set(*self.field)


@pytest.mark.parametrize("field", Setter.FIELDS)
@pytest.mark.parametrize("target", ["Setter", "SetterAtOnce"])
def test_a_header_that_cannot_be_written_is_the_filters_error(target: str, field: str) -> None:
    talk = talk_of(python(target, config={"field": field}))
    talk.client(GET)
    if target == "Setter":
        open_gate(talk)
    assert (talk.client_saw.status, talk.upstreams) == (500, 0)
    talk = talk_of(python(target, config={"field": field}, on_error="CONTINUE"))
    talk.client(GET)
    if target == "Setter":
        open_gate(talk, 1)
    assert b"x-bad" not in talk.upstream().got and b"x-worse" not in talk.upstream().got
    talk.upstream().replies(200)


class Guard:
    """Refuses after a while."""

    async def decode_headers(self, stream: ActiveStream) -> Any:
        await gate()
        stream.local_reply(403, b"no", b"guard")
        return STOP


def test_an_async_hook_answers_itself() -> None:
    talk = talk_of(python("Guard"))
    talk.client(POST + b"abcdef")
    open_gate(talk)
    assert (talk.client_saw.status, talk.client_saw.body, talk.upstreams) == (403, b"no", 0)
    assert talk.last["details"] == b"guard"


class Sleeper:
    """Passes the head on after a while; has no hook for bodies."""

    async def decode_headers(self, stream: ActiveStream) -> None:
        await gate()

    async def encode_headers(self, stream: ActiveStream) -> None:
        await gate()


def test_a_mirror_gets_the_body_that_waited_behind_a_head() -> None:
    mirrored = to("a", request_mirror_policies=[{"cluster": "copy"}])
    talk = Transcript(
        mirrored, hcm={"http_filters": [python("Sleeper"), ROUTER]}, clusters=[cluster("copy", 9101)]
    )
    LOOP[0] = talk.loop
    talk.client(POST + b"abcdef")
    open_gate(talk)
    assert [talk.upstream(number).request.body for number in range(2)] == [b"abcdef"] * 2


def test_a_request_without_a_body_ends_with_its_head() -> None:
    talk = talk_of(python("Sleeper"))
    talk.client(GET)
    open_gate(talk)
    assert talk.upstream().request.start_line == "GET / HTTP/1.1"
    talk.upstream().replies(204, b"")
    open_gate(talk, 1)
    assert talk.client_saw.status == 204


def test_bodies_do_not_overtake_a_head_that_waits() -> None:
    talk = talk_of(python("Sleeper", "one"), python("Sleeper", "two"))
    talk.client(POST + b"abcdef")
    open_gate(talk, 0)
    assert talk.upstreams == 0
    open_gate(talk, 1)
    assert (talk.upstream().request.body, talk.upstream().request.one("content-length")) == (b"abcdef", "6")
    talk.upstream().replies_chunked(b"a", b"b")
    open_gate(talk, 2)
    open_gate(talk, 3)
    assert talk.client_saw.body == b"ab"


class Collector(Filter):
    """Holds the request's body until it is whole, with STOP."""

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> Any:
        return None if end else STOP


def test_an_earlier_filter_that_holds_the_body_keeps_holding_it() -> None:
    talk = talk_of(python("Collector", "one"), python("Sleeper", "two"))
    talk.client(POST + b"abc")
    open_gate(talk)  # the head goes on; the body stays with the first filter
    assert talk.upstreams == 1 and talk.upstream().got.endswith(b"\r\n\r\n")
    talk.client(b"def")
    assert talk.upstream().request.body == b"abcdef"
    talk.upstream().replies(200)
    open_gate(talk, 1)
    assert talk.client_saw.status == 200


def test_a_client_that_leaves_cancels_the_hook() -> None:
    talk = talk_of(python("Sleeper"))
    talk.client(GET)
    talk.client.resets()
    assert GATES[0].cancelled() or talk.parts.context.tasks.running == set()
    assert talk.last["flags"] and talk.stats["http.front.python.mine.errors"] == 0


def test_a_hook_that_never_returns_runs_out_of_time(caplog: pytest.LogCaptureFixture) -> None:
    talk = talk_of(python("Sleeper", timeout="2s"))
    talk.client(GET)
    talk.waits(1.9)
    assert talk.client.got == b""
    talk.waits(0.2)
    assert (talk.client_saw.status, talk.last["details"]) == (500, b"python_filter_error")
    assert talk.stats["http.front.python.mine.timeouts"] == 1
    assert talk.stats["http.front.python.mine.errors"] == 1
    assert "python filter mine: decode_headers failed" in caplog.text and "within 2 s" in caplog.text


def test_a_response_hook_that_never_returns_gives_500() -> None:
    talk = talk_of(
        python("Patient", timeout="1s", on_error="CONTINUE"), python("Patient", "second", timeout="3s")
    )
    talk.client(GET)
    talk.waits(1.1)  # the first is skipped from now on
    open_gate(talk, 1)
    talk.upstream().replies(200, b"x")
    talk.waits(3.1)
    assert (talk.client_saw.status, talk.last["details"]) == (500, b"python_filter_error")


def test_what_may_await_at_once_is_bounded() -> None:
    talk = talk_of(python("Sleeper", max_concurrent_hooks=1))
    talk.client(GET)
    second = talk.connects()
    second(GET)
    assert second.responses()[-1].status == 500
    assert talk.stats["http.front.python.mine.overflow"] == 1
    open_gate(talk)
    talk.upstream().replies(200)
    open_gate(talk, 1)
    assert talk.client_saw.status == 200


# -- tracing ---------------------------------------------------------------------------------------------------------


class Spanner:
    """Says something in the current span, at once and after a while."""

    def encode_headers(self, stream: ActiveStream) -> None:
        trace.get_current_span().set_attribute("sync", 1)

    async def decode_headers(self, stream: ActiveStream) -> None:
        await gate()
        SEEN.append(trace.get_current_span().get_span_context().trace_id)
        trace.get_current_span().set_attribute("tier", "gold")


def test_the_current_span_is_the_proxys() -> None:
    talk = talk_of(
        python("Spanner"), hcm={"tracing": zipkin("spans")}, clusters=[cluster("spans", 9100)], vhost={}
    )
    talk.client(
        b"GET / HTTP/1.1\r\nhost: a\r\nx-b3-traceid: %016x\r\nx-b3-spanid: %016x\r\nx-b3-sampled: 1\r\n\r\n"
        % (7, 8)
    )
    assert not trace.get_current_span().get_span_context().is_valid
    open_gate(talk)
    assert SEEN == [7]
    talk.upstream().replies(200)
    talk.waits(6.0)
    [span] = json.loads(talk.upstream(1).request.body)
    assert (span["tags"]["tier"], span["tags"]["sync"]) == ("gold", "1")
    talk.upstream(1).replies(202)


# -- a filter's own requests -----------------------------------------------------------------------------------------


class Asks:
    """Asks a cluster before it lets a request go."""

    def __init__(self, config: dict[str, Any], context: Any) -> None:
        self.context = context

    async def decode_headers(self, stream: ActiveStream) -> None:
        answer = await self.context.request("side", "/who", method="POST", headers={"X-A": "1"}, body=b"{}")
        assert stream.request_headers is not None
        stream.request_headers.set(b"x-who", b"%d %b" % (answer.status, answer.body))


def test_a_filter_asks_a_cluster() -> None:
    talk = talk_of(python("Asks"), clusters=[cluster("side", 9100)])
    talk.client(GET)
    asked = talk.upstream(0).request
    assert (asked.start_line, asked.one("host"), asked.one("x-a"), asked.body) == (
        "POST /who HTTP/1.1",
        "side",
        "1",
        b"{}",
    )
    talk.upstream(0).replies(200, b"me")
    assert talk.upstream(1).request.one("x-who") == "200 me"
    talk.upstream(1).replies(200)


def test_a_cluster_that_is_not_there_answers_nothing() -> None:
    talk = talk_of(python("Asks"))
    talk.client(GET)
    assert talk.upstream(0).request.one("x-who") == "0"
    talk.upstream(0).replies(200)


# -- errors ----------------------------------------------------------------------------------------------------------


class Broken:
    """Raises in the hook it is told."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.hook = config["hook"]

    def _hook(self, name: str) -> None:
        SEEN.append(name)
        if name == self.hook:
            raise RuntimeError(f"in {name}")

    def decode_headers(self, stream: ActiveStream) -> None:
        self._hook("decode_headers")

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        self._hook("decode_data")

    def encode_headers(self, stream: ActiveStream) -> None:
        self._hook("encode_headers")

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        self._hook("encode_data")

    def on_complete(self, stream: ActiveStream) -> None:
        self._hook("on_complete")


def broken(hook: str, **more: Any) -> Transcript:
    talk = talk_of(python("Broken", config={"hook": hook}, **more))
    talk.client(POST + b"abcdef")
    if talk.upstreams and talk.upstream().pipe.got:
        talk.upstream().replies(200, b"ok")
    return talk


@pytest.mark.parametrize("hook", ["decode_headers", "decode_data", "encode_headers"])
def test_an_error_is_a_500(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    talk = broken(hook)
    assert (talk.client_saw.status, talk.client_saw.body) == (500, b"")
    assert talk.last["details"] == b"python_filter_error"
    assert talk.stats["http.front.python.mine.errors"] == 1
    assert f"python filter mine: {hook} failed" in caplog.text and f"RuntimeError: in {hook}" in caplog.text
    assert talk.stats["http.front.downstream_rq_5xx"] == 1


class Leaving:
    """Calls exit()."""

    def decode_headers(self, stream: ActiveStream) -> None:
        raise SystemExit(3)


def test_a_filter_that_exits_is_a_500() -> None:
    talk = talk_of(python("Leaving"))
    talk.client(GET)
    assert talk.client_saw.status == 500
    assert talk.stats["http.front.python.mine.errors"] == 1


class Answering:
    """Replies with what is no status."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.status = config["status"]

    def decode_headers(self, stream: ActiveStream) -> None:
        stream.local_reply(self.status)


@pytest.mark.parametrize("status", ["200", 99999, 101, [200], None])
def test_a_reply_without_a_status_is_a_500_and_harms_no_statistics(status: Any) -> None:
    talk = talk_of(python("Answering", config={"status": status}))
    talk.client(GET)
    assert talk.client_saw.status == 500
    assert talk.stats["http.front.downstream_rq_5xx"] == 1


class Setting:
    """Sets an attribute of a head, at once or after a pause."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.attribute, self.value = config["attribute"], config["value"]
        if isinstance(self.value, str):
            self.value = self.value.encode()

    def _set(self, head: Any) -> None:
        if hasattr(head, self.attribute):
            setattr(head, self.attribute, int(self.value) if type(self.value) is float else self.value)

    def decode_headers(self, stream: ActiveStream) -> None:
        self._set(stream.request_headers)

    def encode_headers(self, stream: ActiveStream) -> None:
        self._set(stream.response_headers)


class SettingLater(Setting):
    async def decode_headers(self, stream: ActiveStream) -> None:  # type: ignore[override]
        self._set(stream.request_headers)

    async def encode_headers(self, stream: ActiveStream) -> None:  # type: ignore[override]
        self._set(stream.response_headers)


UNFIT = [
    *(("status", 99999), ("status", 99), ("status", None), ("status", "200"), ("path", None)),
    *(("path", "/a b"), ("path", "/a\r\nx: y"), ("path", ""), ("method", "G T"), ("method", None)),
    *(("authority", "a\n"), ("authority", None), ("scheme", "gopher"), ("path", 7)),
]


@pytest.mark.parametrize("name", ["Setting", "SettingLater"])
@pytest.mark.parametrize("on_error", ["FAIL", "CONTINUE"])
@pytest.mark.parametrize(("attribute", "value"), UNFIT)
def test_what_no_codec_can_write_is_the_filters_own_error(
    name: str, on_error: str, attribute: str, value: Any
) -> None:
    config = {"attribute": attribute, "value": value}
    talk = talk_of(python(name, config=config, on_error=on_error))
    talk.client(GET)
    talk.loop.run()
    if on_error == "CONTINUE" or attribute == "status":
        assert talk.upstream().request.start_line == "GET / HTTP/1.1"
        talk.upstream().replies(200, b"ok")
    assert talk.client_saw.status == (200 if on_error == "CONTINUE" else 500)
    assert talk.stats["http.front.python.mine.errors"] == 1
    assert not talk.client.is_closed


@pytest.mark.parametrize("name", ["Setting", "SettingLater"])
@pytest.mark.parametrize(("attribute", "value"), [("status", 404), ("path", "/else?a"), ("method", "PUT")])
def test_what_can_be_written_is(name: str, attribute: str, value: Any) -> None:
    talk = talk_of(python(name, config={"attribute": attribute, "value": value}))
    talk.client(GET)
    talk.loop.run()
    wanted = {"path": "GET /else?a HTTP/1.1", "method": "PUT / HTTP/1.1"}
    assert talk.upstream().request.start_line == wanted.get(attribute, "GET / HTTP/1.1")
    talk.upstream().replies(200, b"ok")
    assert talk.client_saw.status == (404 if attribute == "status" else 200)


class BadTrailers:
    """Adds a field that would break the message."""

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> None:
        trailers.add(b"x-a", b"1\r\n\r\nGET / HTTP/1.1")


def test_trailers_are_looked_at_too() -> None:
    talk = talk_of(python("BadTrailers", on_error="CONTINUE"), hcm=TRAILERS, a=UP_TRAILERS)
    talk.client(CHUNKED + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    assert talk.upstream().request.trailers == [("x-t", "1")]
    assert talk.stats["http.front.python.mine.errors"] == 1


class Refusing:
    """Answers in place of the host."""

    def encode_headers(self, stream: ActiveStream) -> Any:
        stream.local_reply(451, b"not here", b"withheld")
        return STOP


def test_a_response_is_replaced_by_a_reply() -> None:
    talk = talk_of(python("Refusing"))
    talk.client(GET)
    talk.upstream().replies(200, b"secret")
    assert (talk.client_saw.status, talk.client_saw.body) == (451, b"not here")
    assert talk.last["details"] == b"withheld" and not talk.client.is_closed
    assert talk.stats["http.front.python.mine.errors"] == 0


def test_an_error_behind_the_head_resets() -> None:
    talk = broken("encode_data")
    assert talk.client.is_closed and talk.last["details"] == b"python_filter_error"


def test_an_error_at_the_end_harms_nobody() -> None:
    talk = broken("on_complete")
    assert talk.client_saw.status == 200
    assert talk.stats["http.front.python.mine.errors"] == 1


@pytest.mark.parametrize(
    "hook", ["decode_headers", "decode_data", "encode_headers", "encode_data", "on_complete"]
)
def test_or_the_filter_is_skipped_for_the_rest_of_the_stream(hook: str) -> None:
    talk = broken(hook, on_error="CONTINUE")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"ok")
    assert talk.upstream().request.body == b"abcdef"
    assert SEEN[-1] == hook
    assert talk.stats["http.front.python.mine.errors"] == 1


class Wrong:
    """Returns what is no answer."""

    def decode_headers(self, stream: ActiveStream) -> str:
        return "yes"


def test_a_wrong_answer_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    talk = talk_of(python("Wrong"))
    talk.client(GET)
    assert talk.client_saw.status == 500
    assert "decode_headers returned str" in caplog.text


def test_the_log_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    talk = talk_of(python("Wrong"))
    for _ in range(LOGGED + 5):
        talk.client(GET)
    assert len(caplog.records) == LOGGED
    assert talk.stats["http.front.python.mine.errors"] == LOGGED + 5
    talk.waits(WINDOW_S + 1)
    talk.client(GET)
    assert "5 more errors were not logged" in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR


# -- configuration ---------------------------------------------------------------------------------------------------


def refused(config: Config, **more: Any) -> str:
    with pytest.raises(ConfigRefused) as caught:
        talk_of({"name": "mine", "typed_config": {"@type": PYTHON, **config}}, **more)
    return str(caught.value)


class Picky:
    """Wants a number."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.number = int(config["number"])

    def decode_headers(self, stream: ActiveStream) -> None: ...


HERE = __name__


@pytest.mark.parametrize(
    "config, path, said",
    [
        ({}, "", "exactly one of filter and file"),
        ({"filter": "a:B", "file": "b.py", "class": "C"}, "", "exactly one of filter and file"),
        ({"filter": "nowhere_to_be_found:B"}, ".filter", "ModuleNotFoundError"),
        ({"filter": "json"}, ".filter", 'is not "module:Class"'),
        ({"filter": "json:Nothing"}, ".filter", "json has no class Nothing"),
        ({"filter": "json:dumps"}, ".filter", "json has no class dumps"),
        ({"filter": "json:JSONDecoder", "class": "X"}, ".class", "is only for file"),
        ({"filter": "json:JSONDecoder"}, "", "has none of a filter's hooks"),
        ({"filter": f"{HERE}:Silent"}, "", "has none of a filter's hooks"),
        ({"filter": f"{HERE}:OnlyEnd", "config": {"a": 1}}, ".config", "takes no configuration"),
        ({"filter": f"{HERE}:Picky", "config": {"number": "x"}}, ".config", "ValueError: invalid literal"),
        ({"filter": f"{HERE}:Picky"}, ".filter", "KeyError: 'number' (test_python.py:"),
        ({"filter": f"{HERE}:OnlyEnd", "timeout": "0s"}, ".timeout", "must be greater than 0"),
        ({"file": "x.py"}, ".class", "is missing"),
        ({"file": "missing.py", "class": "X"}, ".file", "FileNotFoundError"),
        ({"filter": f"{HERE}:OnlyEnd", "nope": 1}, ".nope", "nope"),
    ],
)
def test_refused_with_its_place(config: Config, path: str, said: str) -> None:
    text = refused(config)
    assert said in text, text
    assert f"http_filters[0].typed_config{path}:" in text, text


GREETER = """
import dataclasses

@dataclasses.dataclass
class Greeter:
    config: dict

    def encode_headers(self, stream):
        stream.response_headers.add(b"x-greeting", self.config["text"].encode())
"""


def file_filter(text: str, name: str = "file", file: str = "filters/greeter.py") -> Config:
    config = {"@type": PYTHON, "file": file, "class": "Greeter", "config": {"text": text}}
    return {"name": name, "typed_config": config}


@pytest.fixture
def greeter(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        (tmp_path / "filters").mkdir(exist_ok=True)
        (tmp_path / "filters" / "greeter.py").write_text(text)
        return str(tmp_path / "bootstrap.json")

    return write


def test_a_class_in_a_file_beside_the_bootstrap(greeter: Callable[[str], str]) -> None:
    talk = talk_of(file_filter("a", "one"), file_filter("b", "two"), file=greeter(GREETER))
    talk.client(GET)
    talk.upstream().replies(200)
    assert talk.client_saw.all("x-greeting") == ["b", "a"]
    one, two = (filter.target for filter in talk.hcm.chain.filters if hasattr(filter, "target"))
    assert type(one) is type(two)


@pytest.mark.parametrize(
    "text, said",
    [
        ("def (:\n", "SyntaxError: invalid syntax"),
        (
            "import nowhere_to_be_found\n",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found' (greeter.py:1)",
        ),
        ("\n1 / 0\n", "ZeroDivisionError: division by zero (greeter.py:2)"),
        ("raise SystemExit('bye')\n", "SystemExit: bye"),
        ("Other = 1\n", "has no class Greeter"),
    ],
)
def test_a_file_that_is_broken(greeter: Callable[[str], str], text: str, said: str) -> None:
    place = greeter(text)
    with pytest.raises(ConfigRefused) as caught:
        talk_of(file_filter("a"), file=place)
    assert said in str(caught.value)
    assert any(end in str(caught.value) for end in (".file:", ".class:"))


# -- per route -------------------------------------------------------------------------------------------------------


def test_a_route_has_a_filter_of_its_own() -> None:
    own = {"@type": PYTHON, "filter": f"{HERE}:Everything", "config": {"word": "route"}}
    talk = talk_of(python("Everything", config={"word": "base"}), route={"mine": own})
    talk.client(GET)
    assert talk.upstream().request.one("x-word") == "route"
    talk.upstream().replies(200)
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    talk = talk_of(python("Everything", config={"word": "base"}), route={"mine": off})
    talk.client(GET)
    assert talk.upstream().request.one("x-word") is None
    talk.upstream().replies(200)
