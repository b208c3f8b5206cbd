"""The router filter: where a request goes, what is tried again, what is answered when nothing helps."""

from __future__ import annotations

import pytest

from proxy.base.errors import ResponseFlag
from tests.support.transcript import GET, REFUSED, Transcript, route, to

POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n"
TRIES = {"include_request_attempt_count": True, "include_attempt_count_in_response": True}
SMALL = {"per_connection_buffer_limit_bytes": 1000}
SLOW_BACK_OFF = {"base_interval": "1s", "max_interval": "1s"}


def breakers(**limits: int) -> dict[str, object]:
    return {"circuit_breakers": {"thresholds": [limits]}}


# -- local replies -------------------------------------------------------------------------------------------------


def test_no_route():
    talk = Transcript({"match": {"path": "/only"}, "route": {"cluster": "a"}})
    talk.client(GET)
    assert (talk.client_saw.status, talk.client_saw.body) == (404, b"")
    assert (talk.last["flags"], talk.last["details"]) == (ResponseFlag.NR, b"route_not_found")
    assert talk.stats["http.front.no_route"] == 1


@pytest.mark.parametrize("header", [b"", b"x-where: nowhere\r\n"])
@pytest.mark.parametrize("says, status", [(None, 503), ("NOT_FOUND", 404), ("INTERNAL_SERVER_ERROR", 500)])
def test_an_unknown_cluster(header, says, status):
    action = {"cluster_header": "x-where", **({"cluster_not_found_response_code": says} if says else {})}
    talk = Transcript({"match": {"prefix": "/"}, "route": action})
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n" + header + b"\r\n")
    assert (talk.client_saw.status, talk.client_saw.body) == (status, b"")
    assert (talk.last["flags"], talk.last["details"]) == (ResponseFlag.NC, b"cluster_not_found")


def test_an_empty_cluster():
    talk = Transcript(hosts=0)
    talk.client(GET)
    assert (talk.client_saw.status, talk.client_saw.body) == (503, b"no healthy upstream")
    assert (talk.last["flags"], talk.last["details"]) == (ResponseFlag.UH, b"no_healthy_upstream")
    assert talk.stats["cluster.a.upstream_rq_503"] == 1


def test_maintenance_mode():
    talk = Transcript()
    talk.overrides(upstream__maintenance_mode__a="100")
    talk.client(GET)
    assert (talk.client_saw.status, talk.client_saw.body) == (503, b"maintenance mode")
    assert talk.client_saw.one("x-envoy-overloaded") == "true"
    assert (talk.last["flags"], talk.last["details"]) == (ResponseFlag.UO, b"maintenance_mode")
    assert (talk.upstreams, talk.stats["cluster.a.upstream_rq_503"]) == (0, 1)
    assert talk.stats["cluster.a.upstream_rq_maintenance_mode"] == 1
    talk.overrides(upstream__maintenance_mode__a="")
    talk.client(GET)
    talk.upstream().replies(200)
    assert talk.client_saw.status == 200


def test_maintenance_mode_of_a_part():
    talk = Transcript()
    talk.overrides(upstream__maintenance_mode__a="30")
    for _ in range(300):
        talk.client(GET)
        if talk.upstreams and len(talk.upstream().requests) > talk.stats["cluster.a.upstream_rq_200"]:
            talk.upstream().replies(200)
    assert 60 < talk.stats["cluster.a.upstream_rq_maintenance_mode"] < 120


def test_a_limit_of_the_runtime():
    talk = Transcript()
    talk.overrides(circuit_breakers__a__default__max_requests="0")
    talk.client(GET)
    assert (talk.client_saw.status, talk.last["flags"]) == (503, ResponseFlag.UO)
    talk.overrides(circuit_breakers__a__default__max_requests="")
    talk.client(GET)
    talk.upstream().replies(200)
    assert talk.client_saw.status == 200


def test_a_redirect():
    talk = Transcript({"match": {"prefix": "/"}, "redirect": {"host_redirect": "b", "path_redirect": "/x"}})
    talk.client(GET)
    assert talk.client_saw.status == 301
    assert talk.client_saw.headers[0] == ("location", "http://b/x")
    assert talk.client_saw.body == b""
    assert talk.upstreams == 0


