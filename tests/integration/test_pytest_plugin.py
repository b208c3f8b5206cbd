"""The fixtures of the pytest plugin (docs/testing.md), as a user's tests have them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.config import Config, address, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.wait import until

pytest_plugins = ["pytester"]
DOC = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")

#: a module that tests of an inner run import: what they start is noted by its pid
COMMON = """
import http.client, os
from urllib.parse import urlsplit

def ask(url, method="GET", body=None, headers={}):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request(method, parts.path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found

def note(proxy):
    with open("pids", "a") as file:
        file.write(f"{proxy.pid}\\n")
    return proxy
"""
GOOD = """
import pytest
from proxy.testing.process import ProxyFailed
from proxy.testing.upstream import Reply

def test_requests_go_through(outrider, outrider_upstream):
    proxy = note(outrider("shop.json", clusters={"users": outrider_upstream}))
    assert ask(proxy.url(path="/users/7"), "POST", iter([b"a", b"b"]), {"x-a": "1"}) == (200, b"ok")
    (request,) = outrider_upstream.wait_for(1)
    assert (request.method, request.path, request.body) == ("POST", "/users/7", b"ab")
    assert request.headers["X-A"] == "1" and request.headers["x-request-id"]
    outrider_upstream.reply = lambda request: Reply(418, request.path, {"x-b": "2"})
    assert ask(proxy.url("front", "/users")) == (418, b"/users")
    assert ask(proxy.url(1, "/")) == ask(proxy.url("second")) == (204, b"")
    assert proxy.stats()["cluster.users.upstream_rq_total"] == 2
    assert ask(proxy.admin + "/ready") == (200, b"LIVE\\n")
    with pytest.raises(LookupError, match="no listener 'frnt'; there are: front, second"):
        proxy.url("frnt")
    outrider_upstream.close()
    assert ask(proxy.url(path="/users"))[0] == 503
    assert proxy.stop() == proxy.stop() == 0

def test_two_at_once_and_a_bootstrap_in_python(outrider, outrider_upstream):
    first = note(outrider(BOOTSTRAP, "--supervise", clusters={"users": outrider_upstream.address}))
    second = note(outrider(BOOTSTRAP, clusters={"users": first.address("second")}))
    assert first.url() != second.url() and first.admin != second.admin
    assert ask(second.url(path="/users"))[0] == 204

def test_what_is_wrong_is_told(outrider):
    with pytest.raises(ProxyFailed, match=r"bad.json:1:\\d+: error: static_resources.listenrs: .*did you mean .listeners"):
        outrider("bad.json")
    with pytest.raises(ProxyFailed, match=r"was not ready in 1 s \\("):
        outrider(WAITING, timeout_s=1.0)
"""
FAILING = """
import os

def test_fails(outrider):
    note(outrider("shop.json"))
    assert 1 == 2

def test_its_proxy_dies(outrider):
    os.kill(note(outrider("shop.json")).pid, 9)
"""
HANGING = """
import time

def test_hangs(outrider):
    note(outrider("shop.json"))
    time.sleep(300)
"""


def shop() -> Config:
    """Two listeners where somebody may listen already, and a cluster at a host that is not there."""
    users = cluster("users", 1)
    users["type"] = "STRICT_DNS"
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 204}}
    listeners = [
        http_listener(80, [virtual_host([route_to("users", "/users"), answer])]),
        http_listener(80, [virtual_host([answer])], stat_prefix="second"),
    ]
    return bootstrap(80, listeners, [users])


@pytest.fixture
def pids(pytester: pytest.Pytester) -> Path:
    """What the inner run's proxies are noted in; bootstraps stand beside it."""
    nobody = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "users"}}],
    }
    source = {"resource_api_version": "V3", "api_config_source": nobody}
    waiting = shop() | {"dynamic_resources": {"cds_config": source}}  # for 15 s
    broken = {"static_resources": {"listenrs": []}}
    for name, config in (("shop", shop()), ("bad", broken)):
        (pytester.path / f"{name}.json").write_text(json.dumps(config))
    (pytester.path / "common.py").write_text(f"{COMMON}\nBOOTSTRAP = {shop()!r}\nWAITING = {waiting!r}\n")
    return pytester.path / "pids"


def write(pytester: pytest.Pytester, name: str, tests: str) -> None:
    """A module of an inner run."""
    (pytester.path / f"test_{name}.py").write_text("from common import *\n" + tests)


def running(pids: Path) -> list[int]:
    """Of the proxies noted, those that are there."""
    return [pid for pid in map(int, pids.read_text().split()) if Path(f"/proc/{pid}").exists()]


def test_fixtures_on_two_workers_leave_no_process(pytester, pids):
    write(pytester, "good", GOOD)
    write(pytester, "failing", FAILING)
    done = pytester.runpytest_subprocess("-n", "2")
    done.assert_outcomes(passed=4, failed=1, errors=1)
    done.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_its_proxy_dies*",
            "E * proxy.testing.process.ProxyFailed: outrider ended with -9, not 0:",
            "*_ test_fails _*",
            "E * assert 1 == 2",
            "*Captured stderr teardown*",
            "*listener front serves on 127.0.0.1:*",
        ]
    )
    assert len(pids.read_text().split()) == 5 and running(pids) == []


def block(name: str, language: str) -> str:
    """One of the blocks of docs/testing.md."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```{language}\n(.*?)```", DOC, re.DOTALL)
    assert found is not None, name
    return found[1]


def test_the_page_is_true(pytester):
    def write_envoy(**action: str) -> None:
        hosts = [virtual_host([route_to("users", "/users/", **action)], name="shop")]
        table = {"route_config": {"name": "shop", "virtual_hosts": hosts}}
        listener = http_listener(80, hosts, hcm=table, stat_prefix="ingress") | {
            "address": address(80, "0.0.0.0")
        }
        config = bootstrap(80, [listener], [cluster("users", 1)])
        (pytester.path / "envoy.yaml").write_text(json.dumps(config))

    for name in ("shop.outrider.yaml", "test_shop.py", "test_many.py"):
        text = block(f"tested: {name}", "python" if name.endswith(".py") else "yaml")
        (pytester.path / name).write_text(text)
    write_envoy(prefix_rewrite="/v2/")
    pytester.runpytest_subprocess().assert_outcomes(passed=3)
    write_envoy()
    done = pytester.runpytest_subprocess("shop.outrider.yaml")
    done.assert_outcomes(failed=1)
    assert block("failure", "text") in done.stdout.str()


def test_a_pytest_that_is_killed_takes_its_proxies_along(pytester, pids):
    write(pytester, "hanging", HANGING)
    argv = [sys.executable, "-m", "pytest", "-q"]
    inner = subprocess.Popen(argv, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: pids.exists() and bool(pids.read_text()), "a proxy", 30.0)
        assert len(running(pids)) == 1
    finally:
        os.kill(inner.pid, signal.SIGKILL)
        inner.wait(10)
    until(lambda: not running(pids), "its end")
