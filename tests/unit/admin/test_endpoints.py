"""proxy.admin: small endpoints, the table and its help; texts as Envoy 1.40.0 writes them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.admin.pages import ROUTES
from proxy.admin.state import Params
from tests.unit.admin.fake import FakeState, Host, Locality, ask


def test_ready() -> None:
    state = FakeState()
    reply = ask(state, "/ready")
    assert (reply.status, reply.body, reply.content_type) == (200, "LIVE\n", "text/plain; charset=UTF-8")
    assert ask(state, "/healthcheck/fail", "POST").body == "OK\n"
    reply = ask(state, "/ready")
    assert (reply.status, reply.body) == (503, "DRAINING\n")
    ask(state, "/healthcheck/ok", "POST")
    assert ask(state, "/ready").status == 200


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ROUTES if endpoint.post_only])
def test_what_changes_something_wants_post(path: str) -> None:
    state = FakeState()
    reply = ask(state, path)
    assert (reply.status, reply.body) == (405, "Method GET not allowed, POST required.")
    assert not state.done


@pytest.mark.parametrize("path", [endpoint.path for endpoint in ROUTES])
def test_every_path_answers_and_stands_in_the_help(path: str) -> None:
    state = FakeState()
    endpoint = next(endpoint for endpoint in ROUTES if endpoint.path == path)
    reply = ask(state, path, "POST" if endpoint.post_only else "GET")
    assert reply.status == (400 if path == "/runtime_modify" else 200)
    assert f"  {path}" in ask(state, "/help").body


def test_paths_are_sorted_and_unique() -> None:
    paths = [endpoint.path for endpoint in ROUTES]
    assert len(set(paths)) == len(paths)
    shown = [
        line.split()[0].rstrip(":")
        for line in ask(FakeState(), "/help").body.splitlines()[1:]
        if line[2] == "/"
    ]
    assert shown == sorted(paths)


@pytest.mark.parametrize("path", ["/nope", "/ready/", "//ready", "http://x/ready", ""])
def test_unknown_paths_get_the_help(path: str) -> None:
    reply = ask(FakeState(), path)
    assert reply.status == 404
    assert reply.body.startswith("invalid path. admin commands are:\n")


def test_home_page_posts_what_changes_something() -> None:
    reply = ask(FakeState(), "/")
    assert reply.content_type.startswith("text/html")
    assert '<form method="post" action="quitquitquit">' in reply.body
    assert '<a href="stats/prometheus">' in reply.body
    assert "<script" not in reply.body


@pytest.mark.parametrize(
    "target, done",
    [
        ("/quitquitquit", "quit"),
        ("/reopen_logs", "reopen"),
        ("/drain_listeners", ("drain", False, False, False)),
        ("/drain_listeners?inboundonly&graceful", ("drain", True, True, False)),
        ("/drain_listeners?graceful&skip_exit", ("drain", False, True, True)),
    ],
)
def test_commands_reach_the_process(target: str, done: Any) -> None:
    state = FakeState()
    assert ask(state, target, "POST").body == "OK\n"
    assert state.done == [done]


def test_reset_counters() -> None:
    state = FakeState()
    state.store.counter("c").value = 3
    ask(state, "/reset_counters", "POST")
    assert state.store.counter("c").value == 0


def test_listeners() -> None:
    state = FakeState()
    assert ask(state, "/listeners").body == "main::127.0.0.1:10000\nsix::[::1]:10001\n"
    statuses = json.loads(ask(state, "/listeners?format=json").body)["listener_statuses"]
    assert statuses[1] == {
        "name": "six",
        "local_address": {"socket_address": {"address": "::1", "port_value": 10001}},
    }


def test_clusters_as_text() -> None:
    lines = ask(FakeState(), "/clusters?filter=^back$").body.splitlines()
    assert len(lines) == 10 + 19
    assert lines[0] == "back::observability_name::back"
    assert lines[4] == "back::default_priority::max_retries::3"
    assert lines[5] == "back::high_priority::max_connections::1024"
    assert lines[9] == "back::added_via_api::false"
    assert [line.split("::")[2] for line in lines[10:]] == [
        *("cx_active", "cx_connect_fail", "cx_total", "rq_active", "rq_error", "rq_pending_active"),
        *("rq_success", "rq_timeout", "rq_total", "hostname", "health_flags", "weight", "region", "zone"),
        *("sub_zone", "canary", "priority", "success_rate", "local_origin_success_rate"),
    ]
    assert lines[10] == "back::127.0.0.1:8080::cx_active::1"


def test_clusters_as_json() -> None:
    state = FakeState()
    state.clusters["back"].hosts = [Host(hostname="h", priority=1, locality=Locality(zone="z"))]
    status = json.loads(ask(state, "/clusters?format=json&filter=back").body)["cluster_statuses"][0]
    host = status["host_statuses"][0]
    assert list(status) == ["name", "host_statuses", "circuit_breakers", "observability_name"]
    assert list(host) == ["address", "stats", "health_status", "weight", "hostname", "priority", "locality"]
    assert host["stats"][:2] == [{"name": "cx_connect_fail"}, {"value": "1", "name": "cx_total"}]
    assert host["stats"][6] == {"type": "GAUGE", "value": "1", "name": "cx_active"}
    assert status["circuit_breakers"]["thresholds"][1]["priority"] == "HIGH"


def test_clusters_with_a_bad_filter() -> None:
    reply = ask(FakeState(), "/clusters?filter=(")
    assert (reply.status, reply.body) == (400, "Invalid re2 regex")


def test_server_info() -> None:
    state = FakeState()
    state.now += 2
    info = json.loads(ask(state, "/server_info").body)
    assert info["state"] == "LIVE"
    assert info["uptime_current_epoch"] == "2s"
    assert info["command_line_options"] == {"concurrency": 1, "drain_time": "600s"}
    assert info["node"]["id"] == "n1"
    assert info["node"]["locality"] == {"region": "", "zone": "z", "sub_zone": ""}
    assert "envoy.filters.http.router" in [extension["name"] for extension in info["node"]["extensions"]]


def test_logging() -> None:
    state = FakeState()
    assert ask(state, "/logging", "POST").body == "active loggers:\n  admin: info\n  http: info\n\n"
    ask(state, "/logging?level=debug", "POST")
    assert state.levels == {"admin": "debug", "http": "debug"}
    ask(state, "/logging?paths=admin:off,http:trace", "POST")
    assert state.levels == {"admin": "off", "http": "trace"}
    ask(state, "/logging?http=error", "POST")
    assert state.levels == {"admin": "off", "http": "error"}


@pytest.mark.parametrize(
    "query, error",
    [
        ("level=loud", "unknown logger level"),
        ("nope=debug", "unknown logger name"),
        ("paths=admin:debug,nope:debug", "unknown logger name"),
        ("paths=admin", "unknown logger level"),
        ("a=b&c=d", "invalid number of parameters"),
    ],
)
def test_logging_changes_nothing_when_a_part_is_wrong(query: str, error: str) -> None:
    state = FakeState()
    reply = ask(state, "/logging?" + query, "POST")
    assert reply.status == 400
    assert reply.body.startswith(f"error: {error}\n\nusage: ")
    assert state.levels == {"admin": "info", "http": "info"}


def test_facts() -> None:
    state = FakeState()
    assert json.loads(ask(state, "/certs").body) == {"certificates": []}
    assert json.loads(ask(state, "/runtime").body) == {"entries": {}, "layers": []}
    assert ask(state, "/hot_restart_version").body == "disabled"
    assert int(json.loads(ask(state, "/memory").body)["total_physical_bytes"]) > 0
    assert ask(state, "/runtime_modify?a=b", "POST").status == 503


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", {}),
        ("usedonly", {"usedonly": ""}),
        ("filter=%5Ea%7Cb+c&filter=second&&=x", {"filter": "^a|b+c"}),
        ("a%26b=c=d", {"a&b": "c=d"}),
    ],
)
def test_query_parameters(text: str, expected: dict[str, str]) -> None:
    assert Params.parse(text) == expected