def test_a_direct_response():
    direct = {"status": 201, "body": {"inline_string": "made"}}
    talk = Transcript({"match": {"prefix": "/"}, "direct_response": direct})
    talk.client(GET)
    assert (talk.client_saw.status, talk.client_saw.body) == (201, b"made")
    assert talk.client_saw.one("location") == "http://a/"
    assert [name for name, _ in talk.client_saw.headers][-4:] == [
        "content-length",
        "content-type",
        "date",
        "server",
    ]


def test_a_direct_response_to_a_body_that_still_comes():
    direct = {"status": 200, "body": {"inline_string": "done"}}
    talk = Transcript({"match": {"prefix": "/"}, "direct_response": direct})
    talk.client(POST + b"abc")
    assert talk.client_saw.one("connection") == "close"
    talk.client(b"def" + GET)
    talk.waits(1.1)
    assert len(talk.client.responses()) == 1
    assert talk.client.is_closed


@pytest.mark.parametrize(
    "limit, overflow",
    [({"max_connections": 1, "max_pending_requests": 1}, "pending"), ({"max_requests": 1}, "active")],
)
def test_breakers(limit, overflow):
    talk = Transcript(a=breakers(**limit))
    if overflow == "pending":
        talk.loop.outcome = "hang"
    talk.client(GET)
    other = talk.connects()
    other(GET)
    saw = other.responses()[-1]
    assert (saw.status, saw.one("x-envoy-overloaded")) == (503, "true")
    assert saw.body.endswith(b"reset reason: overflow")
    assert talk.last["flags"] == ResponseFlag.UO
    assert talk.stats[f"cluster.a.upstream_rq_{overflow}_overflow"] == 1
    if overflow == "active":
        talk.upstream(0).replies()
        other(GET)
        talk.upstream(0).replies(200, b"again")
        assert other.responses()[-1].body == b"again"
    else:
        talk.waits(2)


# -- retries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "retry_on, status, retried",
    [
        ("5xx", 500, True),
        ("5xx", 404, False),
        ("gateway-error", 502, True),
        ("gateway-error", 503, True),
        ("gateway-error", 504, True),
        ("gateway-error", 500, False),
        ("retriable-4xx", 409, True),
        ("retriable-4xx", 404, False),
        ("connect-failure", 503, False),
        ("reset", 503, False),
        ("retriable-status-codes", 418, True),
        ("retriable-status-codes", 503, False),
    ],
)
def test_which_responses_are_tried_again(retry_on, status, retried):
    talk = Transcript(route(retry_on=retry_on, num_retries=1, retriable_status_codes=[418]))
    talk.client(GET)
    talk.upstream(0).replies(status, b"first")
    talk.waits(0.1)
    if not retried:
        assert (talk.client_saw.status, talk.client_saw.body) == (status, b"first")
        return
    assert talk.client.got == b""
    talk.upstream(talk.upstreams - 1).replies(200, b"second")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"second")
    assert talk.stats["cluster.a.upstream_rq_retry"] == 1
    assert talk.stats["cluster.a.upstream_rq_retry_success"] == 1
    assert talk.last["attempts"] == 2


@pytest.mark.parametrize("retry_on", ["reset", "5xx", "gateway-error"])
@pytest.mark.parametrize("how", ["resets", "closes"])
def test_resets_are_tried_again(retry_on, how):
    talk = Transcript(route(retry_on=retry_on, num_retries=1))
    talk.client(GET)
    getattr(talk.upstream(0), how)()
    talk.waits(0.1)
    talk.upstream(1).replies()
    assert talk.client_saw.status == 200


@pytest.mark.parametrize(
    "retry_on, retried", [("connect-failure", True), ("reset", True), ("retriable-4xx", False)]
)
def test_connect_failures_are_tried_again(retry_on, retried):
    talk = Transcript(route(retry_on=retry_on, num_retries=1))
    talk.loop.outcome = REFUSED
    talk.client(GET)
    talk.loop.outcome = "open"
    talk.waits(0.1)
    if retried:
        talk.upstream(0).replies()
    assert talk.client_saw.status == (200 if retried else 503)


