"""The stream from its head to its end: plain traffic, and everybody who may leave, at every point."""

from __future__ import annotations

import pytest

from proxy.base.errors import ResponseFlag
from tests.support.transcript import GET, REFUSED, Transcript, route, to
from tests.support.upstream import reply

POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
HEAD_OF_TEN = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"


# -- plain traffic -------------------------------------------------------------------------------------------------


def test_a_request_and_its_response():
    talk = Transcript()
    talk.client(GET)
    assert talk.upstream(0).request.start_line == "GET / HTTP/1.1"
    talk.upstream(0).replies(200, b"ok")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"ok")
    assert talk.stats["cluster.a.upstream_rq_200"] == 1
    assert talk.stats["http.front.downstream_rq_2xx"] == 1


def test_connections_are_kept_on_both_sides():
    talk = Transcript()
    for number in range(3):
        talk.client(GET)
        talk.upstream(0).replies(200, b"%d" % number)
    assert [each.body for each in talk.client.responses()] == [b"0", b"1", b"2"]
    assert talk.upstreams == 1
    assert talk.stats["http.front.downstream_cx_total"] == 1


def test_a_body_with_a_length_goes_through_as_it_comes():
    talk = Transcript()
    talk.client(POST)
    assert talk.upstream(0).head.one("content-length") == "6"
    talk.client(b"abc")
    talk.client(b"def")
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).sends(HEAD_OF_TEN + b"01234")
    assert talk.client.got.endswith(b"01234")
    talk.upstream(0).sends(b"56789")
    assert talk.client_saw.body == b"0123456789"
    assert (talk.last["received"], talk.last["sent"]) == (6, 10)


def test_a_chunked_body_stays_chunked_both_ways():
    talk = Transcript()
    talk.client(CHUNKED + b"3\r\nabc\r\n")
    assert talk.upstream(0).got.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    talk.client(b"3\r\ndef\r\n0\r\n\r\n")
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).replies_chunked(b"one", b"two")
    assert talk.client_saw.body == b"onetwo"
    assert talk.client_saw.headers[-1] == ("transfer-encoding", "chunked")
    assert not talk.client.is_closed


def test_head_has_a_length_and_no_body():
    talk = Transcript()
    talk.client(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    assert (talk.client_saw.status, talk.client_saw.one("content-length")) == (200, "1000")
    talk.client(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).sends(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert len(talk.client.responses()) == 2
    assert not talk.client.is_closed


def test_informational_heads_go_before_the_response():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    assert [each.status for each in talk.client.responses()] == [103]
    talk.upstream(0).sends(b"HTTP/1.1 102 Processing\r\n\r\n")
    talk.upstream(0).replies()
    assert [each.status for each in talk.client.responses()] == [103, 102, 200]
    assert talk.client.responses()[0].one("link") == "</a>"


def test_an_upstreams_100_is_not_repeated():
    talk = Transcript()
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert talk.client.got == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert talk.upstream(0).head.one("expect") is None
    talk.client(b"ab")
    talk.upstream(0).sends(b"HTTP/1.1 100 Continue\r\n\r\n")
    talk.upstream(0).replies()
    assert [each.status for each in talk.client.responses()] == [100, 200]


def test_a_body_that_runs_to_the_close_becomes_chunked():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    talk.upstream(0).sends(b"def")
    talk.upstream(0).closes()
    assert talk.client_saw.body == b"abcdef"
    assert talk.client_saw.one("transfer-encoding") == "chunked"
    assert not talk.client.is_closed


def test_bodies_of_a_mebibyte_both_ways():
    body = bytes(range(256)) * 4096
    talk = Transcript()
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body))
    for at in range(0, len(body), 65536):
        talk.client(body[at : at + 65536])
    assert talk.upstream(0).request.body == body
    talk.upstream(0).replies(200, body)
    assert talk.client_saw.body == body


# -- pipelines -----------------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_one_at_a_time():
    talk = Transcript()
    talk.client(b"".join(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number for number in range(3)))
    for number in range(3):
        requests = talk.upstream(0).requests
        assert [each.start_line for each in requests] == [f"GET /{n} HTTP/1.1" for n in range(number + 1)]
        talk.upstream(0).replies(200, b"%d" % number)
    assert [each.body for each in talk.client.responses()] == [b"0", b"1", b"2"]


