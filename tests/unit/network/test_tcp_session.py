"""A client's bytes to a host and back, in memory: attempts, early bytes, backpressure, time, the end of either side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.config import Config, tcp_proxy
from tests.support.transcript import REFUSED, RawTranscript, ends_clean  # noqa: F401

RAW = "tcp.raw."
A = "cluster.a."


def talking(
    *, hosts: int = 1, a: Config | None = None, outcome: Any = "open", **fields: Any
) -> RawTranscript:
    return RawTranscript(tcp_proxy("a", **fields), hosts=hosts, a=a, outcome=outcome)


def test_bytes_go_both_ways_and_are_counted() -> None:
    talk = talking()
    talk.client(b"hello")
    talk.upstream().sends(b"hi")
    assert (talk.upstream().got, talk.client.got) == (b"hello", b"hi")
    assert (
        talk.stats[RAW + "downstream_cx_rx_bytes_total"] == talk.stats[A + "upstream_cx_tx_bytes_total"] == 5
    )
    assert (
        talk.stats[RAW + "downstream_cx_tx_bytes_total"] == talk.stats[A + "upstream_cx_rx_bytes_total"] == 2
    )
    assert talk.stats[A + "upstream_rq_active"] == talk.stats[A + "upstream_cx_active"] == 1


def test_each_client_has_a_connection_of_its_own() -> None:
    talk = talking()
    other = talk.connects()
    other(b"x")
    talk.client(b"y")
    assert [talk.upstream(at).got for at in (0, 1)] == [b"y", b"x"]
    talk.client.closes()
    talk.upstream(0).closes()
    talk.connects()
    assert talk.upstreams == 3, "none is used again"


def test_the_clients_half_ends_first() -> None:
    talk = talking()
    talk.client(b"question")
    talk.client.closes()
    assert talk.upstream().is_closed and not talk.client.is_closed
    talk.upstream().sends(b"answer")
    talk.upstream().closes()
    assert talk.client.got == b"answer" and talk.client.is_closed
    assert talk.stats[A + "upstream_cx_destroy_remote"] == 1
    assert talk.stats["listener.127.0.0.1_10000.downstream_cx_destroy"] == 1


def test_the_hosts_half_ends_first() -> None:
    talk = talking()
    talk.upstream().closes()
    assert talk.client.is_closed and not talk.upstream().is_closed
    talk.client(b"still here")
    talk.client.closes()
    assert talk.upstream().got == b"still here" and talk.upstream().is_closed
    assert talk.stats[A + "upstream_cx_destroy_local"] == 1


def test_what_is_said_while_connecting_is_said_to_the_host() -> None:
    refuses = [9001]
    talk = talking(
        hosts=2, outcome=lambda port: REFUSED if port in refuses else "open", max_connect_attempts=2
    )
    for _ in range(2):  # one of them meets the host that refuses first
        talk.connects(early=b"early")(b" bird")
    assert [talk.upstream(at).got for at in (1, 2)] == [b"early bird"] * 2
    assert talk.stats[A + "upstream_cx_connect_fail"] >= 1


def test_early_bytes_wait_and_the_client_is_held_meanwhile() -> None:
    talk = talking(outcome="hang")
    talk.client(b"early")
    assert not talk.client.pipe.reading
    assert talk.stats[RAW + "downstream_cx_rx_bytes_total"] == 0, "nobody has got them"
    talk.waits(6.0)
    assert talk.client.pipe.reset, "so that the client knows"
    assert talk.stats[A + "upstream_cx_connect_timeout"] == 1
    assert talk.stats[A + "upstream_cx_connect_attempts_exceeded"] == 1


def test_a_host_is_connected_to_with_the_first_bytes() -> None:
    mode = {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": 8}
    talk = talking(outcome="hang", idle_timeout="60s", **mode)
    assert talk.stats[A + "upstream_cx_total"] == 0
    talk.client(b"early")
    assert talk.stats[A + "upstream_cx_total"] == 1 and talk.client.pipe.reading
    talk.client(b" bird")
    assert not talk.client.pipe.reading, "more than 8 bytes wait"
    assert talk.stats[RAW + "early_data_received_count_total"] == 2


def test_idleness_before_there_is_a_host() -> None:
    mode = {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": 0}
    talk = talking(idle_timeout="10s", **mode)
    talk.client.closes()
    talk.waits(9.9)
    assert not talk.client.is_closed
    talk.waits(0.2)
    assert talk.client.is_closed and talk.stats[A + "upstream_cx_total"] == 0


def test_a_client_that_leaves_takes_the_connection_along_that_is_being_made() -> None:
    talk = talking(outcome="hang")
    assert talk.stats[A + "upstream_rq_pending_active"] == 1
    talk.client.resets()
    assert talk.stats[A + "upstream_rq_cancelled"] == 1
    assert talk.stats[A + "upstream_cx_active"] == 0


def test_every_attempt_is_one_and_no_more() -> None:
    talk = talking(outcome=REFUSED, max_connect_attempts=4)
    assert talk.client.pipe.lost
    assert talk.stats[A + "upstream_cx_total"] == talk.stats[A + "upstream_cx_connect_fail"] == 4
    assert talk.stats[A + "upstream_cx_connect_attempts_exceeded"] == 1


def test_attempts_wait_longer_and_longer_for_one_another() -> None:
    waits = {"backoff_options": {"base_interval": "2s", "max_interval": "5s"}}
    talk = talking(outcome=REFUSED, max_connect_attempts=4, **waits)
    talk.client.resets()
    talk.parts.context.ids.random = lambda: 0.999  # type: ignore[method-assign,assignment]
    other = talk.connects(early=b"early")
    counted = []
    for seconds in (1.9, 0.2, 3.7, 0.4, 4.7, 0.5):
        before = talk.stats[A + "upstream_cx_total"]
        talk.waits(seconds)
        counted.append(talk.stats[A + "upstream_cx_total"] - before)
    assert counted == [0, 1, 0, 1, 0, 1], "after 2, 4 and 5 seconds"
    assert other.pipe.reset
    assert talk.stats[A + "upstream_cx_connect_attempts_exceeded"] == 1


def test_a_client_that_leaves_while_an_attempt_waits() -> None:
    talk = talking(outcome=REFUSED, max_connect_attempts=9, backoff_options={"base_interval": "50s"})
    talk.client.resets()
    talk.waits(600.0)
    assert talk.stats[A + "upstream_cx_total"] == 1


def test_a_full_pool_answers_at_once_for_every_attempt() -> None:
    """Thousands of attempts that fail within one call are a loop, not a recursion."""
    limits = {"circuit_breakers": {"thresholds": [{"max_pending_requests": 0}]}}
    talk = talking(a=limits, max_connect_attempts=5000)
    assert talk.client.pipe.lost and talk.upstreams == 0
    assert talk.stats[A + "upstream_rq_pending_overflow"] == 5000


def test_the_limit_of_connections_is_the_clusters() -> None:
    talk = talking(a={"circuit_breakers": {"thresholds": [{"max_connections": 1}]}})
    refused = talk.connects()
    assert refused.pipe.lost and not talk.client.is_closed
    assert talk.stats[A + "upstream_cx_overflow"] == 1
    assert talk.stats[A + "circuit_breakers.default.cx_open"] == 1


def test_a_reset_passes_to_the_other_side() -> None:
    talk = talking()
    talk.client(b"x")
    talk.upstream().resets()
    assert talk.client.pipe.reset
    talk = talking()
    talk.client.resets()
    talk.loop.run()
    assert talk.upstream().pipe.reset


def test_slow_sides_stop_the_other() -> None:
    talk = RawTranscript(
        tcp_proxy("a"),
        a={"per_connection_buffer_limit_bytes": 1000},
        listener={"per_connection_buffer_limit_bytes": 1000},
    )
    talk.upstream().stalls()
    talk.client(b"x" * 2000)
    assert not talk.client.pipe.reading
    assert talk.stats[RAW + "downstream_flow_control_paused_reading_total"] == 1
    talk.upstream().reads()
    assert talk.client.pipe.reading
    assert talk.stats[RAW + "downstream_flow_control_resumed_reading_total"] == 1
    talk.client.stalls()
    talk.upstream().sends(b"y" * 2000)
    assert not talk.upstream().pipe.reading
    assert talk.stats[A + "upstream_flow_control_paused_reading_total"] == 1
    talk.client.reads()
    assert talk.upstream().pipe.reading
    assert talk.client.got == b"y" * 2000


def test_idle_sides_are_closed() -> None:
    talk = talking(idle_timeout="10s")
    talk.waits(8.0)
    talk.client(b"x")
    talk.waits(8.0)
    talk.upstream().sends(b"y")
    talk.waits(9.0)
    assert not talk.client.is_closed
    talk.waits(1.1)
    assert talk.client.is_closed and talk.upstream().is_closed
    assert talk.stats[RAW + "idle_timeout"] == 1


def test_a_side_that_still_takes_bytes_is_not_idle() -> None:
    talk = talking(idle_timeout="10s")
    talk.client.stalls()
    talk.upstream().sends(b"y" * 1000)
    talk.waits(10.1)
    talk.client.reads(100)
    talk.client.stalls()
    talk.waits(9.0)
    assert not talk.client.is_closed
    talk.waits(11.5)
    assert talk.client.is_closed


def test_no_idle_timeout() -> None:
    talk = talking(idle_timeout="0s")
    talk.waits(100_000.0)
    assert not talk.client.is_closed


def test_connections_last_so_long() -> None:
    talk = talking(max_downstream_connection_duration="5s")
    talk.client(b"x")
    talk.waits(4.9)
    assert not talk.client.is_closed
    talk.waits(0.2)
    assert talk.client.is_closed and talk.upstream().is_closed
    assert talk.stats[RAW + "max_downstream_connection_duration"] == 1


def test_chance_lengthens_how_long_they_last() -> None:
    talk = talking(
        max_downstream_connection_duration="100s",
        max_downstream_connection_duration_jitter_percentage={"value": 100},
    )
    others = [talk.connects() for _ in range(20)]
    talk.waits(99.0)
    assert not any(each.is_closed for each in others)
    talk.waits(2.0)
    assert not all(each.is_closed for each in others)
    talk.waits(100.0)
    assert all(each.is_closed for each in others)


def test_the_hosts_last_bytes_come_though_it_has_gone() -> None:
    talk = talking()
    talk.client.stalls()
    talk.upstream().sends(b"much" * 100)
    talk.client.closes()
    talk.upstream().closes()
    assert not talk.client.is_closed
    talk.client.reads()
    assert talk.client.got == b"much" * 100 and talk.client.is_closed


def test_a_client_that_never_takes_the_last_bytes_is_left() -> None:
    talk = talking()
    talk.client.stalls()
    talk.upstream().sends(b"much" * 100)
    talk.client.closes()
    talk.upstream().closes()
    talk.waits(299.0)
    assert not talk.client.is_closed
    talk.waits(3.0)
    assert talk.client.pipe.reset


def test_the_clients_last_bytes_are_delivered_after_it_has_gone() -> None:
    talk = talking()
    talk.upstream().closes()
    talk.upstream().stalls()
    talk.client.sends(b"last" * 100)
    talk.client.closes()
    assert talk.stats[RAW + "upstream_flush_total"] == talk.stats[RAW + "upstream_flush_active"] == 1
    assert not talk.listener.connections
    talk.upstream().reads()
    assert talk.upstream().got == b"last" * 100 and talk.upstream().is_closed
    assert talk.stats[RAW + "upstream_flush_active"] == talk.stats[A + "upstream_cx_active"] == 0


def test_a_host_that_never_takes_them_is_left() -> None:
    talk = talking(idle_timeout="10s")
    talk.upstream().closes()
    talk.upstream().stalls()
    talk.client.sends(b"last" * 100)
    talk.client.closes()
    talk.waits(9.0)
    assert talk.stats[RAW + "upstream_flush_active"] == 1
    talk.waits(2.0)
    assert talk.stats[RAW + "upstream_flush_active"] == talk.stats[A + "upstream_cx_active"] == 0
    assert talk.upstream().pipe.reset


def test_draining_leaves_bytes_alone_unless_told() -> None:
    talk = talking()
    talk.drains()
    talk.client(b"x")
    assert talk.upstream().got == b"x" and not talk.client.is_closed
    talk = talking(check_drain_close=True)
    talk.drains()
    assert not talk.client.is_closed
    talk.client(b"x")
    assert talk.upstream().got == b"x" and talk.client.is_closed
    assert talk.stats[RAW + "downstream_cx_drain_close"] == 1


@pytest.mark.parametrize("cluster", ["a", "other"])
def test_a_cluster_without_an_answer(cluster: str) -> None:
    talk = RawTranscript(tcp_proxy(cluster), hosts=0)
    assert talk.client.pipe.lost
    assert talk.stats[RAW + "downstream_cx_no_route"] == (cluster == "other")
    assert talk.stats[A + "upstream_cx_none_healthy"] == (cluster == "a")
