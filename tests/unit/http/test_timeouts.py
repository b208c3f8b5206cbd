"""Every clock that runs against a client, a request, a try or a connection."""

from __future__ import annotations

import pytest

from proxy.base.errors import ResponseFlag
from tests.support.transcript import GET, Transcript, route, to

POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
NEVER = {"stream_idle_timeout": "0s"}


def common(**options: str) -> dict[str, object]:
    return {"common_http_protocol_options": options}


# -- the head ------------------------------------------------------------------------------------------------------


def test_half_a_head_is_answered_after_ten_seconds():
    talk = Transcript()
    talk.waits(100)  # a silent connection is merely idle
    talk.client(b"GET / HT")
    talk.waits(9)
    talk.client(b"TP/1.1\r\n")
    talk.waits(0.9)
    assert talk.client.got == b""
    talk.waits(0.2)
    assert (talk.client_saw.status, talk.client_saw.body) == (408, b"request header timeout")
    assert talk.client_saw.one("connection") == "close"
    assert talk.stats["http.front.downstream_rq_header_timeout"] == 1
    assert talk.last["details"] == b"request_header_timeout"
    talk.waits(1.1)
    assert talk.client.is_closed


def test_the_time_for_a_head_is_configured_and_zero_is_none():
    talk = Transcript(hcm={"request_headers_timeout": "0s"})
    talk.client(b"GET / HTTP/1.1\r\n")
    talk.waits(60)
    talk.client(b"host: a\r\n\r\n")
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200
    short = Transcript(hcm={"request_headers_timeout": "1s"})
    short.client(b"G")
    short.waits(1.1)
    assert short.client_saw.status == 408
    short.waits(1.1)


