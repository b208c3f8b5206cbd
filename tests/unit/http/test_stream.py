"""The stream from its head to its end: plain traffic, hooks, local replies, ends of every kind."""

from __future__ import annotations

from tests.support.transcript import GET, Transcript, route


def test_a_request_and_its_response():
    talk = Transcript()
    talk.client(GET)
    assert talk.upstream(0).request.start_line == "GET / HTTP/1.1"
    talk.upstream(0).replies(200, b"ok")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"ok")
    assert talk.stats["cluster.a.upstream_rq_200"] == 1


def test_retries_once_after_a_reset_before_headers():
    talk = Transcript(route(retry_on="reset", num_retries=1))
    talk.client(GET)
    talk.upstream(0).resets()
    talk.waits(0.1)
    talk.upstream(1).replies(200, b"ok")
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.a.upstream_rq_retry_success"] == 1
