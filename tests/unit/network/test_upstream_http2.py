"""HTTP/2 towards a host, and towards a client: how often the peer is asked whether it is still there."""

from __future__ import annotations

from hyperframe.frame import Frame, PingFrame, SettingsFrame

from tests.support.config import Config
from tests.support.transcript import GET, Peer, Transcript
from tests.unit.network.test_downstream_http2 import BEGIN, OK, frames

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def asking(**keepalive: str) -> Transcript:
    """Cluster "a" speaks HTTP/2, and so asks its hosts."""
    explicit = {"http2_protocol_options": {"connection_keepalive": keepalive}}
    typed: Config = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": explicit}
    talk = Transcript(a={"typed_extension_protocol_options": {OPTIONS: typed}})
    talk.client(GET)
    talk.upstream().sends(SettingsFrame(0).serialize())
    return talk


def pings(peer: Peer, preface: int = 24) -> list[Frame]:
    return [frame for frame in frames(peer.got[preface:]) if isinstance(frame, PingFrame)]


def answer(peer: Peer) -> None:
    ping = pings(peer)[-1]
    peer.sends(PingFrame(0, ping.opaque_data, flags=["ACK"]).serialize())


def test_after_a_pause_a_burst_of_requests_asks_once() -> None:
    """A host that is asked for every stream takes it for an attack ("too_many_pings")."""
    talk = asking(connection_idle_interval="1s", timeout="5s")
    for burst in (1, 2):
        talk.waits(2.0)
        for _ in range(20):
            talk.connects()(GET)
        assert len(pings(talk.upstream())) == burst
        answer(talk.upstream())
    assert talk.upstreams == 1 and talk.stats["cluster.a.upstream_rq_active"] == 41


def test_a_host_whose_answer_is_awaited_is_not_asked_again() -> None:
    talk = asking(interval="1s", timeout="5s")
    talk.waits(4.5)
    assert len(pings(talk.upstream())) == 1
    answer(talk.upstream())
    talk.waits(1.0)
    assert len(pings(talk.upstream())) == 2
    talk.waits(5.0)
    assert talk.upstream().is_closed and talk.stats["cluster.a.http2.keepalive_timeout"] == 1


def test_a_client_whose_answer_is_awaited_is_not_asked_again() -> None:
    talk = Transcript(
        OK, hcm={"http2_protocol_options": {"connection_keepalive": {"interval": "1s", "timeout": "5s"}}}
    )
    talk.client(BEGIN)
    talk.waits(5.5)
    assert len(pings(talk.client, 0)) == 1
    talk.waits(1.0)
    assert talk.client.is_closed and talk.stats["http2.keepalive_timeout"] == 1