def test_a_pipeline_goes_on_when_a_slow_client_has_read():
    talk = Transcript()
    talk.client.stalls()
    talk.client(GET + GET)
    talk.upstream(0).replies(200, b"x" * (2 << 20))
    assert talk.stats["http.front.downstream_rq_total"] == 1, "the next one waits for the socket"
    talk.client.reads()
    talk.upstream(0).replies(200, b"two")
    assert [len(each.body) for each in talk.client.responses()] == [2 << 20, 3]


def test_a_thousand_pipelined_requests():
    direct = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hi"}}}
    talk = Transcript(direct)
    talk.client(GET * 1000)
    assert [each.body for each in talk.client.responses()] == [b"hi"] * 1000


def test_what_is_pipelined_behind_a_close_is_thrown_away():
    talk = Transcript()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + GET)
    talk.upstream(0).replies()
    talk.waits(1.1)
    assert len(talk.client.responses()) == 1
    assert talk.client_saw.one("connection") == "close"
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_rq_total"] == 1


# -- responses before their request is complete ---------------------------------------------------------------------


def test_an_early_response_ends_both_connections():
    talk = Transcript()
    talk.client(POST + b"abc")
    talk.upstream(0).replies(413, b"too much")
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (413, "close")
    assert talk.upstream(0).is_closed
    assert talk.stats["http.front.downstream_rq_response_before_rq_complete"] == 1
    talk.client(b"def")  # thrown away
    talk.waits(1.1)
    assert talk.client.is_closed
    assert talk.upstreams == 1


def test_an_early_response_that_is_not_complete_lets_the_request_go_on():
    talk = Transcript()
    talk.client(POST + b"abc")
    talk.upstream(0).sends(HEAD_OF_TEN + b"01234")
    talk.client(b"def")
    assert talk.upstream(0).request.body == b"abcdef"
    talk.upstream(0).sends(b"56789")
    assert talk.client_saw.body == b"0123456789"


def test_bytes_before_any_request_close_the_upstream_connection():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).replies()
    talk.upstream(0).sends(reply(200, b"nobody asked").data)
    assert talk.upstream(0).is_closed
    talk.client(GET)
    talk.upstream(1).replies(200, b"two")
    assert talk.client_saw.body == b"two"
    assert talk.stats["cluster.a.upstream_cx_protocol_error"] == 1


@pytest.mark.parametrize("end", ["garbage", "fin"])
def test_an_idle_connection_that_ends_in_the_same_turn_is_not_used(end):
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).replies()
    if end == "fin":
        talk.upstream(0).closes(settle=False)
    else:
        talk.upstream(0).sends(b"garbage", settle=False)
    talk.client(GET)
    assert talk.upstreams == 2
    talk.upstream(1).replies(200, b"two")
    assert talk.client_saw.body == b"two"


def test_bytes_after_a_response_do_not_reach_the_next_client():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(reply(200, b"mine").data + reply(200, b"smuggled").data)
    talk.client(GET)
    talk.upstream(1).replies(200, b"two")
    assert [each.body for each in talk.client.responses()] == [b"mine", b"two"]


