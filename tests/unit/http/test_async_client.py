"""The proxy's own requests: one answer each, whatever happens."""

from __future__ import annotations

import pytest

from proxy.base.headers import RequestHeaders
from tests.support.transcript import REFUSED, Transcript


class Call:
    """One request of ours to cluster "a", and its answers."""

    def __init__(
        self, talk: Transcript, body: bytes = b"hello", cluster: str = "a", timeout_s: float = 5.0
    ) -> None:
        self.talk = talk
        self.answers: list[tuple[int, bytes]] = []
        headers = RequestHeaders(b"POST", b"/api", b"a", b"http", [(b"content-type", b"x/y")])
        talk.parts.client.send(cluster, headers, body, timeout_s, lambda *answer: self.answers.append(answer))
        talk.dispatcher.flush()
        talk.loop.run()


def test_an_answer():
    talk = Transcript()
    call = Call(talk)
    request = talk.upstream(0).request
    assert (request.start_line, request.body) == ("POST /api HTTP/1.1", b"hello")
    talk.upstream(0).replies(202, b"thanks")
    assert call.answers == [(202, b"thanks")]
    assert talk.stats["cluster.a.upstream_rq_202"] == 1
    assert not talk.parts.client.calls


def test_a_chunked_answer_and_one_without_a_body():
    talk = Transcript()
    call = Call(talk)
    talk.upstream(0).replies_chunked(b"one", b"two")
    assert call.answers == [(200, b"onetwo")]
    again = Call(talk)
    talk.upstream(0).sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert again.answers == [(204, b"")]


def test_an_empty_body_is_a_whole_request():
    talk = Transcript()
    call = Call(talk, b"")
    assert talk.upstream(0).request.body == b""
    talk.upstream(0).replies(200, b"")
    assert call.answers == [(200, b"")]


def test_a_long_answer_is_cut():
    talk = Transcript()
    call = Call(talk)
    talk.upstream(0).replies(200, b"x" * 200_000)
    assert call.answers == [(200, b"x" * 65536)]


def test_an_answer_without_end_is_not_read_on():
    talk = Transcript()
    call = Call(talk)
    host = talk.upstream(0)
    host.sends(b"HTTP/1.1 202 Accepted\r\ncontent-length: 1000000000\r\n\r\n")
    host.sends(b"x" * 65536)
    assert call.answers == []
    host.sends(b"x")
    assert call.answers == [(202, b"x" * 65536)]
    assert host.is_closed
    assert not talk.parts.client.calls


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_a_host_that_leaves(how):
    talk = Transcript()
    call = Call(talk)
    getattr(talk.upstream(0), how)()
    assert call.answers == [(0, b"")]
    talk.waits(10)
    assert len(call.answers) == 1


def test_nobody_there():
    talk = Transcript()
    talk.loop.outcome = REFUSED
    assert Call(talk).answers == [(0, b"")]
    assert Call(talk, cluster="unknown").answers == [(0, b"")]
    empty = Transcript(hosts=0)
    assert Call(empty).answers == [(0, b"")]


@pytest.mark.parametrize("connects", ["open", "hang"])
def test_out_of_time(connects):
    talk = Transcript(a={"connect_timeout": "60s"})
    talk.loop.outcome = connects
    call = Call(talk, timeout_s=2.0)
    talk.waits(1.9)
    assert call.answers == []
    talk.waits(0.2)
    assert call.answers == [(0, b"")]
    assert talk.stats["cluster.a.upstream_rq_timeout"] == 1
    assert talk.stats["cluster.a.upstream_rq_pending_active"] == 0


def test_the_breaker():
    talk = Transcript(a={"circuit_breakers": {"thresholds": [{"max_pending_requests": 1}]}})
    talk.loop.outcome = "hang"
    first, second = Call(talk), Call(talk)
    assert (first.answers, second.answers) == ([], [(0, b"")])
    talk.waits(10)
    assert first.answers == [(0, b"")]
