"""Compiling listeners: what is refused, and the manager's stats."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from proxy.api.load import BOOTSTRAP, load_text
from proxy.base.clock import Clock
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import Parts, compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Store
from tests.support.config import address, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.corridor import SilentResolver
from tests.support.memory_loop import MemoryLoop


def compiled(*listeners: dict[str, Any]) -> tuple[Parts, str]:
    config = bootstrap(9901, list(listeners), [cluster("up", 9)])
    loaded = load_text(BOOTSTRAP, json.dumps(config), "f", is_json=True)
    store = Store()
    dispatcher = Dispatcher(cast(Any, MemoryLoop()), Clock(), store.counter("bugs"))
    parts = compile_bootstrap(loaded, Options(), dispatcher, store, {}, SilentResolver())
    return parts, "\n".join(map(str, loaded.errors.findings))


def listening(port: int = 10000, **more: Any) -> dict[str, Any]:
    return http_listener(port, [virtual_host([route_to("up")])], **more)


def test_two_listeners():
    first, second = listening(10000), listening(10001, stat_prefix="second")
    parts, findings = compiled(first, second)
    assert findings == ""
    assert [(each.name, each.address) for each in parts.listeners.listeners] == [
        ("front", ("127.0.0.1", 10000)),
        ("second", ("127.0.0.1", 10001)),
    ]
    store = parts.context.stats
    assert store.counter("listener_manager.listener_added").value == 2


def test_a_listener_without_a_name_is_called_by_its_address():
    nameless = listening()
    del nameless["name"]
    parts, _ = compiled(nameless)
    assert parts.listeners.listeners[0].name == "127.0.0.1:10000"


def test_options():
    more = {"per_connection_buffer_limit_bytes": 77, "tcp_backlog_size": 5, "enable_reuse_port": False}
    parts, findings = compiled(listening(**more))
    listener = parts.listeners.listeners[0]
    assert findings == ""
    assert (listener.backlog, listener.reuse_port) == (5, False)
    assert cast(Any, listener.filter).hcm.buffer_limit_bytes == 77


def changed(**fields: Any) -> dict[str, Any]:
    return {**listening(), **fields}


@pytest.mark.parametrize(
    "listener, said",
    [
        (changed(address=address(1, "example.com")), "is not an IP address"),
        (changed(filter_chains=[]), "filter chain"),
        (changed(filter_chains=listening()["filter_chains"] * 2), "filter_chains"),
        (changed(api_listener={}), "api_listener"),
        (changed(address={"pipe": {"path": "/a"}}, enable_mptcp=True), "can only be used with IP addresses"),
        (changed(listener_filters=[{"name": "envoy.filters.listener.tls_inspector"}]), "listener_filters"),
        (changed(address={"envoy_internal_address": {"server_listener_name": "x"}}), "address"),
    ],
)
def test_what_is_refused(listener, said):
    _, findings = compiled(listener)
    assert said in findings
    assert "static_resources.listeners[0]" in findings


def test_a_name_twice():
    _, findings = compiled(listening(10000), listening(10001))
    assert "static_resources.listeners[1].name" in findings


def test_an_address_that_is_taken_says_which():
    parts, _ = compiled(listening(0))
    listener = parts.listeners.listeners[0]
    listener.reuse_port = False
    listener.bind()
    again, _ = compiled(listening(listener.bound[0][1]))
    again.listeners.listeners[0].reuse_port = False
    listener.sockets[0].listen(1)
    try:
        with pytest.raises(OSError, match=rf"cannot bind 127\.0\.0\.1:{listener.bound[0][1]}"):
            again.listeners.bind(again.context)
        assert again.context.stats.counter("listener_manager.listener_create_failure").value == 1
    finally:
        listener.stop_accepting()
        again.listeners.close()


def test_two_listeners_of_one_address_are_refused_as_by_envoy():
    second = listening(name="second")
    _, findings = compiled(listening(), second)
    assert 'listeners[1].address: is the address of listener "front" as well' in findings
    _, findings = compiled(listening(0), listening(0, name="second"))
    assert findings == "", "port 0 is another port each time"
    nameless = listening()
    del nameless["name"]
    _, findings = compiled(nameless, nameless)
    assert 'listeners[1].address: is the address of listener "127.0.0.1:10000" as well' in findings


@pytest.mark.parametrize("match", [{}, {"destination_port": 1}])
def test_a_default_chain_is_not_asked_whether_it_matches(match: dict[str, Any]):
    listener = listening()
    listener["default_filter_chain"] = {**listener["filter_chains"][0], "filter_chain_match": match}
    parts, findings = compiled(listener)
    assert findings == ""
    assert parts.listeners.listeners[0].chains.default is not None


def test_a_filter_chain_without_filters_is_taken_as_by_envoy():
    listener = listening()
    listener["filter_chains"] = [{}]
    _, findings = compiled(listener)
    assert findings == ""
