"""The shipped Python filters (config/python-filters.yaml) for real, on the pure and on the native build."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import StartOutrider
from tests.support.client import Client, get, request
from tests.support.config import TYPES, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.h2_client import H2Client
from tests.support.outrider import Outrider, command
from tests.support.ports import free_port
from tests.support.upstream import Request, Step, Upstream, chunked, reply

CONFIG = Path(__file__).resolve().parents[2] / "config"
CARD = b'{"card": "4111 1111 1111 1111"}'


def asked(request: Request) -> list[Step]:
    """A service that knows one user."""
    if request.one("authorization") == "Bearer good":
        return [reply(200, b"ann")]
    return [reply(401, b"who are you?")]


@pytest.fixture
def checks() -> Iterator[Upstream]:
    with Upstream(asked) as upstream:
        yield upstream


@pytest.fixture
def service() -> Iterator[Upstream]:
    with Upstream([reply(200, CARD, [("content-type", "application/json")])]) as upstream:
        yield upstream


@pytest.fixture
def filtered(start_outrider: StartOutrider, checks: Upstream, service: Upstream, port: int) -> Outrider:
    text = (CONFIG / "python-filters.yaml").read_text()
    ports = {10000: port, 9901: free_port(), 8080: service.port, 8081: checks.port}
    config = yaml.safe_load(text)
    _replace(config, ports)
    for name in ("tenant", "check", "redact"):
        assert f"file: filters/{name}.py" in text
    _absolute(config)
    return start_outrider(config)


def _replace(value: Any, ports: dict[int, int]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "port_value":
                value[key] = ports[inner]
            _replace(inner, ports)
    elif isinstance(value, list):
        for inner in value:
            _replace(inner, ports)


def _absolute(value: Any) -> None:
    """The test's copy of the bootstrap stands elsewhere than the filters."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "file":
                value[key] = str(CONFIG / inner)
            _absolute(inner)
    elif isinstance(value, list):
        for inner in value:
            _absolute(inner)


def counter(outrider: Outrider, name: str) -> int:
    with urllib.request.urlopen(
        f"http://127.0.0.1:{outrider.admin_port}/stats?filter=^{name}$", timeout=5
    ) as page:
        return int(page.read().decode().rpartition(":")[2] or 0)


GOOD = [("x-api-key", "k-1"), ("authorization", "Bearer good")]


def test_a_request_through_all_three(
    filtered: Outrider, port: int, service: Upstream, checks: Upstream
) -> None:
    answer = get(port, "/orders?id=1", [*GOOD, ("x-tenant", "admin")])
    assert (answer.status, answer.body) == (200, b'{"card": "**** **** **** 1111"}')
    assert answer.one("content-length") == str(len(answer.body))
    [seen] = service.requests
    assert (seen.all("x-tenant"), seen.one("x-checked")) == (["red"], "ann")
    [check] = checks.requests
    assert (check.path, check.one("host"), check.one("x-path")) == ("/check", "checks", "/orders?id=1")


def test_who_is_refused_where(filtered: Outrider, port: int, service: Upstream, checks: Upstream) -> None:
    answer = get(port, "/", [("x-api-key", "k-9")])
    assert (answer.status, answer.body, checks.requests) == (403, b"unknown key", [])
    answer = get(port, "/", [("x-api-key", "k-2"), ("authorization", "Bearer bad")])
    assert (answer.status, answer.body, service.requests) == (403, b"who are you?", [])
    assert counter(filtered, "http.front.python.tenant.refused") == 1
    assert counter(filtered, "http.front.python.check.errors") == 0


def test_routes_have_their_own(filtered: Outrider, port: int, checks: Upstream) -> None:
    assert get(port, "/healthz").status == 200
    assert checks.requests == []
    assert get(port, "/admin/x", GOOD).status == 200
    assert [each.path for each in checks.requests] == ["/check-admin"]


def test_a_body_that_comes_while_the_filter_asks(filtered: Outrider, port: int, service: Upstream) -> None:
    body = b"x" * 300_000
    with Client(port) as client:
        answer = client.send(request("POST", "/upload", GOOD, body)).read()
        assert answer.status == 200
        assert client.send(request("GET", "/again", GOOD)).read().status == 200
    assert (len(service.requests[0].body), service.requests[0].one("content-length")) == (300_000, "300000")


