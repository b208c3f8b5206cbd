"""The runtime of a running proxy: a directory is swapped, an operator overrides, requests see it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.client import get
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.ports import free_port
from tests.support.quiet import assert_quiet


def write(folder: Path, **values: str) -> None:
    (folder / "values").mkdir(parents=True)
    for name, text in values.items():
        (folder / "values" / name).write_text(text)


def swap(link: Path, target: str) -> None:
    """What people do: a new link, renamed over the old one."""
    new = link.with_name("new")
    new.symlink_to(target)
    new.rename(link)


def config(port: int, upstream: int, link: Path) -> dict[str, object]:
    fraction = {"default_value": {"numerator": 0}, "runtime_key": "share"}
    routes = [
        {"match": {"prefix": "/", "runtime_fraction": fraction}, "direct_response": {"status": 201}},
        route_to("up"),
    ]
    layers = [
        {"name": "base", "static_layer": {"share": 100}},
        {"name": "disk", "disk_layer": {"symlink_root": str(link), "subdirectory": "values"}},
        {"name": "operator", "admin_layer": {}},
    ]
    return bootstrap(
        free_port(),
        [http_listener(port, [virtual_host(routes)])],
        [cluster("up", upstream)],
        layered_runtime={"layers": layers},
    )


def test_a_swapped_directory_and_an_override(start_outrider, port, upstream, tmp_path):
    write(tmp_path / "v1", share="{numerator: 0}")
    write(tmp_path / "v2", share="# all of it\n100\n", other="x")
    write(tmp_path / "broken", share="{")
    link = tmp_path / "current"
    link.symlink_to("v1")
    proxy = start_outrider(config(port, upstream.port, link))
    assert get(port).status == 200

    swap(link, "v2")
    proxy.wait_for_stat("runtime.load_success", 3)
    assert get(port).status == 201
    assert proxy.stats()["runtime.num_keys"] == 2

    swap(link, "broken")
    proxy.wait_for_stat("runtime.load_error", 1)
    assert get(port).status == 201, "the static layer's"
    assert proxy.stats()["runtime.num_layers"] == 2
    assert "layer disk is left out: share: " in proxy.output()

    assert proxy.admin("/runtime_modify?share=0", "POST") == (200, "OK\n")
    assert get(port).status == 200
    printed = json.loads(proxy.admin("/runtime")[1])
    assert printed["layers"] == ["base", "operator"]
    assert printed["entries"]["share"] == {"final_value": "0", "layer_values": ["100", "0"]}

    swap(link, "v2")
    proxy.wait_for_stat("runtime.load_success", 4)
    assert get(port).status == 200, "the operator's goes before the disk's"
    assert proxy.admin("/runtime_modify?share=", "POST")[0] == 200
    assert get(port).status == 201
    assert_quiet(proxy)


def test_a_link_that_comes_later(start_outrider, port, upstream, tmp_path):
    link = tmp_path / "current"
    proxy = start_outrider(config(port, upstream.port, link))
    assert get(port).status == 201
    write(tmp_path / "v1", share="0")
    swap(link, "v1")
    proxy.wait_for_stat("runtime.num_layers", 3)
    assert get(port).status == 200
    assert_quiet(proxy)
