"""Tries that go on beside the next one: who answers, and that nothing is left of the others."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.base.errors import ResponseFlag
from tests.support.config import Config
from tests.support.transcript import GET, REFUSED, Transcript, clean, to

QUICK = {"base_interval": "0.001s", "max_interval": "0.001s"}


def hedged(a: Config | None = None, **policy: Any) -> Transcript:
    """A try takes too long after one second."""
    retry = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "1s", "retry_back_off": QUICK, **policy}
    return Transcript(
        to("a", timeout="10s", retry_policy=retry, hedge_policy={"hedge_on_per_try_timeout": True}),
        hosts=2,
        a=a,
    )


def two_tries(talk: Transcript) -> None:
    """One has taken too long, the other has just begun."""
    talk.client(GET)
    talk.waits(1.1)
    talk.waits(0.1)
    assert talk.upstreams == 2 and not talk.upstream(0).pipe.lost


@pytest.mark.parametrize("winner", [0, 1])
def test_the_first_good_answer_is_taken_and_the_other_try_given_up(winner: int) -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.upstream(winner).replies(200, b"won")
        assert talk.client_saw.body == b"won"
        assert talk.upstream(1 - winner).pipe.lost and not talk.upstream(winner).pipe.lost
        assert talk.stats["cluster.a.upstream_rq_active"] == 0
        assert talk.stats["cluster.a.upstream_rq_retry_success"] == winner
        assert talk.stats["cluster.a.upstream_rq_per_try_timeout"] == 0


def test_a_body_follows_its_head_though_the_other_try_answers_too() -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc")
        assert talk.upstream(1).pipe.lost
        talk.upstream(0).sends(b"def")
        assert talk.client_saw.body == b"abcdef"


@pytest.mark.parametrize("bad", [0, 1])
def test_a_bad_answer_waits_for_a_better_one(bad: int) -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.upstream(bad).replies(503)
        assert not talk.client.got
        talk.upstream(1 - bad).replies(200, b"better")
        assert talk.client_saw.body == b"better"


@pytest.mark.parametrize("last", [0, 1])
def test_when_all_are_bad_the_last_one_is_told(last: int) -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.upstream(1 - last).replies(503, b"one")
        talk.upstream(last).replies(500, b"two")
        assert (talk.client_saw.status, talk.client_saw.body) == (500, b"two")
        assert talk.last["flags"] & ResponseFlag.URX


def test_tries_that_end_one_after_the_other() -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.upstream(0).resets()
        assert not talk.client.got
        talk.upstream(1).resets()
        assert talk.client_saw.status == 503
        assert talk.stats["cluster.a.upstream_rq_5xx"] == 2


def test_a_retry_that_finds_no_connection_leaves_the_first_try() -> None:
    with clean():
        talk = hedged()
        talk.client(GET)
        talk.loop.outcome = REFUSED
        talk.waits(1.1)
        talk.waits(0.1)
        assert not talk.client.got
        talk.upstream(0).replies(200, b"first")
        assert talk.client_saw.body == b"first"


@pytest.mark.parametrize("winner", [1, 2])
def test_a_client_that_reads_again_is_answered_by_whichever_try_is_first(winner: int) -> None:
    """Both tries begin while the client has an earlier response to read, so neither host's answer is read."""
    with clean():
        talk = hedged(retry_on="5xx,reset")
        client = talk.connects()
        client.stalls()
        client(GET)
        talk.upstream(0).replies(200, b"x" * (4 << 20))
        talk.upstream(0).closes()
        client(GET)
        talk.waits(1.1)
        talk.waits(0.1)
        assert talk.upstreams == 3
        assert not talk.upstream(1).pipe.reading and not talk.upstream(2).pipe.reading
        client.reads()
        talk.upstream(winner).replies(200, b"won")
        assert client.responses()[1].body == b"won"


def test_a_client_that_stops_reading_holds_every_try() -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        stream = talk.client.pipe.protocol
        stream.pause_writing()
        assert not talk.upstream(0).pipe.reading and not talk.upstream(1).pipe.reading
        stream.resume_writing()
        assert talk.upstream(0).pipe.reading and talk.upstream(1).pipe.reading
        talk.upstream(0).replies(200)


def test_time_is_up_for_all_of_them() -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.waits(9.5)
        assert talk.client_saw.status == 504
        assert talk.stats["cluster.a.upstream_rq_timeout"] == 2
        assert talk.upstream(0).pipe.lost and talk.upstream(1).pipe.lost


def test_a_client_that_leaves_takes_all_of_them_along() -> None:
    with clean():
        talk = hedged()
        two_tries(talk)
        talk.client.resets()
        assert talk.upstream(0).pipe.lost and talk.upstream(1).pipe.lost
        assert talk.stats["cluster.a.upstream_rq_active"] == 0
        assert talk.stats["cluster.a.circuit_breakers.default.rq_retry_open"] == 0


def test_without_a_retry_left_a_try_has_all_the_time_of_the_request() -> None:
    with clean():
        talk = hedged(num_retries=0)
        talk.client(GET)
        talk.waits(5)
        talk.upstream(0).replies(200)
        assert talk.client_saw.status == 200
        assert talk.stats["cluster.a.upstream_rq_retry_limit_exceeded"] == 1


LASTS: Config = {"common_http_protocol_options": {"max_stream_duration": "2s"}}
REACHED = "cluster.a.upstream_rq_max_duration_reached"


def test_the_first_try_may_last_as_long_as_its_cluster_allows() -> None:
    """Then the request fails, as in Envoy, though another try is under way."""
    with clean():
        talk = hedged(LASTS)
        two_tries(talk)
        talk.waits(0.7)
        assert not talk.client.got
        talk.waits(0.2)
        assert (talk.client_saw.status, talk.last["flags"]) == (504, ResponseFlag.UMSDR)
        assert talk.upstream(0).pipe.lost and talk.upstream(1).pipe.lost
        assert talk.stats[REACHED] == 1 and talk.stats["cluster.a.upstream_rq_active"] == 0


@pytest.mark.parametrize("begins", [False, True])
def test_the_second_try_has_the_whole_time(begins: bool) -> None:
    """The first one's is over, but it has answered (badly), or the second one faster. begins: to answer"""
    with clean():
        talk = hedged(LASTS)
        two_tries(talk)
        if begins:
            talk.upstream(1).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        else:
            talk.upstream(0).replies(503)
        talk.waits(1.7)
        assert not talk.client.is_closed and talk.stats[REACHED] == 0
        talk.waits(0.3)
        assert talk.last["flags"] & ResponseFlag.UMSDR and talk.stats[REACHED] == 1
        assert talk.upstream(1).pipe.lost and talk.last["status"] == (200 if begins else 504)


def test_the_first_trys_answer_is_cut_when_its_time_is_over() -> None:
    with clean():
        talk = hedged(LASTS)
        two_tries(talk)
        talk.upstream(0).sends(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        assert talk.upstream(1).pipe.lost
        talk.waits(0.9)
        assert talk.client.is_closed and talk.last["flags"] == ResponseFlag.UMSDR
        assert talk.stats[REACHED] == 1