HOOKS = """
import asyncio

from proxy.http.filter import Filter

class Slow(Filter):
    def __init__(self, config, context):
        self.config = config

    async def decode_headers(self, stream):
        word = stream.request_headers.path.decode().strip("/")
        if word == "raise":
            await asyncio.sleep(0)
            raise ValueError("as asked")
        await asyncio.sleep(60 if word == "hang" else 0.01)
        async with asyncio.timeout(5):
            stream.request_headers.set(b"x-slow", b"1")

    async def decode_data(self, stream, data, end):
        await asyncio.sleep(0.001)
        return data.upper()

    async def encode_data(self, stream, data, end):
        await asyncio.sleep(0.001)
        return data + b"."

    def on_complete(self, stream):
        assert stream.done
"""


def slow(port: int, upstream: Upstream, folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "slow.py").write_text(HOOKS)
    python = "type.googleapis.com/outrider.filters.http.python.v1.Python"
    mine = {"@type": python, "file": str(folder / "slow.py"), "class": "Slow", "timeout": "1.5s", **more}
    router = {"@type": f"{TYPES}.filters.http.router.v3.Router"}
    filters = [{"name": "slow", "typed_config": mine}, {"name": "router", "typed_config": router}]
    listener = http_listener(port, [virtual_host([route_to("up")])], hcm={"http_filters": filters})
    return bootstrap(free_port(), [listener], [cluster("up", upstream.port)])


def test_hooks_that_await_on_a_real_loop(start_outrider: StartOutrider, port: int, tmp_path: Path) -> None:
    with Upstream([chunked([b"one", b"two"])]) as upstream:
        outrider = start_outrider(slow(port, upstream, tmp_path))
        with Client(port) as client:
            for _ in range(3):
                answer = client.send(request("POST", "/fine", [], b"abc" * 50_000)).read()
                assert answer.status == 200 and answer.body.replace(b".", b"") == b"onetwo"
        assert {each.body for each in upstream.requests} == {b"ABC" * 50_000}
        assert upstream.requests[0].one("x-slow") == "1"
        assert get(port, "/raise").status == 500
        assert get(port, "/hang").status == 500
        assert counter(outrider, "http.front.python.slow.errors") == 2
        assert counter(outrider, "http.front.python.slow.timeouts") == 1
        written = outrider.output()
        assert "python filter slow: decode_headers failed" in written and "ValueError: as asked" in written
        assert counter(outrider, "server.envoy_bug_failures") == 0


def test_the_same_over_http2(start_outrider: StartOutrider, port: int, tmp_path: Path) -> None:
    with Upstream([chunked([b"one", b"two"])]) as upstream:
        start_outrider(slow(port, upstream, tmp_path))
        client = H2Client(port)
        try:
            ids = [client.start(f"/{number}", "POST", end=False) for number in range(3)]
            for each in ids:
                client.data(each, b"abc" * 100_000, end=True)
            answers = [client.wait(each) for each in ids]
        finally:
            client.close()
        assert [each.status for each in answers] == [200] * 3
        assert {each.body.replace(b".", b"") for each in answers} == {b"onetwo"}
        assert {each.body for each in upstream.requests} == {b"ABC" * 100_000}


def test_skipped_where_the_configuration_says_so(
    start_outrider: StartOutrider, port: int, tmp_path: Path
) -> None:
    with Upstream([reply(200, b"whole")]) as upstream:
        start_outrider(slow(port, upstream, tmp_path, on_error="CONTINUE"))
        assert get(port, "/raise").body == b"whole"


def test_a_broken_file_is_refused_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "front.yaml").write_text(
        (CONFIG / "python-filters.yaml").read_text().replace("filters/tenant.py", "greeter.py")
    )
    native = os.environ.get("OUTRIDER_NATIVE") == "1"
    argv, home = command(native)
    done = subprocess.run(
        [*argv, "validate", "-c", str(tmp_path / "front.yaml")],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=30,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "No module named 'nowhere_to_be_found' (greeter.py:1)" in said
    assert "front.yaml:" in said and "http_filters[0].typed_config.file" in said
