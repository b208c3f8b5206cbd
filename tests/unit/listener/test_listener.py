"""One listener: names of its stats, connections counted, the end."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.base.errors import ResponseFlag
from proxy.listener.listener import Listener
from proxy.listener.place import Place
from tests.support.transcript import GET, Transcript


@pytest.mark.parametrize("ip, port, name", [("1.2.3.4", 80, "1.2.3.4:80"), ("::1", 80, "[::1]:80")])
def test_scope_names(ip, port, name):
    assert Place(ip, port).text == name


def test_connections_are_counted_and_forgotten():
    talk = Transcript()
    prefix = "listener.127.0.0.1_10000."
    talk.connects()
    assert talk.stats[prefix + "downstream_cx_total"] == 2
    assert talk.stats[prefix + "downstream_cx_active"] == 2
    assert talk.stats[prefix + "worker_0.downstream_cx_active"] == 2
    talk.client.closes()
    assert talk.stats[prefix + "downstream_cx_active"] == 1
    assert talk.stats[prefix + "downstream_cx_destroy"] == 1
    assert len(talk.listener.connections) == 1


def test_a_connection_that_ends_twice_counts_once():
    talk = Transcript()
    connection = next(iter(talk.listener.connections))
    talk.client.closes()
    talk.listener.closed(connection, 1.0)
    assert talk.stats["listener.127.0.0.1_10000.downstream_cx_active"] == 0


def test_abort_closes_everything_at_once():
    talk = Transcript()
    talk.client(GET)
    talk.listener.abort()
    talk.loop.run()
    assert talk.client.pipe.reset
    assert talk.stats["http.front.downstream_rq_active"] == 0


def test_the_runtime_limits_a_listeners_connections():
    talk = Transcript()
    talk.overrides(envoy__resource_limits__listener__front__connection_limit="1")
    refused = talk.connects()
    assert refused.is_closed
    assert talk.stats["listener.127.0.0.1_10000.downstream_cx_overflow"] == 1
    assert talk.stats["http.front.downstream_cx_total"] == 1
    talk.overrides(envoy__resource_limits__listener__front__connection_limit="2")
    another = talk.connects()
    another(GET)
    talk.upstream().replies(200)
    assert another.responses()[-1].status == 200
    talk.client.closes()
    assert not talk.connects().is_closed, "one has gone"


@pytest.mark.parametrize("codec_type", ["AUTO", "HTTP2"])
def test_a_refused_connection_is_none_of_the_managers(codec_type):
    talk = Transcript(hcm={"codec_type": codec_type})
    talk.overrides(envoy__resource_limits__listener__front__connection_limit="1")
    refused = talk.connects()
    talk.loop.run()
    assert refused.is_closed
    assert talk.stats["http.front.downstream_cx_active"] == talk.stats["http.front.downstream_cx_total"] == 1
    assert talk.stats["http.front.downstream_cx_destroy"] == 0


@pytest.mark.parametrize("codec_type", ["AUTO", "HTTP2"])
def test_the_client_of_a_unix_socket_has_our_address(codec_type):
    talk = Transcript(hcm={"codec_type": codec_type}, peer=cast(Any, ""))
    talk.listener.pipes["127.0.0.1:10000"] = "/run/front"
    talk.connects()
    named = [each.info.direct_remote_address for each in talk.listener.connections]
    assert sorted(named) == ["-", "/run/front"]


def test_the_runtime_limits_the_connections_of_all_listeners():
    talk = Transcript()
    talk.overrides(overload__global_downstream_max_connections="1")
    assert talk.connects().is_closed
    assert talk.stats["listener.127.0.0.1_10000.downstream_global_cx_overflow"] == 1
    talk.client.closes()
    assert not talk.connects().is_closed
    talk.overrides(overload__global_downstream_max_connections="")
    assert not talk.connects().is_closed


def test_binding_and_letting_go():
    anything: Any = None
    listener = Listener("l", (Place("127.0.0.1", 0), Place("::1", 0)), anything, None)
    listener.bind()
    (first, port), (second, another) = listener.bound
    assert (first, second) == ("127.0.0.1", "::1") and port and another
    listener.stop_accepting()
    listener.stop_accepting()
    assert listener.sockets == []


class Lines:
    """An access log that keeps what is given to it."""

    def __init__(self) -> None:
        self.streams: list[Any] = []

    def log(self, stream: Any) -> None:
        self.streams.append(stream)


def test_an_ended_connection_is_logged_with_what_it_carried():
    talk = Transcript()
    lines = Lines()
    talk.listener.access_logs = (cast(Any, lines),)
    talk.client(GET)
    talk.upstream(0).replies(200)
    assert not lines.streams, "while it lasts"
    sent = len(talk.client.got)
    talk.client.closes()
    (stream,) = lines.streams
    assert (stream.bytes_received, stream.bytes_sent) == (len(GET), sent)
    assert (stream.protocol, stream.status, stream.log_type, stream.flags) == (b"HTTP/1.1", 0, b"NotSet", 0)


def test_a_refused_connection_is_logged_with_its_flag():
    talk = Transcript()
    lines = Lines()
    talk.listener.access_logs = (cast(Any, lines),)
    talk.client(b"NONSENSE\r\n\r\n")
    talk.client.closes()
    (stream,) = lines.streams
    assert (stream.protocol, stream.flags, stream.info.local_close_reason) == (b"", ResponseFlag.DPE, b"")
