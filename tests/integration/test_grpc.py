"""gRPC through the proxy, with grpcio's own client and server: unary and the three streaming kinds, statuses, deadlines;
in plain text, and over TLS on both sides.

Serialisers are left out: messages are bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Authority
from tests.support.config import (
    TYPES,
    Config,
    bootstrap,
    cluster,
    file_log,
    http_listener,
    route_to,
    virtual_host,
)
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.wait import until

grpc = pytest.importorskip("grpc")

HTTP2_CLUSTER = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}
LOG = "%PROTOCOL% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% %GRPC_STATUS% %GRPC_STATUS_NUMBER%\n"


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """Echo in four kinds, and ways to fail.

    calls: what was called, with its metadata; remaining: seconds to the deadline that slow calls were given
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.remaining: list[float] = []

    def service(self, call: Any) -> Any:
        method = call.method.rpartition("/")[2]
        self.calls.append((method, dict(call.invocation_metadata)))
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Flaky": grpc.unary_unary_rpc_method_handler(self.flaky),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow),
        }
        return handlers.get(method)

    def unary(self, request: bytes, context: Any) -> bytes:
        context.send_initial_metadata((("x-head", "begins"),))
        context.set_trailing_metadata((("x-tail", "ends"), ("x-tail-bin", b"\x00\xff")))
        return b"re:" + request

    def down(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield b"%d" % number * 1000

    def up(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(len(item) for item in requests)

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for item in requests:
            yield item[::-1]

    def fail(self, request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you, 100% sure\n")
        return b""

    def flaky(self, request: bytes, context: Any) -> bytes:
        tries = sum(name == "Flaky" for name, _ in self.calls)
        if tries % 2:
            context.abort(grpc.StatusCode.UNAVAILABLE, "again")
        return b"second"

    def slow(self, request: bytes, context: Any) -> bytes:
        self.remaining.append(context.time_remaining())
        end = time.monotonic() + 5
        while context.is_active() and time.monotonic() < end:
            time.sleep(0.01)
        return b"late"


CA = Authority()
PAIR = CA.signs("front", dns=("front.example",))


def secure(*, upstream: bool) -> Config:
    """A transport socket that speaks HTTP/2 by ALPN."""
    side = "UpstreamTlsContext" if upstream else "DownstreamTlsContext"
    common: Config = {"alpn_protocols": ["h2"]}
    if upstream:
        common["validation_context"] = {"trusted_ca": {"inline_string": CA.pem}}
    else:
        common["tls_certificates"] = [PAIR.config()]
    typed = {"@type": f"{TYPES}.transport_sockets.tls.v3.{side}", "common_tls_context": common}
    if upstream:
        typed["sni"] = "front.example"
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


class Served:
    """The service behind the proxy. service, proxy, log: as they are named"""

    def __init__(self, folder: Path, over_tls: bool) -> None:
        self.service = Service()
        self.over_tls = over_tls
        self.server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((self.service,))
        if over_tls:
            pair = grpc.ssl_server_credentials([(PAIR.key.encode(), PAIR.certificate.encode())])
            port = self.server.add_secure_port("127.0.0.1:0", pair)
        else:
            port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.front, self.log = free_port(), folder / "log"
        self.proxy = Outrider(self._config(port))

    def _config(self, upstream: int) -> Config:
        retry = {"retry_on": "unavailable", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}
        routes = [
            route_to("svc", prefix="/demo.Service/Flaky", retry_policy=retry),
            route_to(
                "svc", prefix="/demo.Service/Slow", max_stream_duration={"grpc_timeout_header_max": "0.3s"}
            ),
            route_to("svc", prefix="/demo.Old", max_grpc_timeout="0.3s"),
            route_to(
                "svc",
                prefix="/demo.Offset",
                max_stream_duration={"grpc_timeout_header_max": "9s", "grpc_timeout_header_offset": "3.7s"},
            ),
            route_to("nobody", prefix="/demo.Nobody"),
            route_to("svc", prefix="/demo.Service", timeout="0s"),
        ]
        listener = http_listener(
            self.front, [virtual_host(routes)], hcm={"access_log": [file_log(str(self.log), LOG)]}
        )
        more = dict(HTTP2_CLUSTER)
        if self.over_tls:
            listener["filter_chains"][0]["transport_socket"] = secure(upstream=False)
            more["transport_socket"] = secure(upstream=True)
        clusters = [cluster("svc", upstream, **more), cluster("nobody", free_port(), **HTTP2_CLUSTER)]
        return bootstrap(free_port(), [listener], clusters)

    def channel(self) -> Any:
        """A client's connection."""
        target = f"127.0.0.1:{self.front}"
        if not self.over_tls:
            return grpc.insecure_channel(target)
        roots = grpc.ssl_channel_credentials(CA.pem.encode())
        return grpc.secure_channel(target, roots, [("grpc.ssl_target_name_override", "front.example")])


@pytest.fixture(scope="module", params=["plain", "tls"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("grpc"), request.param == "tls")
    with made.proxy:
        yield made
    made.server.stop(None).wait()


@pytest.fixture
def channel(served: Served) -> Iterator[Any]:
    with served.channel() as made:
        yield made


def test_unary(channel: Any) -> None:
    response, call = channel.unary_unary("/demo.Service/Unary").with_call(
        b"hello", timeout=5, metadata=(("x-asked", "yes"), ("x-asked-bin", b"\x01\x02"))
    )
    assert response == b"re:hello"
    assert ("x-head", "begins") in call.initial_metadata()
    assert dict(call.trailing_metadata()) == {"x-tail": "ends", "x-tail-bin": b"\x00\xff"}
    assert call.code() is grpc.StatusCode.OK


def test_metadata_travels(channel: Any, served: Served) -> None:
    channel.unary_unary("/demo.Service/Unary")(b"x", timeout=5, metadata=(("x-asked", "metadata"),))
    seen = [metadata for name, metadata in served.service.calls if metadata.get("x-asked") == "metadata"]
    assert len(seen) == 1
    assert seen[0]["x-request-id"]


def test_server_streaming(channel: Any) -> None:
    received = list(channel.unary_stream("/demo.Service/Down")(b"200", timeout=10))
    assert received == [b"%d" % number * 1000 for number in range(200)]


def test_client_streaming(channel: Any) -> None:
    parts = (b"p" * 10_000 for _ in range(300))
    assert channel.stream_unary("/demo.Service/Up")(parts, timeout=10) == b"3000000"


def test_both_ways_one_after_the_other(channel: Any) -> None:
    """Each message is answered before the next is sent: nothing waits for the stream's end anywhere."""
    answered: list[bytes] = []

    def ask() -> Iterator[bytes]:
        for number in range(50):
            deadline = time.monotonic() + 5
            while len(answered) < number and time.monotonic() < deadline:
                time.sleep(0.0005)
            yield b"message %d" % number

    for answer in channel.stream_stream("/demo.Service/Both")(ask(), timeout=10):
        answered.append(answer)
    assert answered == [(b"message %d" % number)[::-1] for number in range(50)]


def test_many_calls_at_once(channel: Any) -> None:
    unary = channel.unary_unary("/demo.Service/Unary")
    calls = [unary.future(b"%d" % number, timeout=10) for number in range(200)]
    assert [call.result() for call in calls] == [b"re:%d" % number for number in range(200)]


def test_a_status_of_the_host_comes_through(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/demo.Service/Fail")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "not you, 100% sure\n"


def test_replies_of_the_proxy_are_grpc(channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/demo.Nobody/Any")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "remote connection failure" in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/nowhere/Any")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_retry_on_a_grpc_status(channel: Any, served: Served) -> None:
    assert channel.unary_unary("/demo.Service/Flaky")(b"", timeout=5) == b"second"
    assert served.proxy.stats()["cluster.svc.upstream_rq_retry_success"] == 1


def test_the_clients_deadline_reaches_the_host(channel: Any, served: Served) -> None:
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/demo.Service/Slow")(b"", timeout=4)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert served.service.remaining[-1] < 0.35, "the host was told less than the client's four seconds"
    assert 0.25 < time.monotonic() - started < 2


@pytest.mark.parametrize("path", ["/demo.Old/Slow", "/demo.Offset/Slow"])
def test_the_proxys_own_idea_of_the_deadline(channel: Any, served: Served, path: str) -> None:
    """Less than the client's four seconds: at most so much (the host is told, and may be the one that ends the call),
    or so much less."""
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(b"", timeout=4)
    assert caught.value.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert time.monotonic() - started < 3


def test_a_cancelled_call_is_cancelled_at_the_host(channel: Any, served: Served) -> None:
    proxy = served.proxy
    before = proxy.stats()["cluster.svc.upstream_rq_tx_reset"]
    waiting = len(served.service.remaining)
    call = channel.unary_unary("/demo.Offset/Slow").future(b"", timeout=9)
    until(lambda: len(served.service.remaining) > waiting, "the call at the host")
    call.cancel()
    proxy.wait_for_stat("cluster.svc.upstream_rq_tx_reset", before + 1)


def test_the_log_tells_grpc_statuses(channel: Any, served: Served) -> None:
    channel.unary_unary("/demo.Service/Unary")(b"", timeout=5)
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/demo.Service/Fail")(b"", timeout=5)
    with pytest.raises(grpc.RpcError):
        channel.unary_unary("/demo.Nobody/Any")(b"", timeout=5)
    wanted = {
        "HTTP/2 /demo.Service/Unary 200 - OK 0",
        "HTTP/2 /demo.Service/Fail 200 - PermissionDenied 7",
        "HTTP/2 /demo.Nobody/Any 200 UF Unavailable 14",
    }
    deadline = time.monotonic() + 5
    while not wanted <= set(served.log.read_text().splitlines()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert wanted <= set(served.log.read_text().splitlines())
