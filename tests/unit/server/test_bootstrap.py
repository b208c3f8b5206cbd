"""A bootstrap made runnable: node, admin, the extension table, what is left unread."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, cast

import pytest

from proxy.api.load import BOOTSTRAP, load_text
from proxy.base.clock import Clock
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import Parts, compile_bootstrap, installed_lines, own_address
from proxy.server.options import Options
from proxy.stats.store import Store
from tests.support.corridor import SilentResolver
from tests.support.memory_loop import MemoryLoop


def compiled(config: dict[str, Any], options: Options | None = None) -> Parts:
    loaded = load_text(BOOTSTRAP, json.dumps(config), "f", is_json=True)
    store = Store()
    dispatcher = Dispatcher(cast(Any, MemoryLoop()), Clock(), store.counter("bugs"))
    return compile_bootstrap(loaded, options or Options(), dispatcher, store, {}, SilentResolver())


def test_an_empty_one_runs():
    parts = compiled({})
    assert not parts.errors.findings
    assert (parts.admin, parts.listeners.listeners, parts.flush_interval_s) == (None, [], 5.0)


def test_the_command_line_overrides_the_node():
    options = Options(service_cluster="cli", service_node="cli-node", service_zone="cli-zone")
    node = compiled({"node": {"id": "n", "metadata": {"a": {"b": [1]}}}}, options).node
    assert (node.id, node.cluster, node.zone) == ("cli-node", "cli", "cli-zone")
    assert node.metadata == {"a": {"b": [1]}}


def test_admin():
    parts = compiled({"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}}})
    assert parts.admin is not None
    assert (parts.admin.ip, parts.admin.port) == ("127.0.0.1", 9901)


def test_admin_allows_what_is_named():
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 9901}}
    paths = [{"exact": "/ready"}, {"prefix": "/stats"}]
    admin = compiled({"admin": {"address": address, "allow_paths": paths}}).admin
    assert admin is not None and admin.allow_path is not None
    assert [path for path in ("/ready", "/stats/x", "/clusters", "/ready2") if admin.allow_path(path)] == [
        "/ready",
        "/stats/x",
    ]


HYSTRIX = {"@type": "type.googleapis.com/envoy.config.metrics.v3.HystrixSink"}


@pytest.mark.parametrize(
    "config, path",
    [
        (
            {"node": {"id": "n", "cluster": "c"}, "dynamic_resources": {"cds_config": {"ads": {}}}},
            "dynamic_resources.cds_config.ads",
        ),
        ({"stats_sinks": [{"name": "h", "typed_config": HYSTRIX}]}, "stats_sinks[0].typed_config"),
    ],
)
def test_what_nobody_reads_is_refused(config, path):
    findings = compiled(config).errors.findings
    assert [each.kind for each in findings] == ["unsupported"]
    assert findings[0].path.startswith(path)


def test_flush_interval():
    assert compiled({"stats_flush_interval": "0.5s"}).flush_interval_s == 0.5


def test_own_address_is_one():
    from ipaddress import ip_address

    assert ip_address(own_address()).version == 4
    assert ip_address(own_address("v6")).version == 6


@pytest.mark.parametrize("group", ["filters", "tracers", "load_balancers", "access_loggers"])
def test_packages_may_add_extensions(monkeypatch, group):
    added = EntryPoint("acme.greeting acme.filters.Greeting", "acme_filters:Greeting", f"outrider.{group}")
    other = EntryPoint("acme", "acme:main", "console_scripts")
    installed = EntryPoints([added, other])
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: installed.select(**wanted))
    lines = installed_lines()
    assert lines == [("acme.greeting", "acme.filters.Greeting", "acme_filters:Greeting")]