# -- the client leaves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["resets", "closes"])
@pytest.mark.parametrize("sent", [GET, POST, POST + b"abc", CHUNKED + b"3\r\nab", CHUNKED + b"3"])
@pytest.mark.parametrize("answered", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", HEAD_OF_TEN, HEAD_OF_TEN + b"0"])
def test_a_client_that_leaves_gives_its_upstream_connection_up(how, sent, answered):
    talk = Transcript()
    talk.client(sent)
    if answered:
        talk.upstream(0).sends(answered)
    getattr(talk.client, how)()
    assert talk.upstream(0).is_closed
    assert talk.stats["cluster.a.upstream_rq_active"] == 0
    assert talk.stats["http.front.downstream_rq_active"] == 0
    assert talk.last["flags"] & ResponseFlag.DC
    assert talk.last["details"] == b"downstream_remote_disconnect"


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_a_client_that_leaves_while_its_request_waits_for_a_connection(how):
    talk = Transcript()
    talk.loop.outcome = "hang"
    talk.client(GET)
    assert talk.stats["cluster.a.upstream_rq_pending_active"] == 1
    getattr(talk.client, how)()
    assert talk.stats["cluster.a.upstream_rq_pending_active"] == 0
    assert talk.stats["cluster.a.upstream_rq_cancelled"] == 1
    talk.waits(2)  # the connect timeout


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_a_client_that_leaves_during_a_back_off(how):
    talk = Transcript(route(retry_on="5xx", retry_back_off={"base_interval": "10s", "max_interval": "10s"}))
    talk.client(GET)
    talk.upstream(0).replies(503)
    assert talk.stats["cluster.a.circuit_breakers.default.rq_retry_open"] == 0
    getattr(talk.client, how)()
    talk.waits(20)
    assert talk.upstreams == 1
    assert len(talk.upstream(0).requests) == 1


def test_a_client_that_leaves_with_pipelined_requests_behind():
    talk = Transcript()
    talk.client(GET * 5)
    talk.client.resets()
    assert talk.stats["http.front.downstream_rq_total"] == 1
    assert talk.upstream(0).is_closed


@pytest.mark.parametrize("cut", range(len(POST) + 6))
def test_fin_at_every_byte_of_a_request(cut):
    talk = Transcript()
    talk.client((POST + b"abcdef")[:cut])
    talk.client.closes()
    assert talk.client.is_closed
    assert talk.client.got == b""


# -- the upstream leaves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_an_upstream_that_leaves_before_it_answers(how):
    talk = Transcript()
    talk.client(GET)
    getattr(talk.upstream(0), how)()
    assert talk.client_saw.status == 503
    assert talk.client_saw.body == (
        b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
    )
    assert talk.last["flags"] == ResponseFlag.UC
    assert talk.last["details"] == b"upstream_reset_before_response_started{connection_termination}"
    assert not talk.client.is_closed


@pytest.mark.parametrize("how", ["resets", "closes"])
@pytest.mark.parametrize(
    "cut",
    [HEAD_OF_TEN, HEAD_OF_TEN + b"01234", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"],
)
def test_an_upstream_that_leaves_in_its_response(how, cut):
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(cut)
    getattr(talk.upstream(0), how)()
    assert talk.client.got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert not talk.client.got.endswith(b"0\r\n\r\n"), "the client must see that it is not whole"
    assert talk.client.is_closed
    assert talk.last["details"] == b"upstream_reset_after_response_started{protocol_error}"
    assert talk.last["flags"] == ResponseFlag.UPE
    assert talk.stats["http.front.downstream_rq_tx_reset"] == 1


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_an_upstream_that_leaves_in_its_head(how):
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-")
    getattr(talk.upstream(0), how)()
    assert talk.client_saw.status == 502
    assert talk.last["flags"] == ResponseFlag.UPE
    assert talk.stats["cluster.a.upstream_cx_protocol_error"] == 1


def test_a_reset_never_ends_a_body_that_runs_to_the_close():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\n\r\nabc")
    talk.upstream(0).resets()
    assert talk.client.is_closed
    assert not talk.client.got.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("how", ["resets", "closes"])
def test_an_upstream_that_leaves_in_the_request(how):
    talk = Transcript()
    talk.client(POST + b"abc")
    getattr(talk.upstream(0), how)()
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (503, "close")
    talk.client(b"def")
    talk.waits(1.1)
    assert talk.client.is_closed


def test_garbage_instead_of_a_response():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).sends(b"what do you want\r\n\r\n")
    assert talk.client_saw.status == 502
    assert talk.client_saw.body.endswith(b"reset reason: protocol error")
    assert talk.last["flags"] == ResponseFlag.UPE
    assert talk.upstream(0).is_closed


def test_a_refused_connection():
    talk = Transcript()
    talk.loop.outcome = REFUSED
    talk.client(GET)
    assert talk.client_saw.status == 503
    assert talk.client_saw.body.endswith(b"reset reason: remote connection failure")
    assert talk.last["details"] == (
        b"upstream_reset_before_response_started"
        b"{remote_connection_failure|delayed_connect_error:_Connection_refused}"
    )
    assert talk.last["flags"] == ResponseFlag.UF


def test_a_connection_that_never_opens():
    talk = Transcript(a={"connect_timeout": "2s"})
    talk.loop.outcome = "hang"
    talk.client(GET)
    talk.waits(1.9)
    assert talk.client.got == b""
    talk.waits(0.2)
    assert talk.client_saw.body.endswith(b"reset reason: connection timeout")
    assert talk.stats["cluster.a.upstream_cx_connect_timeout"] == 1


def test_an_upstream_that_says_close_is_not_used_again():
    talk = Transcript()
    talk.client(GET)
    talk.upstream(0).replies(200, b"one", [("connection", "close")])
    assert talk.upstream(0).is_closed
    assert talk.client_saw.one("connection") is None
    talk.client(GET)
    talk.upstream(1).replies(200, b"two")
    assert talk.client_saw.body == b"two"


# -- flow control ----------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_stops_the_upstream():
    talk = Transcript(listener={"per_connection_buffer_limit_bytes": 10_000})
    talk.client.stalls()
    talk.client(GET)
    body = b"x" * 100_000
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + body[:20_000])
    assert not talk.loop.opened[0].reading
    assert talk.stats["cluster.a.upstream_flow_control_paused_reading_total"] == 1
    talk.upstream(0).sends(body[20_000:])
    assert len(talk.client.pipe.held) < 25_000, "nothing more was read"
    talk.client.reads()
    assert talk.loop.opened[0].reading
    assert talk.client_saw.body == body


