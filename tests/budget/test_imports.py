"""What may be imported when: start-up time and memory are spent on imports before anything else.

Each check runs in an interpreter of its own and looks at sys.modules.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import get
from tests.support.config import bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream

#: wanted by a setting, a command or an admin page, never by start or by plain traffic
NEVER_PLAIN = (
    *("opentelemetry", "prometheus_client", "rich", "click", "aiodns", "pycares", "re2", "h2", "aiohttp"),
    *("requests", "urllib3", "proxy.demo", "proxy.ext.tracers.zipkin", "proxy.tracing.reporter"),
    "proxy.ext.filters.http.python",
    *("proxy.server.handover", "proxy.server.supervisor"),
    *("argparse", "gettext"),
    *("orjson", "uuid", "email", "html", "ctypes", "shutil", "google.protobuf.json_format"),
    # protobuf's implementation in pure Python, which most of its public modules import
    *("google.protobuf.descriptor_pb2", "google.protobuf.descriptor_pool", "google.protobuf.message_factory"),
    "google.protobuf.internal.python_message",
    *("hashlib", "encodings.idna"),  # for TLS, for names that are not ASCII
    # for what a control plane or a file says while we run
    *("proxy.xds.control_plane", "proxy.xds.grpc", "proxy.xds.sotw", "proxy.xds.delta", "proxy.xds.file"),
    *("proxy.xds.cds", "proxy.xds.lds", "proxy.http.grpc_service"),
    *("difflib", "proxy.api.json_scan", "proxy.api.near_types", "proxy.explain"),  # for those who err
)
#: what serving imports once it is ready, because somebody may ask for it
ONCE_READY = (
    *("ngh2", "dataclasses"),
    "h11",
    "proxy.admin.messages",
    "proxy.admin.pages",
    "proxy.network.downstream_http2",
    "proxy.network.upstream_http2",
)
#: as much as four of ours; an editable install has them from the first
PATHS = ("pathlib", "fnmatch", "urllib.parse")
#: making one costs the start as much as importing three modules: plain classes, and named tuples, are made instead
DATACLASSES_AT_START = 0
#: the front door alone must not even bring the machinery
NEVER_AT_THE_DOOR = (
    *NEVER_PLAIN,
    *("uvloop", "httptools", "google.protobuf", "yaml", "orjson", "h11", "asyncio", "ssl", "proxy.server"),
)


def listed(root: Path, code: str, what: str = "sys.modules") -> set[str]:
    """The names of what there is after running some code in a fresh interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted({what})))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=30, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


#: of a process that serves
SERVING = (
    "proxy.server.main",
    "proxy.server.drain",
    "uvloop",
)


def among(modules: set[str], names: tuple[str, ...]) -> list[str]:
    return sorted(
        name for name in names if any(each == name or each.startswith(name + ".") for each in modules)
    )


def test_the_pytest_plugin_costs_a_run_that_does_not_use_it_nothing(root: Path) -> None:
    """pytest loads it wherever outrider is installed."""
    code = "import sys, pytest; before = set(sys.modules); import proxy.testing.plugin"
    ours = {"proxy", "proxy.built", "proxy.testing", "proxy.testing.plugin"}
    assert listed(root, code, "set(sys.modules) - before") <= ours


def test_the_front_door_imports_next_to_nothing(root: Path) -> None:
    modules = listed(root, "import proxy.__main__")
    assert among(modules, NEVER_AT_THE_DOOR) == []


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_serving_plain_traffic_imports_only_what_it_uses(root: Path, tmp_path: Path, suffix: str) -> None:
    """The process writes down its modules when it ends; until then it has served a request."""
    listing = tmp_path / "modules.json"
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\n"
        f"def write():\n    import json\n    open({str(listing)!r}, 'w').write(json.dumps(sorted(sys.modules)))\n"
        "atexit.register(write)\n"
    )
    port = free_port()
    with Upstream() as upstream:
        listener = http_listener(port, [virtual_host([route_to("up")])])
        config = bootstrap(free_port(), [listener], [cluster("up", upstream.port)])
        environment = {"PYTHONPATH": f"{tmp_path}:{root}"}
        with Outrider(config, folder=tmp_path, environment=environment, suffix=suffix) as proxy:
            assert get(port).status == 200
            assert proxy.stop() == 0
    modules = set(json.loads(listing.read_text()))
    assert among(modules, NEVER_PLAIN) == []
    if suffix == ".json":
        assert "yaml" not in modules


def test_being_ready_imports_only_what_it_takes(root: Path, tmp_path: Path) -> None:
    """As long as nobody asks the admin interface, which listens before."""
    config = bootstrap(0, [http_listener(0, [virtual_host([route_to("up")])])], [cluster("up", 9)])
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    serve = (
        f"import sys\nfor name in {PATHS!r}:\n    sys.modules.pop(name, None)\n"
        "import os, proxy.server.main, proxy.server.server\n"
        "def ready(parts):\n    import json, sys\n    print(json.dumps(sorted(sys.modules)), flush=True)\n    os._exit(0)\n"
        "proxy.server.server.import_later = ready\n"
        f"from proxy.cli.main import main\nmain(['run', '-c', {str(file)!r}])"
    )
    assert among(listed(root, serve), (*NEVER_PLAIN, *ONCE_READY, *PATHS)) == []


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_validating_imports_only_what_compiling_needs(root: Path, tmp_path: Path, suffix: str) -> None:
    """Which is also what happens before a server is ready."""
    config = bootstrap(9901, [http_listener(10000, [virtual_host([route_to("up")])])], [cluster("up", 9)])
    file = tmp_path / f"config{suffix}"
    file.write_text(json.dumps(config))
    validate = f"from proxy.cli.main import main\nassert main(['validate', '-c', {str(file)!r}]) == 0\n"
    modules = listed(root, validate)
    assert among(modules, (*NEVER_PLAIN, *ONCE_READY, *SERVING)) == []
    classes = (
        "f'{name}.{key}' for name, module in list(sys.modules.items()) if name.startswith('proxy.')"
        " for key, one in vars(module).items()"
        " if isinstance(one, type) and one.__module__ == name and '__dataclass_params__' in vars(one)"
    )
    dataclasses = listed(root, validate, classes)
    assert len(dataclasses) <= DATACLASSES_AT_START, dataclasses