def test_another_host_is_asked():
    talk = Transcript(route(retry_on="connect-failure", num_retries=1), hosts=2)
    down: list[int] = []
    talk.loop.outcome = lambda port: REFUSED if not down or port in down else "open"
    talk.loop.outcome = lambda port: (down.append(port) or REFUSED) if not down else "open"
    talk.client(GET)
    talk.waits(0.1)
    assert talk.loop.opened[0].names["peername"][1] != down[0]
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200


def test_no_retry_once_the_response_has_begun():
    talk = Transcript(route(retry_on="reset,5xx", num_retries=3))
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab")
    talk.upstream(0).resets()
    talk.waits(1)
    assert talk.client.is_closed
    assert talk.upstreams == 1


def test_retries_end_with_the_last_answer():
    talk = Transcript(route(retry_on="5xx", num_retries=2), vhost=TRIES)
    talk.client(GET)
    for attempt in range(3):
        assert talk.upstream(talk.upstreams - 1).head.one("x-envoy-attempt-count") is not None
        talk.upstream(talk.upstreams - 1).replies(503, b"%d" % attempt)
        talk.waits(0.3)
    assert (talk.client_saw.status, talk.client_saw.body) == (503, b"2")
    assert talk.client_saw.one("x-envoy-attempt-count") == "3"
    assert talk.last["flags"] == ResponseFlag.URX
    assert talk.stats["cluster.a.upstream_rq_retry"] == 2
    assert talk.stats["cluster.a.upstream_rq_retry_limit_exceeded"] == 1
    assert talk.stats["cluster.a.upstream_rq_503"] == 1, "only the one that was passed on"
    assert talk.stats["cluster.a.retry.upstream_rq_503"] == 2, "the others"


def test_resets_to_the_end_say_so():
    talk = Transcript(route(retry_on="reset", num_retries=1))
    talk.client(GET)
    talk.upstream(0).resets()
    talk.waits(0.1)
    talk.upstream(1).resets()
    assert talk.client_saw.status == 503
    assert b"retried and the latest reset reason: connection termination" in talk.client_saw.body
    assert talk.last["flags"] == ResponseFlag.URX | ResponseFlag.UC


def test_the_attempt_count_goes_up():
    talk = Transcript(route(retry_on="5xx", num_retries=1), vhost=TRIES)
    talk.client(GET)
    assert talk.upstream(0).request.one("x-envoy-attempt-count") == "1"
    talk.upstream(0).replies(500)
    talk.waits(0.1)
    again = talk.upstream(talk.upstreams - 1)
    assert again.request.one("x-envoy-attempt-count") == "2"
    again.replies()
    assert talk.client_saw.one("x-envoy-attempt-count") == "2"


def test_attempts_are_told_even_when_other_envoy_headers_are_not():
    router = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": True,
    }
    hcm = {"http_filters": [{"name": "router", "typed_config": router}]}
    talk = Transcript(route(retry_on="reset", num_retries=1), hcm=hcm, vhost=TRIES)
    talk.client(GET)
    for attempt in ("1", "2"):
        last = talk.upstream(talk.upstreams - 1)
        assert [field for field in last.request.headers if field[0].startswith("x-envoy")] == [
            ("x-envoy-attempt-count", attempt)
        ]
        last.resets()
        talk.waits(0.1)
    assert (talk.client_saw.status, talk.client_saw.one("x-envoy-attempt-count")) == (503, "2")


def test_a_retry_is_told_the_time_that_is_left():
    talk = Transcript(
        to("a", timeout="10s", retry_policy={"retry_on": "5xx", "retry_back_off": SLOW_BACK_OFF})
    )
    talk.client(GET)
    talk.waits(4)
    talk.upstream(0).replies(500)
    talk.waits(1.1)
    again = talk.upstream(talk.upstreams - 1)
    assert 4900 <= int(again.request.one("x-envoy-expected-rq-timeout-ms")) <= 6000
    again.replies()


def test_a_body_is_sent_again():
    talk = Transcript(route(retry_on="5xx", num_retries=1))
    talk.client(POST + b"abc")
    talk.client(b"def")
    talk.upstream(0).replies(500)
    talk.waits(0.1)
    again = talk.upstream(talk.upstreams - 1)
    assert again.request.body == b"abcdef"
    again.replies()
    assert talk.client_saw.status == 200


