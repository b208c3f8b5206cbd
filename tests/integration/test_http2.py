"""HTTP/2 through a running proxy: the preface in pieces, every mix of versions, backpressure, drain, pings, h2load."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hpack import Encoder
from hyperframe.frame import GoAwayFrame, HeadersFrame

from tests.support.client import Client
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.h2_upstream import H2Reply, H2Request, H2Upstream
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet
from tests.support.upstream import Request, Steps, Upstream, chunked, reply

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MIB = 1024 * 1024


def http2(port: int, name: str = "two", **settings: Any) -> Config:
    typed = {
        "@type": f"type.googleapis.com/{OPTIONS}",
        "explicit_http_config": {"http2_protocol_options": settings},
    }
    return cluster(name, port, typed_extension_protocol_options={OPTIONS: typed})


class Setting:
    """A proxy before an HTTP/1 host ("/one…") and an HTTP/2 host (everything else)."""

    def __init__(self, two: H2Upstream, one: Upstream, hcm: Config | None = None, **settings: Any) -> None:
        self.two, self.one = two, one
        self.front = free_port()
        ok = {"match": {"path": "/ok"}, "direct_response": {"status": 200, "body": {"inline_string": "fine"}}}
        routes = [ok, route_to("one", prefix="/one", timeout="0s"), route_to("two", timeout="0s")]
        listener = http_listener(self.front, [virtual_host(routes)], hcm=hcm)
        clusters = [cluster("one", one.port), http2(two.port, **settings)]
        self.proxy = Outrider(bootstrap(free_port(), [listener], clusters))


def one(request: Request) -> Steps:
    if request.path == "/one/big":
        return [reply(body=b"1" * 8 * MIB)]
    if request.path == "/one/trailers":
        return [chunked([b"parts"], trailers=[("x-tail", "t")])]
    return [reply(body=request.body or b"one")]


def two(request: H2Request, answer: H2Reply) -> None:
    if request.path in ("/big", "/huge"):
        answer.headers(200)
        answer.data(b"2" * (8 if request.path == "/big" else 20) * MIB, end=True)
    elif request.path == "/hang":
        pass
    else:
        answer.answer(request.body or b"two")


@pytest.fixture
def setting() -> Iterator[Setting]:
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain)
        with made.proxy:
            yield made
            assert_quiet(made.proxy)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    "segments", [(1,), (3, 1, 13), (14, 4), (16,), (17,), (18,), (20,), (23, 1), (1,) * 24]
)
def test_the_preface_in_any_segments(setting: Setting, segments: tuple[int, ...]) -> None:
    with H2Client(setting.front, segments=segments) as client:
        assert client.get("/ok").body == b"fine"
    assert setting.proxy.stats()["http.front.downstream_cx_http2_total"] == 1
    assert setting.proxy.stats()["http.front.downstream_cx_http1_total"] == 0


def test_the_preface_is_nothing_after_a_request(setting: Setting) -> None:
    with Client(setting.front) as client:
        client.send(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n")
        assert client.read().body == b"fine"
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read().status == 400


def test_codec_type_http1_serves_no_http2() -> None:
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, {"codec_type": "HTTP1"})
        with made.proxy, H2Client(made.front, 2.0) as client:
            assert client.is_closed() and not client.settings


def test_every_mix_of_versions(setting: Setting) -> None:
    with H2Client(setting.front) as client:
        assert client.get("/one/x").body == b"one"
        assert client.get("/x").body == b"two"
        for path in ("/one/post", "/post"):
            stream = client.start(path, "POST", end=False)
            client.data(stream, b"p" * 100_000, end=True)
            assert client.wait(stream).body == b"p" * 100_000
    with Client(setting.front) as client:
        client.send(
            b"POST /post HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        )
        assert client.read().body == b"abc"
        assert dict(setting.two.requests[-1].headers).get("transfer-encoding") is None


def test_a_request_without_length_is_framed_for_http1(setting: Setting) -> None:
    with H2Client(setting.front) as client:
        client.wait(client.start("/one/a", "POST", end=True))
        stream = client.start("/one/b", "POST", end=False)
        client.data(stream, b"GET /smuggled HTTP/1.1\r\n\r\n", end=True)
        client.wait(stream)
        stream = client.start("/one/c", "POST", end=False)
        client.data(stream, b"x")
        client.trailers(stream, [("transfer-encoding", "chunked")])
        client.wait_until(lambda: client.closed, 2.0)
    first, second = setting.one.requests[:2]
    assert first.one("content-length") == "0" and first.one("transfer-encoding") is None
    assert second.one("transfer-encoding") == "chunked" and second.body == b"GET /smuggled HTTP/1.1\r\n\r\n"
    assert [request.path for request in setting.one.requests if "smuggled" in request.path] == []


@pytest.mark.parametrize(("path", "name", "window"), [("/huge", "two", 24 * MIB), ("/one/big", "one", 0)])
def test_a_slow_client_slows_the_host(setting: Setting, path: str, name: str, window: int) -> None:
    """Many mebibytes for each of eight streams whose windows are never opened again: they stay with the hosts, but for what
    the connection's window lets an HTTP/2 host send. (Of a stream that ends within it the connection's is given back, in
    Envoy too.)"""
    with H2Client(setting.front, auto_window=False) as client:
        before = resident(setting.proxy.pid)
        streams = [client.start(path) for _ in range(8)]
        client.wait_until(lambda: all(client.streams[stream].status for stream in streams), 5.0)
        setting.proxy.wait_for_stat(f"cluster.{name}.upstream_flow_control_paused_reading_total", 8)
        received = f"cluster.{name}.upstream_cx_rx_bytes_total"
        setting.proxy.wait_for_stat(received, window)
        time.sleep(0.5)  # for more, if more is taken
        assert setting.proxy.stats()[received] < window + 8 * MIB
        assert resident(setting.proxy.pid) - before < 2 * window + 16 * MIB
        ok = client.streams[client.start("/ok")]
        assert client.wait_until(lambda: ok.status == 200)  # not its body, for which there is no window
        for stream in streams:
            client.reset(stream)


def test_a_slow_client_gets_everything_in_the_end(setting: Setting) -> None:
    with H2Client(setting.front, timeout_s=20) as client:
        streams = [client.start(path) for path in ("/big", "/one/big", "/big")]
        assert [len(client.wait(stream).body) for stream in streams] == [8 * MIB] * 3


def test_a_slow_host_slows_the_client(setting: Setting) -> None:
    setting.two.holding.set()
    with H2Client(setting.front) as client:
        before = resident(setting.proxy.pid)
        stream = client.start("/post", "POST", end=False)
        sent = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            room = min(client.h2.local_flow_control_window(stream), 16384)
            if room <= 0:
                if not client.pump(time.monotonic() + 0.3):
                    break
                continue
            client.h2.send_data(stream, b"d" * room)
            client.flush()
            sent += room
        assert room <= 0, "the client was never stopped"
        assert sent < 20 * MIB and resident(setting.proxy.pid) - before < 40 * MIB
        client.reset(stream)


def test_a_client_that_says_goaway_is_served_and_then_closed(setting: Setting) -> None:
    with H2Client(setting.front) as client:
        first = client.start("/slow", "POST", end=False)
        client.raw(GoAwayFrame(0, last_stream_id=0, error_code=0).serialize())
        second = client.start("/ok")
        assert client.wait(second).body == b"fine"
        assert not client.closed
        client.data(first, b"x", end=True)
        assert client.wait(first).body == b"x"
        assert client.is_closed() and not client.was_reset
    assert setting.proxy.wait_for_stat("http.front.downstream_cx_destroy_local", 1) == 1
    assert setting.proxy.stats()["http2.goaway_sent"] == 1


def test_a_drain_finishes_streams_and_says_goaway() -> None:
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain)
        with made.proxy:
            drain(made)


def drain(setting: Setting) -> None:
    release = threading.Event()

    def wait(request: H2Request, answer: H2Reply) -> None:
        release.wait(5)
        answer.answer(b"finished")

    setting.two.script = wait
    with H2Client(setting.front) as idle, H2Client(setting.front) as client:
        assert idle.get("/ok").status == 200
        stream = client.start("/x")
        setting.proxy.wait_for_stat("cluster.two.upstream_rq_active", 1)
        setting.proxy.signal(signal.SIGTERM)
        assert idle.is_closed() and idle.goaways == [(0, 1)]
        assert client.wait_until(lambda: bool(client.goaways))
        assert client.goaways == [(0, 2**31 - 1)]
        release.set()
        assert client.wait(stream).body == b"finished"
        assert client.is_closed() and client.goaways[-1] == (0, stream)
        assert setting.proxy.wait() == 0


def test_a_client_that_answers_no_ping_is_left() -> None:
    options = {"http2_protocol_options": {"connection_keepalive": {"interval": "0.2s", "timeout": "1s"}}}
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, options)
        with made.proxy, H2Client(made.front) as good, H2Client(made.front) as silent:
            assert silent.get("/ok").status == 200
            deadline = time.monotonic() + 10
            while not made.proxy.stats()["http2.keepalive_timeout"]:
                assert time.monotonic() < deadline
                good.pump(time.monotonic() + 0.05)  # answers pings
            assert good.get("/ok").status == 200
            assert silent.sock.recv(65536)
            assert made.proxy.stats()["http2.keepalive_timeout"] == 1


def test_a_host_that_answers_no_ping_is_left() -> None:
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, connection_keepalive={"interval": "0.2s", "timeout": "0.3s"})
        with made.proxy, H2Client(made.front) as client:
            assert client.get("/x").status == 200
            upstream.stalled.set()
            stream = client.start("/x")
            response = client.wait(stream)
            assert response.status == 503 and b"connection termination" in response.body
            assert made.proxy.stats()["cluster.two.http2.keepalive_timeout"] == 1


def test_streams_beyond_the_hosts_limit_go_elsewhere() -> None:
    def slow(request: H2Request, answer: H2Reply) -> None:
        time.sleep(0.02)
        answer.answer(b"x")

    with H2Upstream(slow, settings={3: 2}) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, max_concurrent_streams=2)
        with made.proxy, H2Client(made.front) as client:
            assert client.get("/warm").status == 200
            streams = [client.start(f"/{number}") for number in range(12)]
            assert [client.wait(stream).status for stream in streams] == [200] * 12
            assert upstream.connections > 1 and not upstream.errors


def test_half_a_head_is_not_waited_for() -> None:
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, {"request_headers_timeout": "0.3s"})
        with made.proxy, H2Client(made.front) as client:
            assert client.get("/ok").status == 200
            client.raw(b"\0\0\x20\x01\x04\0\0\0\3\x82")
            assert client.is_closed(2.0)
            assert made.proxy.stats()["http.front.downstream_rq_header_timeout"] == 1


def test_a_single_client_may_not_have_more_streams_than_allowed() -> None:
    options = {"http2_protocol_options": {"max_concurrent_streams": 3}}
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain, options)
        with made.proxy, H2Client(made.front, 3.0) as client:
            client.wait_until(lambda: bool(client.settings))
            assert client.settings[3] == 3
            streams = [client.start("/hang") for _ in range(3)]
            made.proxy.wait_for_stat("cluster.two.upstream_rq_active", 3)
            frame = HeadersFrame(
                7, Encoder().encode([(":method", "GET"), (":scheme", "http"), (":path", "/ok")])
            )
            frame.flags.add("END_HEADERS")
            client.raw(frame.serialize())
            assert client.is_closed() and client.goaways == [(1, 5)]
            assert [client.streams[stream].status for stream in streams] == [0] * 3


@pytest.mark.system
@pytest.mark.parametrize("path", ["/ok", "/one/x"])
def test_h2load(setting: Setting, path: str) -> None:
    h2load = shutil.which("h2load")
    if h2load is None:
        pytest.skip("needs h2load (Debian: nghttp2-client)")
    command = [h2load, "-n", "2000", "-c", "4", "-m", "50", f"http://127.0.0.1:{setting.front}{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout
    assert "status codes: 2000 2xx" in done.stdout


def test_a_slow_client_gets_its_last_bytes_in_a_drain() -> None:
    """Longer than delayed_close_timeout: what the proxy has written is not cut off."""
    with H2Upstream(two) as upstream, Upstream(one) as plain:
        made = Setting(upstream, plain)
        with made.proxy, H2Client(made.front, 30.0) as client:
            stream = client.start("/big")
            client.pump(time.monotonic() + 5)
            made.proxy.signal(signal.SIGTERM)
            end = time.monotonic() + 2.5
            while time.monotonic() < end and client.pump(time.monotonic() + 1):
                time.sleep(0.02)
            assert len(client.wait(stream).body) == 8 * MIB
            assert made.proxy.wait() == 0
