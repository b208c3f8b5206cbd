"""typed_per_filter_config beside the real Envoy: which filters run where, and which configurations are refused.

The filters that run are Envoy's header_mutation there and a Python class here; both leave their name on the response.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from proxy.api.load import load_bootstrap
from proxy.base.clock import Clock
from proxy.network.dispatcher import Dispatcher
from proxy.server.bootstrap import compile_bootstrap
from proxy.server.options import Options
from proxy.stats.store import Store
from tests.support.client import get
from tests.support.config import TYPES, Config, bootstrap, cluster, http_listener, virtual_host
from tests.support.corridor import SilentResolver
from tests.support.envoy import ENVOY_MISSING, Envoy, envoy_binary
from tests.support.outrider import Outrider
from tests.support.ports import free_port

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

ANY = "type.googleapis.com/"
ROUTER = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
STAMP = """
class Stamp:
    def __init__(self, config):
        self.name = config["name"].encode()

    def encode_headers(self, stream):
        stream.response_headers.add(b"x-" + self.name, b"1")
"""


def wrapped(**fields: Any) -> Config:
    return {"@type": f"{ANY}envoy.config.route.v3.FilterConfig", **fields}


ON, OFF = wrapped(config={}), wrapped(disabled=True)
UNKNOWN = {"@type": f"{ANY}google.protobuf.Empty"}


def envoy_stamp(name: str) -> Config:
    header = {"append": {"header": {"key": f"x-{name}", "value": "1"}}}
    kind = f"{TYPES}.filters.http.header_mutation.v3.HeaderMutation"
    return {"@type": kind, "mutations": {"response_mutations": [header]}}


def own_stamp(name: str, file: Path) -> Config:
    kind = f"{ANY}outrider.filters.http.python.v1.Python"
    return {"@type": kind, "file": str(file), "class": "Stamp", "config": {"name": name}}


def direct(path: str, **entries: Config) -> Config:
    reply = {"status": 200, "body": {"inline_string": "ok"}}
    return {"match": {"path": path}, "direct_response": reply, "typed_per_filter_config": entries}


def split(path: str, cluster_entries: Config, **entries: Config) -> Config:
    one = {"name": "nobody", "weight": 1, "typed_per_filter_config": cluster_entries}
    return {
        "match": {"path": path},
        "route": {"weighted_clusters": {"clusters": [one]}},
        "typed_per_filter_config": entries,
    }


ROUTES = [
    direct("/plain"),
    direct("/on-b", b=ON),
    direct("/off-a", a=OFF),
    direct("/off-c", c=OFF),
    direct("/optional-b", b=wrapped(is_optional=True, config=UNKNOWN)),
    direct("/elsewhere", nobody=OFF),
    split("/weighted-on", {"a": ON}, a=OFF),
    split("/weighted-b", {"b": ON}, a=OFF),
    split("/weighted-nothing", {}, a=OFF),
]
PATHS = [*(route["match"]["path"] for route in ROUTES), "/none"]


def config(port: int, filters: dict[str, Config]) -> Config:
    chain = [
        *({"name": name, "disabled": name == "b", "typed_config": each} for name, each in filters.items()),
        ROUTER,
    ]
    host = virtual_host(ROUTES, typed_per_filter_config={"c": ON, "a": ON})
    table = {"name": "r", "virtual_hosts": [host], "typed_per_filter_config": {"c": OFF, "a": OFF}}
    listener = http_listener(port, [], hcm={"http_filters": chain, "route_config": table})
    return bootstrap(free_port(), [listener], [cluster("nobody", free_port())])


def seen(port: int) -> dict[str, tuple[int, list[str]]]:
    answers = {path: get(port, path) for path in PATHS}
    return {
        path: (each.status, [name for name, _ in each.headers if name in ("x-a", "x-b", "x-c")])
        for path, each in answers.items()
    }


def test_the_same_filters_run(tmp_path: Path) -> None:
    file = tmp_path / "stamp.py"
    file.write_text(STAMP)
    port = free_port()
    with Envoy(config(port, {name: envoy_stamp(name) for name in "abc"})):
        expected = seen(port)
    port = free_port()
    with Outrider(config(port, {name: own_stamp(name, file) for name in "abc"})):
        assert seen(port) == expected
    assert expected["/plain"] == (200, ["x-c", "x-a"]) and expected["/weighted-b"] == (503, ["x-c", "x-b"])


@pytest.mark.parametrize(
    "entry",
    [
        OFF,
        ON,
        wrapped(),
        wrapped(is_optional=True),
        wrapped(disabled=True, config=UNKNOWN),
        wrapped(config=UNKNOWN),
        wrapped(is_optional=True, config=UNKNOWN),
        wrapped(config=wrapped(config={})),
        UNKNOWN,
        {"@type": ROUTER["typed_config"]["@type"]},
        wrapped(is_optional=True, config=ROUTER["typed_config"]),
        {"@type": f"{ANY}xds.type.v3.TypedStruct", "type_url": f"{ANY}acme.X", "value": {}},
        {"@type": f"{ANY}acme.X"},
        {"a": 1},
    ],
    ids=lambda entry: json.dumps(entry).replace(ANY, "")[:80],
)
@pytest.mark.parametrize("level", ["route", "host", "table", "weighted"])
def test_the_same_configurations_are_refused(entry: Config, level: str, tmp_path: Path) -> None:
    entries = {"typed_per_filter_config": {"somebody": entry}}
    target: Config = {"clusters": [{"name": "c", "weight": 1, **(entries if level == "weighted" else {})}]}
    route = {"match": {"prefix": "/"}, "route": {"weighted_clusters": target}}
    host = virtual_host(
        [{**route, **(entries if level == "route" else {})}], **(entries if level == "host" else {})
    )
    table = {"name": "r", "virtual_hosts": [host], **(entries if level == "table" else {})}
    listener = http_listener(0, [], hcm={"http_filters": [ROUTER], "route_config": table})
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(0, [listener], [cluster("c", 9)])))
    envoy = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "-c", str(file)], capture_output=True, timeout=30
    )
    assert (envoy.returncode != 0) == refuses(file)


def refuses(file: Path) -> bool:
    store, loaded = Store(), load_bootstrap(str(file))
    dispatcher = Dispatcher(None, Clock(), store.counter("bugs"))  # type: ignore[arg-type]  # nothing runs
    compile_bootstrap(loaded, Options(), dispatcher, store, {}, SilentResolver())
    return bool(loaded.errors)