def test_an_upstream_that_does_not_read_stops_the_client():
    talk = Transcript(a={"per_connection_buffer_limit_bytes": 10_000})
    talk.loop.stall_new = True
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 20_000)
    assert not talk.client.pipe.reading
    talk.client(b"x" * 80_000)
    assert len(talk.loop.opened[0].held) < 25_000
    talk.upstream(0).reads()
    assert talk.upstream(0).request.body == b"x" * 100_000
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200


def test_a_body_that_waits_for_its_connection_is_bounded():
    talk = Transcript(a={"per_connection_buffer_limit_bytes": 10_000, "connect_timeout": "60s"})
    talk.loop.outcome = "hang"
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 20_000)
    assert not talk.client.pipe.reading
    talk.client(b"x" * 10_000)
    assert talk.client.pipe.inbox, "left to the kernel"


@pytest.mark.parametrize("how", ["resets", "replies"])
def test_a_stalled_upstream_that_ends_lets_the_client_go_on(how):
    talk = Transcript(a={"per_connection_buffer_limit_bytes": 10_000})
    talk.loop.stall_new = True
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n" + b"x" * 20_000)
    assert not talk.client.pipe.reading
    getattr(talk.upstream(0), how)()
    assert talk.client_saw.status in (200, 503)
    assert talk.client.pipe.reading, (
        "what still comes must be thrown away, or the client never sees its reply"
    )
    talk.waits(1.1)
    assert talk.client.is_closed


def test_a_client_is_read_again_when_its_held_request_is_over():
    talk = Transcript(a={"per_connection_buffer_limit_bytes": 10_000})
    talk.loop.stall_new = True
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 20000\r\n\r\n" + b"x" * 20_000)
    assert not talk.client.pipe.reading
    talk.upstream(0).replies(200, b"enough")
    talk.loop.stall_new = False
    talk.client(b"GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    talk.upstream(talk.upstreams - 1).reads()
    talk.upstream(talk.upstreams - 1).replies(200, b"next")
    assert [each.body for each in talk.client.responses()] == [b"enough", b"next"]


def test_the_next_response_waits_while_the_last_one_is_not_read():
    talk = Transcript(to("a"), to("a", "/b"), listener={"per_connection_buffer_limit_bytes": 1000})
    talk.client(GET)
    talk.client.stalls()
    talk.upstream(0).replies(200, b"x" * 5000)
    assert talk.client.pipe.paused
    talk.client(GET)
    talk.upstream(0).sends(HEAD_OF_TEN)
    assert not talk.loop.opened[0].reading
    talk.client.reads()
    talk.upstream(0).sends(b"0123456789")
    assert [len(each.body) for each in talk.client.responses()] == [5000, 10]


# -- closing ---------------------------------------------------------------------------------------------------------


def test_a_closing_connection_does_not_wait_for_ever_for_a_client_that_takes_nothing():
    talk = Transcript(hcm={"stream_idle_timeout": "5s"})
    talk.client.stalls()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    talk.upstream(0).replies(200, b"x" * 500_000)
    talk.waits(4)
    assert not talk.client.is_closed
    talk.waits(4)
    assert talk.client.pipe.reset
    assert talk.stats["http.front.downstream_cx_delayed_close_timeout"] == 1


def test_a_closing_connection_waits_for_a_slow_client():
    talk = Transcript(hcm={"stream_idle_timeout": "5s"})
    talk.client.stalls()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    talk.upstream(0).replies(200, b"x" * 10_000)
    for _ in range(10):
        talk.client.reads(1000)
        talk.waits(3)
        assert not talk.client.pipe.reset
    talk.client.reads()
    assert len(talk.client_saw.body) == 10_000
    assert talk.client.is_closed


def test_a_client_that_still_sends_is_given_time_to_read_its_reply():
    talk = Transcript()
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nabc")
    assert talk.client_saw.status == 400
    assert talk.client.is_closed and not talk.client.pipe.reset, "FIN, not RST"
    talk.client(b"more")
    talk.waits(1.1)
    assert talk.client.pipe.reset
