"""envoy.extensions.filters.http.grpc_stats.v3.FilterConfig. What is counted as what: tests/parity/scenarios/grpc.py."""

from __future__ import annotations

from typing import Any

from proxy.access_log.access_log import AccessLog
from proxy.codec.grpc import frame
from tests.support.transcript import Transcript, ends_clean  # noqa: F401
from tests.unit.ext.filters.http.grpc_filters import post, talk_through

GRPC = "content-type: application/grpc"


def call(talk: Transcript, path: str = "/a.B/C") -> None:
    body = frame(b"one") + frame(b"two")
    talk.client(post(body, GRPC, path=path))
    talk.upstream(0).sends(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    talk.upstream(0).sends(b"%x\r\n%b\r\n0\r\ngrpc-status: 0\r\n\r\n" % (len(body), body))


def test_times_are_kept_when_asked_for() -> None:
    talk = talk_through("grpc_stats", stats_for_all_methods=True, enable_upstream_stats=True)
    call(talk)
    assert talk.stats["cluster.a.grpc.a.B.C.success"] == 1
    assert talk.stats["cluster.a.grpc.a.B.C.request_message_count"] == 2
    assert talk.stats["cluster.a.grpc.a.B.C.response_message_count"] == 2
    assert "cluster.a.grpc.a.B.C.upstream_rq_time" in talk.store.histograms
    quiet = talk_through("grpc_stats", stats_for_all_methods=True)
    call(quiet)
    assert "cluster.a.grpc.a.B.C.upstream_rq_time" not in quiet.store.histograms


def test_a_long_call_counts_as_it_goes() -> None:
    talk = talk_through("grpc_stats", stats_for_all_methods=True)
    talk.client(f"POST /a.B/C HTTP/1.1\r\nhost: a\r\n{GRPC}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for count in (1, 2, 3):
        talk.client(b"6\r\n%b\r\n" % frame(b"x"))
        assert talk.stats["cluster.a.grpc.a.B.C.request_message_count"] == count


def test_other_requests_cost_and_count_nothing() -> None:
    talk = talk_through("grpc_stats", stats_for_all_methods=True)
    talk.client(post(b"x", "content-type: text/plain"))
    talk.upstream(0).replies(200, b"ok", [("grpc-status", "0")])
    assert not [name for name in talk.store.counters if ".grpc." in name]


def test_messages_are_filter_state() -> None:
    """As Istio configures every connection manager. What its forms are: test_filter_state.py of the formatter."""
    talk = talk_through("grpc_stats", emit_filter_state=True)
    seen = states_of(talk)
    call(talk)
    call(talk, path="/of/no/method")
    assert [state.plain() for state in seen] == [b"2,2", b"2,2"]
    assert seen[0].message() == {"request_message_count": "2", "response_message_count": "2"}
    assert talk.stats["cluster.a.grpc.request_message_count"] == 2  # of the first alone


def test_an_answer_in_grpc_to_what_is_none() -> None:
    talk = talk_through("grpc_stats", emit_filter_state=True)
    seen = states_of(talk)
    body = frame(b"one")
    talk.client(post(b"x", "content-type: text/plain"))
    talk.upstream(0).replies(200, body, [("content-type", "application/grpc")])
    talk.client(post(b"x", "content-type: text/plain"))
    talk.upstream(0).replies(200, body)
    assert [state and (state.plain(), state.message()) for state in seen] == [
        (b"0,1", {"response_message_count": "1"}),
        None,
    ]
    assert not [name for name in talk.store.counters if ".grpc." in name]


def states_of(talk: Transcript) -> list[Any]:
    """What the streams to come have in their filter state when they end."""
    seen: list[Any] = []

    class Logger:
        def log(self, stream: Any) -> None:
            states = stream.filter_state or {}
            seen.append(states.get("envoy.filters.http.grpc_stats"))

    talk.hcm.access_logs = (AccessLog(None, Logger()),)
    return seen
