"""The runtime of the real Envoy and of outrider, side by side: what is printed, what is taken, what requests see of it.

Both run on the same bootstrap; after every change of the runtime both must answer the same requests alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client, get
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

STATIC: Config = {
    "int": 100,
    "zero": 0,
    "negative": -3,
    "float": "100.5",
    "small": "1.0e-7",
    "million": 1_000_000,
    "many": 123_456_789,
    "true": True,
    "text": "hello",
    "number_text": "100",
    "TRUE": "TRUE",
    "fraction": {"numerator": 100},
    "fraction_text": "{numerator: 100}",
    "tiny": {"numerator": 0, "denominator": "MILLION"},
    "all": {"numerator": 1_000_000, "denominator": "MILLION"},
    "bad_fraction": {"numerator": 100, "denominator": "FOO"},
    "foreign": {"numerator": 100, "more": 1},
    "none": {},
    "printed": {"numerator": "é\n", "more": {"a": [1, "b", None, {}], "c": False, "d": 1e20}},
    "empty": "",
    "nest": {"a": {"b": 100, "c": "x"}, "d": True},
}
KEYS = ["k", "nest.a.b", *(key for key in STATIC if key != "nest")]
OVERRIDES = [
    *(
        "100",
        "100.9",
        "0",
        "-1",
        "abc",
        "true",
        "101",
        "1e2",
        "[1]",
        '"100"',
        "nan",
        "inf",
        "9" * 23,
        "0x64",
        " 100 ",
    ),
    *(
        "null",
        "~",
        "1_00",
        "0144",
        "+100",
        "100%",
        "=5",
        "0.5",
        "100\n",
        "1e400",
        "&x",
        "!!int x",
        "---",
        "a\n---\nb",
    ),
    *(
        "{numerator: 100}",
        "{numerator: 200}",
        "{numerator: -5}",
        "{numerator: true}",
        "{numerator: 99999999999}",
    ),
    *(
        "{numerator: 1000000,denominator: MILLION}",
        "{numerator: 100,denominator: 0}",
        "{numerator: 100,foo: 0}",
    ),
    *('{"numerator":"100"}', "{denominator: MILLION}", "numerator: 100", "#100", "{a: 1}", "1 2", ""),
]
BROKEN = ["{", "[", "a: b: c", "}", "*x", "@x", "a\n b: c"]


def fractions(key: str, default: int) -> Config:
    return {
        "match": {
            "path": f"/{key}/{default}",
            "runtime_fraction": {"default_value": {"numerator": default}, "runtime_key": key},
        },
        "direct_response": {"status": 201},
    }


def config(upstream: Upstream) -> Config:
    weighted = {
        "runtime_key_prefix": "weights",
        "clusters": [{"name": "one", "weight": 1}, {"name": "two", "weight": 0}],
    }
    routes = [
        *(fractions(key, default) for key in KEYS for default in (0, 100)),
        fractions("sentinel", 0),
        {"match": {"prefix": "/weighted"}, "route": {"weighted_clusters": weighted}},
        route_to("up", "/retried", retry_policy={"retry_on": "5xx", "num_retries": 1}),
        route_to("up", "/up"),
        {"match": {"prefix": "/"}, "direct_response": {"status": 202}},
    ]
    layers = [{"name": "base", "static_layer": STATIC}, {"name": "admin", "admin_layer": {}}]
    clusters = [cluster(name, upstream.port) for name in ("up", "one", "two")]
    whole = bootstrap(
        free_port(),
        [http_listener(free_port(), [virtual_host(routes, include_attempt_count_in_response=True)])],
        clusters,
        layered_runtime={"layers": layers},
    )
    whole["admin"]["ignore_global_conn_limit"] = True  # else Envoy's limit shuts out who asks for its stats
    return whole


class Side:
    """One of the two proxies."""

    def __init__(self, proxy: ProxyProcess, port: int) -> None:
        self.proxy = proxy
        self.port = port
        self.turn = 0

    def modify(self, **values: str) -> tuple[int, str]:
        """Change the runtime, and wait until the worker has taken the change over."""
        self.turn = 100 - self.turn
        query = "&".join(
            f"{quote(key)}={quote(text)}" for key, text in {**values, "sentinel": str(self.turn)}.items()
        )
        answer = self.proxy.admin(f"/runtime_modify?{query}", "POST")
        if answer[0] == 200:
            wanted = 201 if self.turn else 202
            until(lambda: get(self.port, "/sentinel/0").status == wanted, "the runtime's change")
        else:
            self.turn = 100 - self.turn
        return answer

    def matches(self, *keys: str) -> dict[str, int]:
        paths = [f"/{key}/{default}" for key in keys for default in (0, 100)]
        return {path: get(self.port, path).status for path in paths}

    def runtime(self) -> Any:
        text = re.sub(r"goo\.gle/debug\w+ +", "goo.gle/debugstr ", self.proxy.admin("/runtime")[1])
        printed = json.loads(text)
        printed["entries"].pop("sentinel", None)
        return printed

    def stats(self, prefix: str) -> dict[str, int]:
        return {name: value for name, value in self.proxy.stats().items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    with Upstream() as upstream:
        upstream.script = lambda request: [reply(503 if request.path.startswith("/retried") else 200, b"up")]
        ours, envoys = config(upstream), config(upstream)
        with Envoy(envoys) as envoy, Outrider(ours) as outrider:
            yield Side(envoy, port_of(envoys)), Side(outrider, port_of(ours))


def port_of(config: Config) -> int:
    port: int = config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    return port


def both(sides: tuple[Side, Side], look: Any) -> Any:
    """What both see; they must see the same."""
    envoy, outrider = (look(side) for side in sides)
    assert outrider == envoy
    return envoy


def test_static_values(sides: tuple[Side, Side]) -> None:
    printed = both(sides, Side.runtime)
    assert printed["layers"] == ["base", "admin"]
    assert printed["entries"]["nest.a.b"] == {"final_value": "100", "layer_values": ["100", ""]}
    matches = both(sides, lambda side: side.matches(*KEYS))
    assert set(matches.values()) == {201, 202}


def test_overrides(sides: tuple[Side, Side]) -> None:
    for text in OVERRIDES:
        assert both(sides, lambda side, text=text: side.modify(k=text)) == (200, "OK\n"), text
        both(sides, Side.runtime)
        both(sides, lambda side: side.matches("k"))
    both(sides, lambda side: side.modify(int="0", text="5"))
    assert both(sides, Side.runtime)["entries"]["int"] == {"final_value": "0", "layer_values": ["100", "0"]}
    both(sides, lambda side: side.modify(int="", text=""))
    both(sides, lambda side: side.stats("runtime."))


@pytest.mark.parametrize("text", BROKEN)
def test_overrides_that_are_no_yaml(sides: tuple[Side, Side], text: str) -> None:
    assert both(sides, lambda side: side.modify(broken=text)[0]) == 503
    both(sides, Side.runtime)


def test_usage(sides: tuple[Side, Side]) -> None:
    for method, target in (("POST", "/runtime_modify"), ("GET", "/runtime_modify?a=b"), ("POST", "/runtime")):
        answer = both(sides, lambda side, m=method, t=target: (side.proxy.admin(t, m)[0], t))
        assert answer[0] in (400, 405, 200)
    assert both(sides, lambda side: side.proxy.admin("/runtime_modify", "POST"))[0] == 400


def test_weights(sides: tuple[Side, Side]) -> None:
    def served(side: Side) -> tuple[int, int, int]:
        before = side.stats("cluster.")
        status = get(side.port, "/weighted").status
        after = side.stats("cluster.")
        one, two = (
            after[f"cluster.{name}.upstream_rq_total"] - before[f"cluster.{name}.upstream_rq_total"]
            for name in ("one", "two")
        )
        return status, one, two

    assert both(sides, served) == (200, 1, 0)
    both(sides, lambda side: side.modify(**{"weights.one": "0", "weights.two": "7"}))
    assert both(sides, served) == (200, 0, 1)
    both(sides, lambda side: side.modify(**{"weights.two": "0"}))
    both(sides, served)  # no weight at all
    both(sides, lambda side: side.modify(**{"weights.one": "", "weights.two": ""}))


def test_maintenance(sides: tuple[Side, Side]) -> None:
    def ask(side: Side) -> tuple[int, bytes, str | None, int]:
        answer = get(side.port, "/up")
        count = side.stats("cluster.up.upstream_rq_maintenance_mode")
        return answer.status, answer.body, answer.one("x-envoy-overloaded"), sum(count.values())

    both(sides, ask)
    both(sides, lambda side: side.modify(**{"upstream.maintenance_mode.up": "100"}))
    assert both(sides, ask) == (503, b"maintenance mode", "true", 1)
    both(sides, lambda side: side.modify(**{"upstream.maintenance_mode.up": "{numerator: 100}"}))
    both(sides, ask)  # a fraction is no number here
    both(sides, lambda side: side.modify(**{"upstream.maintenance_mode.up": ""}))
    both(sides, ask)


def test_retries_can_be_turned_off(sides: tuple[Side, Side]) -> None:
    def tries(side: Side) -> str | None:
        return get(side.port, "/retried").one("x-envoy-attempt-count")

    assert both(sides, tries) == "2"
    both(sides, lambda side: side.modify(**{"upstream.use_retry": "0"}))
    assert both(sides, tries) == "1"
    both(sides, lambda side: side.modify(**{"upstream.use_retry": ""}))
    assert both(sides, tries) == "2"


def test_limits(sides: tuple[Side, Side]) -> None:
    def limits(side: Side) -> list[str]:
        lines = side.proxy.admin("/clusters")[1].splitlines()
        return [line for line in lines if re.match(r"up::(default|high)_priority::max", line)]

    def refused(side: Side) -> int:
        return get(side.port, "/up").status

    both(sides, limits)
    prefix = "circuit_breakers.up.default."
    both(
        sides,
        lambda side: side.modify(
            **{f"{prefix}max_requests": "0", "circuit_breakers.up.high.max_retries": "9"}
        ),
    )
    assert "up::default_priority::max_requests::0" in both(sides, limits)
    assert both(sides, refused) == 503
    both(
        sides,
        lambda side: side.modify(**{f"{prefix}max_requests": "", "circuit_breakers.up.high.max_retries": ""}),
    )
    assert both(sides, refused) == 200
    both(sides, limits)
    for key, most in (("min_retry_concurrency", 12), ("budget_percent", 3), ("", 3)):
        for each in ("min_retry_concurrency", "budget_percent"):
            value = "12" if each == key else ""
            both(
                sides,
                lambda side, each=each, value=value: side.modify(**{f"{prefix}retry_budget.{each}": value}),
            )
        assert f"up::default_priority::max_retries::{most}" in both(sides, limits)


@pytest.mark.parametrize(
    ("key", "counter"),
    [
        ("envoy.resource_limits.listener.front.connection_limit", "cx_overflow"),
        ("overload.global_downstream_max_connections", "global_cx_overflow"),
    ],
)
def test_connections_have_limits(sides: tuple[Side, Side], key: str, counter: str) -> None:
    def opened(side: Side) -> tuple[bool, int, int]:
        prefix = f"listener.127.0.0.1_{side.port}.downstream_"
        before = side.stats(prefix)
        with Client(side.port) as client:
            closed = client.is_closed(0.5)
            after = side.stats(prefix)
        return closed, *(after[prefix + name] - before[prefix + name] for name in (counter, "cx_total"))

    assert both(sides, opened) == (False, 0, 1)
    for side in sides:  # without waiting for the sentinel, whose connection would be refused
        assert side.proxy.admin(f"/runtime_modify?{key}=0", "POST")[0] == 200
        until(lambda side=side: opened(side)[0], "the limit")
    assert both(sides, opened) == (True, 1, 0)
    for side in sides:
        assert side.proxy.admin(f"/runtime_modify?{key}=", "POST")[0] == 200
        until(lambda side=side: not opened(side)[0], "the limit's end")


DISK_FILES = {
    "sub/a": "100",
    "sub/comment": "# only a comment\n",
    "sub/b": "# c\n7\n\n",
    "sub/nest/c": " 8 \n",
    "sub/nest/deep/d": "l1\nl2\n",
    "sub/empty": "",
    "sub/f": "{numerator: 5}",
    "sub/t": "true",
    "sub/.hidden": "x",
    "sub/dup": "x\n#y\nx\n",
    "sub/cr": "a\r\n",
    "sub/e": "7\n# c\n",
    "sub/g": "7\n\n8\n",
    "sub/front-proxy/in": "x",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def swap(link: Path, target: str) -> None:
    new = link.with_name("new")
    new.symlink_to(target)
    new.rename(link)


def disk_config(link: Path) -> Config:
    layer = {"symlink_root": str(link), "subdirectory": "sub"}
    layers = [
        {"name": "all", "disk_layer": layer},
        {"name": "own", "disk_layer": {**layer, "append_service_cluster": True}},
        {"name": "nowhere", "disk_layer": {"symlink_root": str(link.with_name("nowhere"))}},
    ]
    return bootstrap(free_port(), [], [], layered_runtime={"layers": layers})


def test_disk_layers(tmp_path: Path) -> None:
    write(tmp_path / "v1", DISK_FILES)
    (tmp_path / "v1/sub/link").symlink_to("a")
    (tmp_path / "v1/sub/folder").symlink_to("nest")
    write(tmp_path / "v2", {"sub/a": "6"})
    write(tmp_path / "v3", {"sub/a": "6", "sub/bad": "a: b: c"})
    write(tmp_path / "v4", {"sub/" + "x/" * 15 + "z": "1", "sub/front-proxy/in": "1"})
    write(tmp_path / "v5", {"sub/" + "x/" * 16 + "z": "1"})
    link = tmp_path / "now"
    link.symlink_to("v1")
    with Envoy(disk_config(link)) as envoy, Outrider(disk_config(link)) as outrider:
        sides = Side(envoy, 0), Side(outrider, 0)
        assert both(sides, Side.runtime)["layers"] == ["all", "own"]
        stats = both(sides, lambda side: side.stats("runtime."))
        loads = stats["runtime.load_success"] + stats["runtime.load_error"]
        for version in ("v2", "v3", "v4", "v5", "v1"):
            swap(link, version)
            loads += 2  # two layers watch it
            for side in sides:
                until(
                    lambda side=side, wanted=loads: loaded(side) == wanted,
                    f"{side.proxy.name} to read {version}",
                )
            both(sides, Side.runtime)
            both(sides, lambda side: side.stats("runtime."))


def loaded(side: Side) -> int:
    stats = side.stats("runtime.load")
    return stats["runtime.load_success"] + stats["runtime.load_error"]


@pytest.mark.parametrize(
    "runtime", [{}, {"layers": []}, {"layers": [{"name": "s", "static_layer": {"a": 1}}]}, None]
)
def test_layers_that_are_left_out(runtime: Config | None) -> None:
    more = {} if runtime is None else {"layered_runtime": runtime}
    with (
        Envoy(bootstrap(free_port(), [], [], **more)) as envoy,
        Outrider(bootstrap(free_port(), [], [], **more)) as ours,
    ):
        sides = Side(envoy, 0), Side(ours, 0)
        both(sides, Side.runtime)
        both(sides, lambda side: side.proxy.admin("/runtime_modify?a=5", "POST"))
        both(sides, Side.runtime)
        both(sides, lambda side: side.stats("runtime."))
