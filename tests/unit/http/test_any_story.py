"""Whatever clients and upstreams do, in whatever order: no mistake of ours, nothing left over, no foreign bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.messages import Closed
from tests.support.transcript import REFUSED, Transcript, clean, to
from tests.support.upstream import chunked, reply

REQUESTS = [
    b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n",
    b"HEAD /%d HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0123456789",
    b"POST /%d HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /%d HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
    b"GET /%d HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    b"nonsense /%d\r\n\r\n",
]
RESPONSES = [
    reply(200, b"ok").data,
    reply(503, b"no").data,
    reply(200, b"x" * 3000).data,
    reply(200, b"bye", [("connection", "close")]).data,
    chunked([b"abc", b"de"]).data,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(200, b"ok").data,
    b"HTTP/1.1 200 OK\r\n\r\nto the close",
    b"garbage\r\n\r\n",
]
NUMBER = st.integers(0, 3)
ACTIONS = st.one_of(
    st.tuples(st.just("request"), NUMBER, st.integers(0, len(REQUESTS) - 1), st.integers(1, 120)),
    st.tuples(st.just("response"), NUMBER, st.integers(0, len(RESPONSES) - 1), st.integers(1, 4000)),
    st.tuples(
        st.sampled_from(["client", "upstream"]),
        NUMBER,
        st.sampled_from(["resets", "closes", "stalls", "reads"]),
    ),
    st.tuples(st.just("time"), st.sampled_from([0.03, 0.3, 1.2, 6.0, 20.0])),
    st.tuples(st.just("connects"), st.sampled_from(["open", "refuse", "hang"])),
    st.tuples(st.just("drain")),
)
POLICY = {"retry_on": "5xx,reset,connect-failure", "num_retries": 2, "per_try_timeout": "2s"}
LIMITS = {
    "circuit_breakers": {"thresholds": [{"max_connections": 2, "max_pending_requests": 2, "max_requests": 3}]}
}


class Story:
    """Plays actions. What is sent in pieces is finished by the next action on the same connection."""

    def __init__(self, hedges: bool) -> None:
        hedging = {"hedge_policy": {"hedge_on_per_try_timeout": True}} if hedges else {}
        self.talk = Transcript(
            to("a", timeout="5s", retry_policy=POLICY, **hedging),
            hcm={"stream_idle_timeout": "8s", "request_headers_timeout": "3s"},
            listener={"per_connection_buffer_limit_bytes": 2000},
            a={**LIMITS, "per_connection_buffer_limit_bytes": 2000, "connect_timeout": "1s"},
        )
        for _ in range(3):
            self.talk.connects()
        self.rest: dict[Any, bytes] = {}
        self.serial = 0

    def _piece(self, key: Any, fresh: bytes, cut: int) -> bytes:
        whole = self.rest.pop(key, b"") or fresh
        if whole[cut:]:
            self.rest[key] = whole[cut:]
        return whole[:cut]

    def request(self, number: int, kind: int, cut: int) -> None:
        client = self.talk.clients[number]
        if not client.pipe.lost:
            self.serial += 1
            template = REQUESTS[kind]
            client(self._piece(client, template.replace(b"%d", b"%d" % self.serial), cut))

    def response(self, number: int, kind: int, cut: int) -> None:
        if self.talk.upstreams:
            upstream = self.talk.upstream(number % self.talk.upstreams)
            if not upstream.pipe.lost:
                upstream.sends(self._piece(upstream.pipe, RESPONSES[kind], cut))

    def client(self, number: int, what: str) -> None:
        client = self.talk.clients[number]
        if not client.pipe.lost or what == "reads":
            getattr(client, what)()

    def upstream(self, number: int, what: str) -> None:
        if self.talk.upstreams:
            upstream = self.talk.upstream(number % self.talk.upstreams)
            if not upstream.pipe.lost or what == "reads":
                getattr(upstream, what)()

    def time(self, seconds: float) -> None:
        self.talk.waits(seconds)

    def connects(self, how: str) -> None:
        self.talk.loop.outcome = REFUSED if how == "refuse" else how

    def drain(self) -> None:
        self.talk.drains()

    def check(self) -> None:
        """Every client got messages, perhaps a last one that is cut, never anything else."""
        for client in self.talk.clients:
            try:
                answers = client.responses()
            except (Closed, ValueError):
                continue  # heads and bodies of HEAD and GET are mixed in one pipeline: cut where it cannot be told
            assert all(100 <= each.status < 600 for each in answers)
            assert b"garbage" not in client.got


@given(st.lists(ACTIONS, max_size=25), st.booleans())
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_story_ends_clean(actions, hedges):
    with clean():
        story = Story(hedges)
        for name, *values in actions:
            getattr(story, name)(*values)
        story.check()
