"""Requests for another protocol and tunnels: who may, what waits for whom, how they end. As seen of Envoy 1.40.0."""

from __future__ import annotations

import pytest

from proxy.access_log.access_log import AccessLog
from proxy.base.errors import ConfigRefused, ResponseFlag
from proxy.network.upstream import LAST_BYTES_S
from tests.parity.scenarios.tcp import tells_hosts
from tests.support.config import TYPES
from tests.support.transcript import GET, REFUSED, Transcript, ends_clean, to  # noqa: F401  # a fixture for every test here

ASKS = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n\r\n"
GRANTS = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CONNECT = b"CONNECT t.test:443 HTTP/1.1\r\nhost: t.test:443\r\n\r\n"
BOTH = {"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]}
TUNNELS = {"match": {"connect_matcher": {}}, "route": {"cluster": "a"}}
LIVE = "http.front.downstream_cx_upgrades_active"
TOTAL = "http.front.downstream_cx_upgrades_total"


def asked(*routes, hcm=None, **more) -> Transcript:
    talk = Transcript(*routes, hcm={**BOTH, **(hcm or {})}, **more)
    talk.client(ASKS)
    return talk


def granted(**more) -> Transcript:
    talk = asked(**more)
    talk.upstream().sends(GRANTS)
    return talk


def test_bytes_go_both_ways_once_the_host_has_switched():
    talk = asked()
    head = talk.upstream().head
    assert (head.one("connection"), head.one("upgrade")) == ("keep-alive, Upgrade", "WebSocket")
    assert head.one("transfer-encoding") is None and (talk.stats[LIVE], talk.stats[TOTAL]) == (1, 1)
    talk.upstream().sends(GRANTS)
    saw = talk.client_saw
    talk.upstream().sends(b"from the host")
    assert (saw.status, saw.one("upgrade"), saw.one("connection")) == (101, "websocket", "Upgrade")
    assert talk.client.got.endswith(b"\r\n\r\nfrom the host")
    before = len(talk.upstream().got)
    talk.client(b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
    assert talk.upstream().got[before:] == b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
    assert talk.stats["http.front.downstream_rq_total"] == 1
    talk.client.closes()
    assert talk.last == {
        "status": 101,
        "details": b"downstream_remote_disconnect",
        "flags": ResponseFlag.DC,
        "received": 35,
        "sent": 13,
        "attempts": 1,
    }
    assert talk.upstream().is_closed and talk.stats[LIVE] == 0


def test_a_host_that_closes_ends_it_after_its_last_byte():
    talk = granted()
    talk.upstream().sends(b"last", settle=False)
    talk.upstream().closes()
    assert talk.client.got.endswith(b"last") and talk.client.is_closed
    assert talk.last["flags"] == ResponseFlag.UC
    assert talk.last["details"] == b"upstream_reset_after_response_started{connection_termination}"
    assert talk.stats["http.front.downstream_rq_tx_reset"] == 1 and talk.stats[LIVE] == 0


@pytest.mark.parametrize("first, grants", [(ASKS, GRANTS), (CONNECT, b"HTTP/1.1 200 OK\r\n\r\n")])
def test_no_early_bytes_before_the_host_has_switched(first, grants):
    talk = Transcript(TUNNELS, to("a"), hcm=BOTH)
    talk.client(first + b"EARLY")
    talk.client(b" and more")
    assert talk.upstream().got.endswith(b"\r\n\r\n")
    talk.upstream().sends(grants)
    assert talk.upstream().got.endswith(b"\r\n\r\nEARLY and more")
    talk.client.closes()
    assert talk.last["received"] == 14


@pytest.mark.parametrize("status", [400, 403, 404, 503])
@pytest.mark.parametrize("first", [ASKS, CONNECT])
def test_a_refusal_is_an_answer_and_its_connections_serve_nobody_else(first, status):
    talk = Transcript(TUNNELS, to("a"), hcm=BOTH)
    talk.client(first + b"GET /early HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream().replies(status, b"refused")
    saw = talk.client_saw
    assert (saw.status, saw.body, saw.one("connection")) == (status, b"refused", "close")
    assert talk.upstream().is_closed and b"early" not in talk.upstream().got
    assert talk.stats["cluster.a.upstream_cx_destroy_local_with_active_rq"] == 1
    talk.client(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n")
    assert talk.upstreams == 1 and len(talk.client.responses()) == 1


def test_a_switched_connection_is_never_pooled():
    talk = granted()
    talk.client.closes()
    second = talk.connects()
    second(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert talk.upstreams == 2 and talk.upstream(0).is_closed
    talk.upstream(1).replies()
    assert second.responses()[0].status == 200


def test_an_upgrade_may_use_a_kept_connection():
    talk = Transcript(hcm=BOTH)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream().replies()
    talk.client(ASKS)
    talk.upstream().sends(GRANTS)
    assert talk.upstreams == 1 and talk.client_saw.status == 101
    talk.client.closes()


@pytest.mark.parametrize("status", [200, 204, 302])
def test_a_websocket_handshake_that_failed_has_no_body(status):
    talk = asked()
    talk.upstream().sends(b"HTTP/1.1 %d X\r\ncontent-type: a/b\r\nx: y\r\n\r\n" % status)
    saw = talk.client_saw
    assert (saw.status, saw.body, saw.one("x"), saw.one("content-type")) == (status, b"", "y", None)
    assert talk.last["details"] == b"websocket_handshake_unsuccessful" and talk.upstream().is_closed
    assert talk.stats[f"cluster.a.upstream_rq_{status}"] == 0


def test_other_protocols_may_answer_200():
    talk = Transcript(hcm={"upgrade_configs": [{"upgrade_type": "foo"}]})
    talk.client(ASKS.replace(b"WebSocket", b"foo"))
    talk.upstream().replies(200, b"hello")
    assert (talk.client_saw.status, talk.client_saw.body) == (200, b"hello")


ON, OFF = {"upgrade_type": "WEBSOCKET"}, {"upgrade_type": "websocket", "enabled": False}


@pytest.mark.parametrize(
    "hcm, route, taken",
    [
        ([ON], [], True),
        ([OFF], [], False),
        ([], [], False),
        ([], [ON], True),
        ([OFF], [ON], True),
        ([ON], [OFF], False),
        ([ON], [{"upgrade_type": "foo"}], True),
        ([{"upgrade_type": "foo"}], [], False),
    ],
)
def test_who_may(hcm, route, taken):
    talk = Transcript(to("a", upgrade_configs=route), hcm={"upgrade_configs": hcm})
    talk.client(ASKS)
    assert talk.upstreams == (1 if taken else 0)
    if not taken:
        assert (talk.client_saw.status, talk.last["details"]) == (403, b"upgrade_failed")
        assert talk.client_saw.one("connection") == "close" and talk.stats[TOTAL] == 0
        assert talk.stats["http.front.downstream_rq_ws_on_non_ws_route"] == 1
    else:
        talk.upstream().sends(GRANTS)
        assert talk.client_saw.status == 101


@pytest.mark.parametrize(
    "fields",
    [
        b"connection: upgrade\r\nupgrade: foo, websocket\r\n",
        b"connection: upgrade\r\nupgrade: websocket, foo\r\n",
        b"connection: upgrade\r\nupgrade: websocket\r\nupgrade: foo\r\n",
        b"connection: upgrade\r\nupgrade: connect\r\n",
    ],
)
def test_several_protocols_are_none_that_is_configured(fields):
    talk = Transcript(to("a"), hcm=BOTH)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n" + fields + b"\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n")
    assert [one.status for one in talk.client.responses()] == [403] and talk.upstreams == 0


@pytest.mark.parametrize(
    "fields", [b"upgrade: websocket\r\n", b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"]
)
def test_an_upgrade_that_connection_does_not_name_and_h2c_are_plain_requests(fields):
    talk = Transcript(to("a"), hcm=BOTH)
    talk.client(b"GET / HTTP/1.1\r\nhost: a\r\n" + fields + b"\r\n")
    assert talk.upstream().request.one("upgrade") is None and talk.stats[TOTAL] == 0
    talk.upstream().replies()
    assert talk.client_saw.status == 200


@pytest.mark.parametrize("framing", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n"])
def test_a_body_beside_an_upgrade_waits_like_everything(framing):
    """It is the host's to say whether it wants a body first; nothing of it reaches a host that refuses."""
    talk = Transcript(hcm=BOTH)
    talk.client(ASKS[:-2] + framing + b"\r\nhelloGET /x HTTP/1.1\r\n\r\n")
    assert talk.upstream().got.endswith(b"\r\n\r\n") and b"chunked" not in talk.upstream().got
    talk.upstream().replies(400, b"")
    assert b"hello" not in talk.upstream().got and talk.upstream().is_closed
    assert [one.status for one in talk.client.responses()] == [400]


def test_without_a_route_it_is_answered_as_any_request():
    for hcm in (BOTH, {}):
        talk = Transcript(to("a", "/other"), hcm=hcm)
        talk.client(ASKS)
        assert (talk.client_saw.status, talk.last["details"]) == (404, b"route_not_found")
        assert talk.stats[LIVE] == 0 and talk.stats[TOTAL] == bool(hcm)


def test_waiting_bytes_are_bounded_and_then_the_client_waits():
    talk = asked(listener={"per_connection_buffer_limit_bytes": 1000})
    talk.client(b"x" * 600)
    assert talk.client.pipe.reading
    talk.client(b"y" * 600)
    assert not talk.client.pipe.reading
    talk.upstream().sends(GRANTS)
    assert talk.client.pipe.reading and talk.upstream().got.endswith(b"x" * 600 + b"y" * 600)
    talk.client.closes()


def test_a_slow_host_and_a_slow_client_hold_each_other():
    talk = granted(listener={"per_connection_buffer_limit_bytes": 1000})
    talk.upstream().stalls()
    talk.client(b"x" * 3_000_000)
    assert not talk.client.pipe.reading
    talk.upstream().reads()
    assert talk.client.pipe.reading
    talk.client.stalls()
    talk.upstream().sends(b"y" * 3_000_000)
    assert not talk.upstream().pipe.reading
    talk.client.reads()
    assert talk.upstream().pipe.reading and talk.client.got.endswith(b"y" * 3_000_000)
    talk.client.closes()


def test_silence_ends_a_tunnel_and_traffic_does_not():
    talk = granted(hcm={"stream_idle_timeout": "10s"})
    for _ in range(3):
        talk.waits(7)
        talk.client(b"x")
        talk.waits(7)
        talk.upstream().sends(b"y")
    talk.waits(11)
    assert (talk.last["status"], talk.last["details"]) == (101, b"stream_idle_timeout")
    assert talk.last["flags"] == ResponseFlag.SI and talk.client.is_closed and talk.upstream().is_closed


def test_deadlines_of_requests_end_with_the_handshake():
    for action in ({"timeout": "5s"}, {"retry_policy": {"retry_on": "5xx", "per_try_timeout": "5s"}}):
        talk = asked(to("a", **action), hcm={"request_timeout": "6s"})
        talk.upstream().sends(GRANTS)
        talk.waits(60)
        assert not talk.client.is_closed
        talk.client.closes()


@pytest.mark.parametrize(
    "action, details",
    [
        ({"timeout": "5s"}, b"response_timeout"),
        (
            {"retry_policy": {"retry_on": "5xx", "per_try_timeout": "3s", "num_retries": 0}},
            b"upstream_per_try_timeout",
        ),
    ],
)
def test_a_host_that_does_not_answer_is_timed_out_though_the_request_never_ends(action, details):
    talk = asked(to("a", **action))
    talk.waits(6)
    assert (talk.client_saw.status, talk.last["details"]) == (504, details)


def test_a_duration_ends_it():
    talk = granted(hcm={"common_http_protocol_options": {"max_stream_duration": "5s"}})
    talk.waits(6)
    assert talk.last["details"] == b"max_duration_timeout" and talk.client.is_closed


def test_a_handshake_is_tried_again_with_what_waits():
    talk = asked(to("a", retry_policy={"retry_on": "5xx"}))
    talk.client(b"EARLY")
    talk.upstream().replies(503, b"")
    talk.waits(0.1)
    assert talk.upstream(0).is_closed and b"EARLY" not in talk.upstream(0).got + talk.upstream(1).got
    talk.upstream(1).sends(GRANTS)
    assert talk.upstream(1).got.endswith(b"EARLY")
    talk.client(b"x" * 2_000_000)  # no retry keeps what a tunnel carries
    assert talk.stats["cluster.a.retry_or_shadow_abandoned"] == 0
    talk.client.closes()


def test_tunnels_live_while_the_listener_drains():
    talk = granted()
    talk.drains()
    talk.client(b"x")
    talk.upstream().sends(b"y")
    assert talk.client.got.endswith(b"y") and talk.upstream().got.endswith(b"x")
    talk.client.closes()


def test_an_upgrade_during_a_drain_is_granted_as_it_is():
    talk = asked()
    talk.drains()
    talk.upstream().sends(GRANTS)
    assert talk.client_saw.one("connection") == "Upgrade"
    talk.client.closes()


# -- CONNECT -------------------------------------------------------------------------------------------------------


def test_connect_is_passed_on():
    talk = Transcript(TUNNELS, hcm=BOTH)
    talk.client(CONNECT)
    assert talk.upstream().got.startswith(b"CONNECT t.test:443 HTTP/1.1\r\nhost: t.test:443\r\n")
    talk.upstream().sends(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello, and more")
    assert b"content-length" not in talk.client.got and talk.client.got.endswith(b"\r\n\r\nhello, and more")
    talk.client(b"up")
    assert talk.upstream().got.endswith(b"up")
    talk.upstream().closes()
    assert talk.last["flags"] == ResponseFlag.UC and talk.client.is_closed


@pytest.mark.parametrize("hcm, status", [(BOTH, 404), ({}, 404)])
def test_connect_needs_a_route_that_says_so(hcm, status):
    talk = Transcript(to("a"), hcm=hcm)
    talk.client(CONNECT + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert [one.status for one in talk.client.responses()] == [status] and talk.client.is_closed


def test_connect_needs_permission():
    talk = Transcript(TUNNELS, hcm={})
    talk.client(CONNECT)
    assert (talk.client_saw.status, talk.last["details"]) == (403, b"upgrade_failed")


def test_routes_for_connect_have_conditions_domains_and_weights():
    never = {"match": {"connect_matcher": {}, "headers": [{"name": "x"}]}, "route": {"cluster": "a"}}
    shares = {"clusters": [{"name": "a", "weight": 1}]}
    weighted = {"match": {"connect_matcher": {}}, "route": {"weighted_clusters": shares}}
    talk = Transcript(never, weighted, hcm=BOTH, vhost={"domains": ["t.test:443"]})
    talk.client(b"GET / HTTP/1.1\r\nhost: t.test:443\r\n\r\n")
    talk.client(CONNECT)
    assert talk.client_saw.status == 404 and talk.upstreams == 1
    other = talk.connects()
    other(CONNECT.replace(b"443", b"80"))
    assert other.responses()[0].status == 404


# -- CONNECT that ends here ------------------------------------------------------------------------------------------

ENDS = {
    "match": {"connect_matcher": {}},
    "route": {"cluster": "a", "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]},
}


def test_a_tunnel_that_ends_here_carries_bytes_only():
    talk = Transcript(ENDS, to("a"))
    talk.client(CONNECT + b"EARLY")
    assert talk.client.got.startswith(b"HTTP/1.1 200 OK\r\n") and talk.upstream().got == b"EARLY"
    talk.client(b" late")
    talk.upstream().sends(b"answer")
    assert talk.upstream().got == b"EARLY late" and talk.client.got.endswith(b"\r\n\r\nanswer")
    talk.upstream().closes()
    assert (talk.last["status"], talk.last["details"]) == (200, b"via_upstream")
    assert talk.client.is_closed and talk.stats["cluster.a.upstream_cx_http1_total"] == 0
    second = talk.connects()
    second(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    talk.upstream(1).replies()
    assert second.responses()[0].status == 200 and talk.stats["cluster.a.upstream_cx_http1_total"] == 1


def left_behind() -> Transcript:
    """A client has left, and its host has taken none of a thousand bytes."""
    talk = Transcript(ENDS)
    talk.client(CONNECT)
    talk.upstream().stalls()
    talk.client(b"x" * 1000)
    talk.client.closes()
    return talk


def test_a_host_gets_what_a_client_that_has_left_had_sent_while_it_takes_any():
    talk = left_behind()
    host = talk.upstream()
    for _ in range(3):
        talk.waits(LAST_BYTES_S - 1)
        host.reads(100)
    assert not host.pipe.lost
    host.reads()
    assert host.got == b"x" * 1000 and host.pipe.at_end and not host.pipe.reset


def test_a_host_that_takes_nothing_more_is_left():
    talk = left_behind()
    talk.waits(LAST_BYTES_S + 2)
    assert talk.upstream().pipe.reset and talk.stats["cluster.a.upstream_cx_active"] == 0


def test_a_tunnel_that_ends_here_begins_as_its_cluster_says():
    """The transport socket's word comes before the route's, and the client's connections are its own."""
    tells = {"upgrade_type": "CONNECT", "connect_config": {"proxy_protocol_config": {"version": "V1"}}}
    route = {**ENDS, "route": {"cluster": "a", "upgrade_configs": [tells]}}
    talk = Transcript(route, a={"transport_socket": tells_hosts(version="V1")})
    talk.client(CONNECT + b"EARLY")
    said = b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 10000\r\n"
    assert talk.upstream().got == said + said + b"EARLY"
    host = talk.parts.clusters.clusters["a"].hosts[0]
    assert [pool.is_used for pool in host.pools] == [False, False, True, False]
    talk.client.closes()
    assert talk.upstream().is_closed and not any(pool.is_used for pool in host.pools)


def test_a_tunnel_to_a_host_that_is_not_there_is_not_granted():
    talk = Transcript(ENDS)
    talk.loop.outcome = REFUSED
    talk.client(CONNECT + b"EARLY")
    assert talk.client_saw.status == 503 and talk.last["flags"] == ResponseFlag.UF


def test_a_tunnels_end_may_be_tried_elsewhere():
    again = {**ENDS["route"], "retry_policy": {"retry_on": "connect-failure", "num_retries": 1}}
    talk = Transcript({**ENDS, "route": again})
    talk.loop.outcome = REFUSED
    talk.client(CONNECT + b"EARLY")
    talk.loop.outcome = "open"
    talk.waits(0.1)
    assert talk.client.got.startswith(b"HTTP/1.1 200 OK\r\n") and talk.upstream().got == b"EARLY"
    talk.client.closes()
    assert talk.upstream().is_closed


def test_a_host_that_breaks_off_breaks_the_tunnel():
    talk = Transcript(ENDS)
    talk.client(CONNECT)
    talk.upstream().resets()
    assert talk.last["flags"] == ResponseFlag.UC and talk.client.is_closed


def test_only_connect_ends_here_and_options_that_are_not_built_are_refused():
    for name, more in (("websocket", {}), ("CONNECT", {"allow_post": True})):
        config = [{"upgrade_type": name, "connect_config": more}]
        with pytest.raises(ConfigRefused):
            Transcript({**ENDS, "route": {"cluster": "a", "upgrade_configs": config}})


def test_a_line_when_a_tunnel_stands():
    seen = []

    class Logger:
        def log(self, stream) -> None:
            seen.append((stream.log_type, stream.status, stream.bytes_sent))

    options = {"access_log_options": {"flush_log_on_tunnel_successfully_established": True}}
    talk = Transcript(hcm={**BOTH, **options})
    talk.hcm.access_logs = (AccessLog(None, Logger()),)
    talk.client(ASKS)
    assert not seen
    talk.upstream().sends(GRANTS + b"hello")
    assert seen == [(b"DownstreamTunnelSuccessfullyEstablished", 101, 0)]
    talk.client.closes()
    refused = talk.connects()
    refused(ASKS)
    talk.upstream(1).replies(404)
    assert seen[1:] == [(b"DownstreamEnd", 101, 5), (b"DownstreamEnd", 404, 2)]


# -- filters of their own ------------------------------------------------------------------------------------------


def test_an_upgrade_may_have_filters_of_its_own():
    """The router of the others says what it expects; that of the upgrade does not."""
    typed = {"@type": f"{TYPES}.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    quiet = {"upgrade_type": "websocket", "filters": [{"name": "router", "typed_config": typed}]}
    talk = Transcript(hcm={"upgrade_configs": [quiet, {"upgrade_type": "other"}]})
    expected = "x-envoy-expected-rq-timeout-ms"
    talk.client(ASKS)
    assert talk.upstream().head.one(expected) is None
    talk.upstream().sends(GRANTS + b"hello")
    assert talk.client.got.endswith(b"hello")
    talk.client.closes()
    for head in (ASKS.replace(b"WebSocket", b"other"), GET):
        other = talk.connects()
        other(head)
        assert talk.upstream(talk.upstreams - 1).head.one(expected) == "15000"
        other.closes()


def test_the_last_filter_of_an_upgrade_is_the_router():
    typed = {"@type": f"{TYPES}.filters.http.grpc_web.v3.GrpcWeb"}
    upgrade = {"upgrade_type": "websocket", "filters": [{"name": "web", "typed_config": typed}]}
    with pytest.raises(
        ConfigRefused, match=r"upgrade_configs\[0\].filters\[0\]: the router must be the last"
    ):
        Transcript(hcm={"upgrade_configs": [upgrade]})