def test_a_second_head_has_ten_seconds_of_its_own():
    talk = Transcript()
    talk.client(GET)
    talk.waits(9)
    talk.upstream(0).replies()
    talk.client(b"GET /")
    talk.waits(9)
    assert len(talk.client.responses()) == 1
    talk.client(b" HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.waits(9)
    talk.upstream(0).replies()
    assert [each.status for each in talk.client.responses()] == [200, 200]


def test_a_pipelined_half_head_waits_for_its_turn_and_then_has_ten_seconds():
    talk = Transcript(to("a", timeout="0s"))
    talk.client(GET + b"GET /")
    talk.waits(60)
    talk.upstream(0).replies()
    talk.waits(9)
    assert len(talk.client.responses()) == 1
    talk.waits(1.5)
    assert talk.client_saw.status == 408
    talk.waits(1.1)


# -- the request ---------------------------------------------------------------------------------------------------


def test_request_timeout_ends_with_the_request():
    talk = Transcript(to("a", timeout="0s"), hcm={"request_timeout": "5s"})
    talk.client(POST + b"abc")
    talk.waits(4)
    talk.client(b"de")
    assert talk.client.got == b""
    talk.waits(1.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (408, b"request timeout")
    assert talk.stats["http.front.downstream_rq_timeout"] == 1
    assert talk.upstream(0).is_closed
    talk.waits(1.1)
    done = Transcript(to("a", timeout="0s"), hcm={"request_timeout": "5s"})
    done.client(POST + b"abcdef")
    done.waits(20)
    done.upstream(0).replies()
    assert done.client_saw.status == 200


def test_stream_idle_timeout_before_the_request_is_complete():
    talk = Transcript(to("a", timeout="0s"), hcm={"stream_idle_timeout": "5s"})
    talk.client(POST)
    for _ in range(3):
        talk.waits(4)
        talk.client(b"x")
    assert talk.client.got == b""
    talk.waits(5.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (408, b"stream timeout")
    assert talk.last["flags"] & ResponseFlag.SI
    assert talk.last["details"] == b"stream_idle_timeout"
    talk.waits(1.1)


def test_stream_idle_timeout_after_the_request_is_complete():
    talk = Transcript(to("a", timeout="0s"), hcm={"stream_idle_timeout": "5s"})
    talk.client(GET)
    talk.waits(5.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (504, b"stream timeout")
    assert talk.stats["http.front.downstream_rq_idle_timeout"] == 1
    assert not talk.client.is_closed


def test_a_response_that_moves_is_not_idle():
    talk = Transcript(to("a", timeout="0s"), hcm={"stream_idle_timeout": "5s"})
    talk.client(GET)
    talk.waits(4)
    talk.upstream(0).sends(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    talk.waits(4)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    talk.waits(4)
    talk.upstream(0).sends(b"o")
    talk.waits(4)
    talk.upstream(0).sends(b"k")
    assert talk.client_saw.body == b"ok"


def test_a_response_that_stops_is_cut():
    talk = Transcript(to("a", timeout="0s"), hcm={"stream_idle_timeout": "5s"})
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    talk.waits(5.1)
    assert talk.client.is_closed
    assert talk.upstream(0).is_closed


@pytest.mark.parametrize("route_says, after", [("2s", 2.1), ("20s", 20.1)])
def test_a_route_has_its_own_idle_timeout(route_says, after):
    talk = Transcript(to("a", timeout="0s", idle_timeout=route_says), hcm={"stream_idle_timeout": "5s"})
    talk.client(GET)
    talk.waits(after - 0.2)
    assert talk.client.got == b""
    talk.waits(0.3)
    assert talk.client_saw.status == 504


def test_max_stream_duration():
    talk = Transcript(to("a", timeout="0s"), hcm={**NEVER, **common(max_stream_duration="3s")})
    talk.client(GET)
    talk.waits(3.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (504, b"downstream duration timeout")
    assert talk.stats["http.front.downstream_rq_max_duration_reached"] == 1
    assert talk.last["details"] == b"max_duration_timeout"


def test_max_stream_duration_before_the_request_is_complete():
    talk = Transcript(to("a", timeout="0s"), hcm={**NEVER, **common(max_stream_duration="3s")})
    talk.client(POST + b"abc")
    talk.waits(3.1)
    assert (talk.client_saw.status, talk.client_saw.one("connection")) == (408, "close")
    talk.waits(1.1)


def test_max_stream_duration_cuts_a_response_that_has_begun():
    talk = Transcript(to("a", timeout="0s"), hcm={**NEVER, **common(max_stream_duration="3s")})
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    talk.waits(3.1)
    assert talk.client.is_closed


# -- the route -----------------------------------------------------------------------------------------------------


def test_a_route_times_out():
    talk = Transcript(to("a", timeout="2s"))
    talk.client(GET)
    talk.waits(2.1)
    assert (talk.client_saw.status, talk.client_saw.body) == (504, b"upstream request timeout")
    assert talk.last["details"] == b"response_timeout"
    assert talk.last["flags"] == ResponseFlag.UT
    assert talk.stats["cluster.a.upstream_rq_timeout"] == 1
    assert talk.upstream(0).is_closed
    assert not talk.client.is_closed
    talk.client(GET)
    talk.upstream(1).replies()
    assert talk.client_saw.status == 200


def test_fifteen_seconds_by_default_counted_from_the_end_of_the_request():
    talk = Transcript()
    talk.client(POST)
    talk.waits(60)
    talk.client(b"abcdef")
    talk.waits(14.9)
    assert talk.client.got == b""
    talk.waits(0.2)
    assert talk.client_saw.status == 504


def test_a_route_that_times_out_while_it_waits_for_a_connection():
    talk = Transcript(to("a", timeout="1s"), a={"connect_timeout": "60s"})
    talk.loop.outcome = "hang"
    talk.client(GET)
    talk.waits(1.1)
    assert talk.client_saw.status == 504
    assert talk.stats["cluster.a.upstream_rq_pending_active"] == 0


def test_a_route_that_times_out_in_its_response_cuts_it():
    talk = Transcript(to("a", timeout="1s"))
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
    talk.waits(1.1)
    assert talk.client.is_closed
    assert talk.last["details"] == b"response_timeout"


def test_an_internal_client_sets_the_timeout():
    internal = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    talk = Transcript(hcm=internal)
    head = (
        b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.1.1\r\nx-envoy-upstream-rq-timeout-ms: 100\r\n"
    )
    talk.client(head + b"\r\n")
    assert talk.upstream(0).head.one("x-envoy-expected-rq-timeout-ms") == "100"
    assert talk.upstream(0).head.one("x-envoy-upstream-rq-timeout-ms") is None
    talk.waits(0.2)
    assert talk.client_saw.status == 504
    talk.client(head + b"x-envoy-upstream-rq-timeout-alt-response: 1\r\n\r\n")
    talk.waits(0.2)
    assert (talk.client_saw.status, talk.client_saw.body) == (204, b"")
    external = Transcript()
    external.client(head + b"\r\n")
    external.waits(1)
    assert external.client.got == b""
    assert external.upstream(0).head.one("x-envoy-expected-rq-timeout-ms") == "15000"


# -- connections ---------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_after_an_hour():
    talk = Transcript()
    talk.waits(3599)
    assert not talk.client.is_closed
    talk.waits(2)
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_cx_idle_timeout"] == 1


def test_idle_begins_with_the_end_of_the_last_request():
    talk = Transcript(to("a", timeout="0s"), hcm={**NEVER, **common(idle_timeout="5s")})
    talk.waits(4)
    talk.client(GET)
    talk.waits(20)
    talk.upstream(0).replies()
    talk.waits(4.5)
    assert not talk.client.is_closed
    talk.waits(6)
    assert talk.client.is_closed


def test_a_connection_whose_request_timed_out_is_idle_too():
    talk = Transcript(to("a", timeout="1s"), hcm=common(idle_timeout="5s"))
    talk.client(GET)
    talk.waits(1.1)
    assert talk.client_saw.status == 504
    talk.waits(10.1)
    assert talk.client.is_closed


def test_max_connection_duration_lets_the_request_end():
    talk = Transcript(to("a", timeout="0s"), hcm=common(max_connection_duration="5s"))
    talk.client(GET)
    talk.waits(6)
    assert not talk.client.is_closed
    talk.upstream(0).replies()
    assert talk.client_saw.one("connection") == "close"
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_cx_max_duration_reached"] == 1
    idle = Transcript(hcm=common(max_connection_duration="5s"))
    idle.waits(5.1)
    assert idle.client.is_closed


def test_a_duration_of_zero_is_no_limit():
    talk = Transcript(hcm=common(max_connection_duration="0s"))
    talk.waits(5)
    talk.client(GET)
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200 and not talk.client.is_closed


def test_max_requests_per_connection():
    talk = Transcript(hcm=common(max_requests_per_connection=2))
    for _ in range(2):
        talk.client(GET)
        talk.upstream(0).replies()
    assert [each.one("connection") for each in talk.client.responses()] == [None, "close"]
    assert talk.client.is_closed
    assert talk.stats["http.front.downstream_cx_max_requests_reached"] == 1


def test_an_idle_upstream_connection_is_closed_after_its_time():
    options = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": "5s"},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        }
    }
    talk = Transcript(to("a", timeout="0s"), a=options)
    talk.client(GET)
    talk.waits(20)
    talk.upstream(0).replies()
    talk.waits(4.5)
    assert not talk.upstream(0).is_closed
    talk.waits(6)
    assert talk.upstream(0).is_closed
    assert talk.stats["cluster.a.upstream_cx_idle_timeout"] == 1


def test_a_delayed_close_of_zero_closes_at_once():
    talk = Transcript(hcm={"delayed_close_timeout": "0s"})
    talk.client(b"nonsense\r\n\r\nmore")
    assert talk.client_saw.status == 400
    assert talk.client.pipe.lost


# -- tries ---------------------------------------------------------------------------------------------------------


def test_per_try_timeout_without_a_retry_left():
    talk = Transcript(route(retry_on="5xx", num_retries=1, per_try_timeout="1s"))
    talk.client(GET)
    talk.waits(1.2)
    assert talk.upstream(0).is_closed
    talk.waits(1.2)
    assert (talk.client_saw.status, talk.client_saw.body) == (504, b"upstream request timeout")
    assert talk.last["details"] == b"upstream_per_try_timeout"
    assert talk.last["flags"] == ResponseFlag.URX | ResponseFlag.UT
    assert talk.stats["cluster.a.upstream_rq_per_try_timeout"] == 2


def test_per_try_timeout_and_a_second_try():
    talk = Transcript(route(retry_on="5xx", num_retries=1, per_try_timeout="1s"))
    talk.client(GET)
    talk.waits(1.2)
    talk.upstream(1).replies()
    talk.waits(5)
    assert talk.client_saw.status == 200


def test_per_try_timeout_ends_with_the_response_head():
    talk = Transcript(route(retry_on="5xx", num_retries=1, per_try_timeout="1s"))
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    talk.waits(5)
    talk.upstream(0).sends(b"ok")
    assert talk.client_saw.body == b"ok"


def test_the_route_timeout_covers_all_tries():
    talk = Transcript(
        to("a", timeout="3s", retry_policy={"retry_on": "5xx", "num_retries": 9, "per_try_timeout": "1s"})
    )
    talk.client(GET)
    talk.waits(3.1)
    assert talk.client_saw.status == 504
    assert talk.last["details"] == b"response_timeout"
