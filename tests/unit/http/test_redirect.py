"""Internal redirects: where they may lead, and that the stream truly begins again."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.http.filter import Filter
from proxy.http.stream import ActiveStream
from proxy.router.internal_redirect import parse_location
from tests.support.transcript import GET, Transcript, to


class Watcher(Filter):
    """Counts what it sees of each pass."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.ends = 0

    def decode_headers(self, stream: ActiveStream) -> None:
        assert stream.request_headers is not None
        self.heads.append(stream.request_headers.path)

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> None:
        self.bodies.append(data)

    def on_complete(self, stream: ActiveStream) -> None:
        self.ends += 1


def follow(**policy: Any) -> dict[str, Any]:
    return to("a", internal_redirect_policy=policy)


MOVED = [("location", "http://a/next")]
LIMIT = {"common_http_protocol_options": {"max_stream_duration": "2s"}}


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (b"http://a/b", (b"http", b"a", b"/b")),
        (b"HTTPS://a:81/b?c=/d#e", (b"https", b"a:81", b"/b?c=/d")),
        (b"http://a", (b"http", b"a", b"/")),
        (b"http://a?q", (b"http", b"a", b"/?q")),
        (b"http://[::1]:8/", (b"http", b"[::1]:8", b"/")),
        (b"/b", None),
        (b"//a/b", None),
        (b"ftp://a/b", None),
        (b"http:///b", None),
        (b"http://user@a/b", None),
        (b"http://a/b c", None),
        (b"http://a:123456/", None),
        (b"http://a/\xff", None),
        (b"", None),
    ],
)
def test_locations(value, parts):
    assert parse_location(value) == parts


def test_every_filter_runs_again_and_the_client_sees_the_last_answer():
    watcher = Watcher()
    talk = Transcript(follow(), filters=[watcher])
    talk.client(GET)
    talk.upstream(0).replies(302, b"moved", MOVED)
    talk.upstream(1).replies(200, b"there")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"there")
    assert (watcher.heads, watcher.ends) == ([b"/", b"/next"], 2)
    assert talk.upstream(1).request.one("x-envoy-original-url") == "http://a/"
    assert [entry["details"] for entry in talk.finished.streams] == [b"internal_redirect", b"via_upstream"]
    assert talk.stats["cluster.a.upstream_internal_redirect_succeeded_total"] == 1
    assert (talk.stats["http.front.downstream_rq_2xx"], talk.stats["http.front.downstream_rq_3xx"]) == (1, 0)


def test_the_body_goes_again_through_the_filters():
    watcher = Watcher()
    talk = Transcript(follow(redirect_response_codes=[307]), filters=[watcher])
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
    talk.client(b"def")
    talk.upstream(0).replies(307, b"moved", MOVED)
    again = talk.upstream(1).request
    assert (again.start_line, again.body) == ("POST /next HTTP/1.1", b"abcdef")
    assert b"".join(watcher.bodies) == b"abcdefabcdef"
    talk.upstream(1).replies(200)
    assert talk.client_saw.status == 200


def test_see_other_is_asked_with_get():
    talk = Transcript(follow(redirect_response_codes=[303]))
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
    talk.upstream(0).replies(303, b"moved", MOVED)
    again = talk.upstream(1).request
    assert (again.start_line, again.body, again.one("content-length")) == ("GET /next HTTP/1.1", b"", None)
    talk.upstream(1).replies(200)
    assert talk.client_saw.status == 200


def test_a_request_that_has_not_come_whole_is_not_redirected():
    talk = Transcript(follow())
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc")
    talk.upstream(0).replies(302, b"moved", MOVED)
    assert talk.client_saw.status == 302 and talk.upstreams == 1
    assert talk.stats["cluster.a.upstream_internal_redirect_failed_total"] == 1


def test_a_loop_ends():
    talk = Transcript(follow(max_internal_redirects=4))
    talk.client(GET)
    for _ in range(5):
        talk.upstream(talk.upstreams - 1).replies(302, b"moved", MOVED)
    assert talk.client_saw.status == 302
    assert talk.stats["cluster.a.upstream_internal_redirect_succeeded_total"] == 4
    assert talk.stats["http.front.passthrough_internal_redirect_too_many_redirects"] == 1


def test_the_timeout_of_the_next_pass_runs_anew():
    talk = Transcript(to("a", timeout="2s", internal_redirect_policy={}))
    talk.client(GET)
    talk.waits(1.5)
    talk.upstream(0).replies(302, b"moved", MOVED)
    talk.waits(1.5)
    talk.upstream(talk.upstreams - 1).replies(200)
    assert talk.client_saw.status == 200


def test_the_stream_may_last_as_long_again():
    talk = Transcript(to("a", timeout="0s", internal_redirect_policy={}), hcm=LIMIT)
    talk.client(GET)
    talk.waits(1.5)
    talk.upstream(0).replies(302, b"moved", MOVED)
    talk.waits(1.5)
    assert not talk.client.got
    talk.waits(1)
    assert talk.client_saw.status == 504 and talk.last["details"] == b"max_duration_timeout"
    assert talk.stats["http.front.downstream_rq_http1_total"] == 2