def test_a_body_that_is_still_coming_is_sent_again_from_its_beginning():
    talk = Transcript(route(retry_on="5xx", num_retries=1, retry_back_off=SLOW_BACK_OFF))
    talk.client(POST + b"ab")
    talk.upstream(0).replies(500)
    assert talk.upstream(0).is_closed
    talk.client(b"cd")  # while nobody is there to take it
    talk.waits(1.1)
    talk.client(b"ef")
    assert talk.upstream(1).request.body == b"abcdef"
    talk.upstream(1).replies()
    assert talk.client_saw.status == 200


def test_a_chunked_body_with_trailers_is_sent_again():
    trailers = {"http_protocol_options": {"enable_trailers": True}}
    talk = Transcript(route(retry_on="5xx", num_retries=1), hcm=trailers, a=trailers)
    talk.client(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    for status in (500, 200):
        talk.waits(0.1)
        last = talk.upstream(talk.upstreams - 1)
        assert (last.request.body, last.request.trailers) == (b"abc", [("x-sum", "1")])
        last.replies(status)
    assert talk.client_saw.status == 200


def test_a_body_too_big_to_keep_is_not_tried_again():
    talk = Transcript(route(retry_on="5xx", num_retries=1), listener=SMALL)
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2000)
    talk.upstream(0).replies(500, b"first")
    talk.waits(1)
    assert (talk.client_saw.status, talk.client_saw.body) == (500, b"first")
    assert talk.stats["cluster.a.retry_or_shadow_abandoned"] == 1
    assert talk.stats["cluster.a.upstream_rq_retry"] == 0


def test_a_body_that_becomes_too_big_between_two_tries_is_a_507():
    talk = Transcript(route(retry_on="5xx", num_retries=1, retry_back_off=SLOW_BACK_OFF), listener=SMALL)
    talk.client(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000\r\n\r\n" + b"x" * 500)
    talk.upstream(0).replies(503)
    talk.client(b"x" * 1500)
    talk.waits(5)
    assert talk.client_saw.status == 507
    assert talk.client_saw.body == b"exceeded request buffer limit while retrying upstream"
    assert talk.last["details"] == b"request_payload_exceeded_retry_buffer_limit"
    assert talk.upstreams == 1, "half a body is never sent"


def test_the_retry_breaker():
    talk = Transcript(
        route(retry_on="5xx", num_retries=5, retry_back_off=SLOW_BACK_OFF), a=breakers(max_retries=1)
    )
    other = talk.connects()
    for client in (talk.client, other):
        client(GET)
    talk.upstream(0).replies(503, b"first")
    assert talk.stats["cluster.a.circuit_breakers.default.rq_retry_open"] == 1
    talk.upstream(1).replies(503, b"second")
    assert other.responses()[-1].body == b"second", "no retry left: relayed"
    assert talk.last["flags"] == ResponseFlag.UO
    assert talk.stats["cluster.a.upstream_rq_retry_overflow"] == 1
    talk.waits(1.1)
    talk.upstream(talk.upstreams - 1).replies()
    assert talk.client_saw.status == 200
    assert talk.stats["cluster.a.circuit_breakers.default.rq_retry_open"] == 0


def test_a_retried_response_gives_its_connection_back_only_when_it_is_whole():
    talk = Transcript(route(retry_on="5xx", num_retries=1))
    talk.client(GET)
    talk.upstream(0).sends(b"HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n")
    talk.waits(0.1)
    assert talk.upstreams == 1, "whole: used again"
    talk.upstream(0).replies()
    assert talk.client_saw.status == 200
    cut = Transcript(route(retry_on="5xx", num_retries=1))
    cut.client(GET)
    cut.upstream(0).sends(b"HTTP/1.1 503 no\r\ncontent-length: 100\r\n\r\n")
    assert cut.upstream(0).is_closed
    cut.waits(0.1)
    cut.upstream(1).replies()
    assert cut.client_saw.status == 200


def test_retries_asked_for_by_an_internal_client():
    internal = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    head = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.1.1\r\nx-envoy-retry-on: 5xx\r\n"
    talk = Transcript(hcm=internal)
    talk.client(head + b"x-envoy-max-retries: 2\r\n\r\n")
    for status in (500, 500, 200):
        last = talk.upstream(talk.upstreams - 1)
        assert last.request.one("x-envoy-retry-on") is None
        assert last.request.one("x-envoy-max-retries") is None
        last.replies(status)
        talk.waits(0.3)
    assert talk.client_saw.status == 200
    external = Transcript()
    external.client(head + b"\r\n")
    external.upstream(0).replies(500)
    assert external.client_saw.status == 500


# -- heads ---------------------------------------------------------------------------------------------------------


def test_service_time_is_ours():
    talk = Transcript()
    talk.client(GET)
    talk.waits(0.25)
    talk.upstream(0).replies(200, b"ok", [("x-envoy-upstream-service-time", "9999"), ("x-up", "1")])
    names = [name for name, _ in talk.client_saw.headers]
    assert names == ["x-envoy-upstream-service-time", "x-up", "content-length", "date", "server"]
    assert talk.client_saw.one("x-envoy-upstream-service-time") == "250"


def test_no_envoy_headers_when_suppressed():
    router = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": True,
    }
    talk = Transcript(
        to("a", prefix_rewrite="/x"),
        hcm={"http_filters": [{"name": "router", "typed_config": router}]},
    )
    talk.client(GET)
    talk.upstream(0).replies()
    sent = [name for name, _ in talk.upstream(0).request.headers]
    assert [name for name in sent if name.startswith("x-envoy")] == []
    assert [name for name, _ in talk.client_saw.headers if name.startswith("x-envoy")] == []


