"""The admin server over real sockets: what curl, a browser and a probe would see."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from proxy.admin.server import AdminServer
from tests.unit.admin.fake import FakeState


@contextmanager
def serving(state: FakeState, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """An admin server on a loop of its own thread; yields its address."""
    bound: Future[tuple[str, int]] = Future()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = AdminServer(state)
        try:
            bound.set_result(await server.start(host, 0))
        except OSError as error:
            bound.set_exception(error)
            return
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        yield bound.result(timeout=10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        alive = thread.is_alive()
        if not alive:
            loop.close()
        assert not alive


def ask(
    address: tuple[str, int], path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response, body


def test_a_server_on_a_port_of_the_systems_choice() -> None:
    state = FakeState()
    with serving(state) as address:
        assert address[1] > 0
        response, body = ask(address, "/ready")
        assert (response.status, response.reason, body) == (200, "OK", "LIVE\n")
        assert response.getheader("server") == "envoy"
        assert response.getheader("transfer-encoding") == "chunked"
        assert ask(address, "/healthcheck/fail", "POST")[0].status == 200
        assert ask(address, "/ready")[0].status == 503
        assert ask(address, "/quitquitquit")[0].status == 405
        assert ask(address, "/quitquitquit", "POST")[1] == "OK\n"
        assert state.done == ["quit"]


def test_one_connection_serves_many_requests() -> None:
    with serving(FakeState()) as address:
        connection = http.client.HTTPConnection(*address, timeout=10)
        for path in (
            "/stats",
            "/stats/prometheus",
            "/config_dump",
            "/clusters?format=json",
            "/nope",
            "/ready",
        ):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.read()
            assert response.status == (404 if path == "/nope" else 200)
        connection.close()


def test_a_large_page_arrives_whole() -> None:
    state = FakeState()
    for number in range(20_000):
        state.store.counter(f"cluster.back.number_{number}")
    with serving(state) as address:
        _, body = ask(address, "/stats?format=json")
        assert len(json.loads(body)["stats"]) > 20_000


def test_a_rebound_name_is_refused() -> None:
    with serving(FakeState()) as address:
        assert ask(address, "/stats", Host="evil.example")[0].status == 403
        assert ask(address, "/stats", Host=f"localhost:{address[1]}")[0].status == 200


def test_ipv6() -> None:
    try:
        with serving(FakeState(), "::1") as address:
            assert ask(address, "/ready")[0].status == 200
    except OSError as error:
        pytest.skip(f"no IPv6 loopback here: {error}")