def test_request_headers_go_out_in_envoys_order():
    talk = Transcript(
        {
            "match": {"prefix": "/a"},
            "route": {"cluster": "a", "timeout": "3s", "prefix_rewrite": "/b", "host_rewrite_literal": "h"},
            "request_headers_to_add": [{"header": {"key": "x-added", "value": "1"}}],
        },
        vhost=TRIES,
    )
    talk.client(b"GET /a/hello?q HTTP/1.1\r\nHost: a\r\nUser-Agent: t\r\nX-MiXeD: 1\r\n\r\n")
    request = talk.upstream(0).request
    assert request.start_line == "GET /b/hello?q HTTP/1.1"
    assert [name for name, _ in request.headers] == [
        "host",
        "user-agent",
        "x-mixed",
        "x-forwarded-proto",
        "x-request-id",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-attempt-count",
        "x-added",
        "x-envoy-original-host",
        "x-envoy-original-path",
    ]
    assert request.one("host") == "h"
    assert request.one("x-envoy-original-path") == "/a/hello?q"
    assert request.one("x-envoy-expected-rq-timeout-ms") == "3000"
    talk.upstream(0).replies()


def test_operators_find_the_real_objects():
    values = {"x-stream": "%STREAM_ID%", "x-cluster": "%CLUSTER_METADATA(k:z)%", "x-host": "%UPSTREAM_HOST%"}
    added = [{"header": {"key": key, "value": value}} for key, value in values.items()]
    talk = Transcript(
        {**route(), "response_headers_to_add": added}, a={"metadata": {"filter_metadata": {"k": {"z": "v"}}}}
    )
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: abc\r\n\r\n")
    talk.upstream(0).replies()
    assert [talk.client_saw.one(name) for name in values] == ["abc", "v", "127.0.0.1:9001"]


def test_operators_of_the_cluster_and_of_details_have_values_in_header_values():
    ask = [{"header": {"key": "x-cluster", "value": "%CLUSTER_METADATA(k:z)%"}}]
    told = [{"header": {"key": "x-details", "value": "%RESPONSE_CODE_DETAILS%"}}]
    talk = Transcript(
        {**route(), "request_headers_to_add": ask, "response_headers_to_add": told},
        a={"metadata": {"filter_metadata": {"k": {"z": "v"}}}},
    )
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert talk.upstream(0).request.one("x-cluster") == "v"
    talk.upstream(0).replies()
    assert talk.client_saw.one("x-details") == "via_upstream"


def test_internal_requests_and_canaries_are_counted_apart():
    internal = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    talk = Transcript(hcm=internal)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.1.1.1\r\n\r\n")
    talk.upstream(0).replies(200, b"ok")
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(0).replies(200, b"ok", headers=[("x-envoy-upstream-canary", "true")])
    counted = {
        where: talk.stats[f"cluster.a.{where}.upstream_rq_200"]
        for where in ("internal", "external", "canary")
    }
    assert counted == {"internal": 1, "external": 1, "canary": 1}
