"""From files and texts to messages: formats, merging, bounds, findings; other projects' bootstraps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from proxy.api import load as load_module
from proxy.api.errors import MAX_FINDINGS
from proxy.api.load import BOOTSTRAP, load, load_bootstrap, load_text
from proxy.base.errors import ConfigRefused

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "fixtures"
CLUSTERS = {"static_resources": {"clusters": [{"name": "a", "connect_timeout": "1s"}]}}
YAML = "static_resources:\n  clusters:\n  - name: a\n    connect_timeout: 1s\n"
# Extensions of Envoy's contrib build: not in the stock Envoy 1.40 either.
CONTRIB = {"golang-http", "golang-network", "kafka", "mysql", "postgres"}


def write(folder: Path, name: str, data: str | bytes) -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def names(message: Any) -> list[str]:
    return [cluster.name for cluster in message.static_resources.clusters]


def test_every_format(tmp_path: Path) -> None:
    message = load_text(BOOTSTRAP, YAML).message
    files = {
        "a.yaml": YAML,
        "a.YML": YAML,
        "a.json": json.dumps(CLUSTERS),
        "a.pb": message.SerializeToString(),
        "a.pb_text": text_format.MessageToString(message),
        "a.conf": json.dumps(CLUSTERS),
        "b.conf": YAML,
        "json.yaml": json.dumps(CLUSTERS),
    }
    for name, data in files.items():
        loaded = load_bootstrap(write(tmp_path, name, data))
        loaded.errors.raise_if_any()
        assert loaded.message == message, name


def test_an_overlay_is_merged_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", json.dumps({**CLUSTERS, "node": {"id": "file", "cluster": "kept"}}))
    loaded = load_bootstrap(path, "node: {id: line}\nstatic_resources: {clusters: [{name: b}, {nam: c}]}")
    message: Any = loaded.message
    assert (message.node.id, message.node.cluster) == ("line", "kept")
    assert names(message) == ["a", "b", ""]
    places = {(finding.file, finding.line, finding.path) for finding in loaded.errors.findings}
    assert ("--config-yaml", 2, "static_resources.clusters[1].nam") in places
    assert ("--config-yaml", 2, "static_resources.clusters[2].name") in places


def test_an_overlay_alone_is_enough() -> None:
    loaded = load_bootstrap(None, YAML)
    loaded.errors.raise_if_any()
    assert names(loaded.message) == ["a"]


def test_all_findings_at_once_in_the_order_of_the_text(tmp_path: Path) -> None:
    text = YAML + "    lb_polcy: RANDOM\n  - name: ''\n    connect_timeout: 1\n"
    path = write(tmp_path, "a.yaml", text)
    findings = load_bootstrap(path).errors.findings
    at = "static_resources.clusters"
    assert [str(finding) for finding in findings] == [
        f'{path}:5:5: {at}[0].lb_polcy: is no field of envoy.config.cluster.v3.Cluster (did you mean "lb_policy"?)',
        f"{path}:6:5: {at}[1].name: must not be empty",
        f'{path}:7:5: {at}[1].connect_timeout: expects a duration in seconds such as "1.5s", not 1',
    ]


def test_what_follows_from_an_unread_value_is_not_told() -> None:
    text = "socket_address: {address: a, port_value: x}"
    findings = load_text("envoy.config.core.v3.Address", text).errors.findings
    assert [finding.path for finding in findings] == ["socket_address.port_value"]


def test_json_findings_have_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", '{\n "static_resources": {\n  "clusters": [{"nam": "a"}]}}')
    places = {
        (finding.line, finding.column, finding.path) for finding in load_bootstrap(path).errors.findings
    }
    assert places == {(3, 17, "static_resources.clusters[0].nam")}, "that name is missing only follows"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.yaml", b"a: \xff", "is not UTF-8"),
        ("a.yaml", b"", "is empty"),
        ("a.json", b"", "ends too early"),
        ("a.yaml", b"a: [", "is no valid YAML"),
        ("a.pb", b"\xff\xff", "wire format"),
        ("a.pb_text", b"static_resources {", "text format"),
        ("a.yaml", b"- a", "expects an object"),
        ("a.yaml", b"just text", "expects an object"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    path = write(tmp_path, name, data)
    [finding] = load_bootstrap(path).errors.findings
    assert finding.file == path
    assert said in finding.message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (str(tmp_path / "none.yaml"), str(tmp_path)):
        [finding] = load_bootstrap(path).errors.findings
        assert finding.message.startswith("cannot be read: ")


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "MAX_BYTES", 100)
    [finding] = load_bootstrap(write(tmp_path, "a.yaml", "# " + "x" * 100)).errors.findings
    assert finding.message.startswith("is larger than")
    [finding] = load_bootstrap(None, "# " + "x" * 100).errors.findings
    assert finding.file == "--config-yaml"


def test_deep_nesting_never_raises(tmp_path: Path) -> None:
    for depth in (60, 97, 98, 5000):
        text = '{"node": {"metadata": {"a": ' + "[" * depth + "]" * depth + "}}}"
        for name in ("a.json", "a.yaml"):
            loaded = load_bootstrap(write(tmp_path, name, text))
            assert bool(loaded.errors) == (depth > 97), (depth, name)
    [finding] = load_bootstrap(
        write(tmp_path, "a.yaml", YAML), text.replace("[" * 4910, "").replace("]" * 4910, "")
    ).errors.findings
    assert finding.message == "is nested too deep to be merged"


def test_unknown_fields_may_be_allowed() -> None:
    loaded = load_text(BOOTSTRAP, YAML + "foo: 1\n", allow_unknown_fields=True)
    loaded.errors.raise_if_any()
    assert [warning.path for warning in loaded.errors.warnings] == ["foo"]
    with pytest.raises(ConfigRefused):
        load_text(BOOTSTRAP, YAML + "foo: 1\n").errors.raise_if_any()


def test_any_message_can_be_loaded(tmp_path: Path) -> None:
    loaded = load("envoy.config.core.v3.Node", write(tmp_path, "n.yaml", "id: a"))
    assert loaded.reader().text("id") == "a"


def test_a_file_full_of_mistakes_is_refused_in_time() -> None:
    clusters = [{f"unknown_{index}": index, "connect_timeout": "x"} for index in range(20_000)]
    start = time.process_time()
    loaded = load_text(BOOTSTRAP, json.dumps({"static_resources": {"clusters": clusters}}), is_json=True)
    assert len(loaded.errors.findings) == MAX_FINDINGS
    assert time.process_time() - start < 10


def fixtures() -> list[Path]:
    found = [*SHARED.glob("envoy-examples/**/*.yaml"), *SHARED.glob("istio/bootstrap/*.json")]
    return sorted(found)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/fixtures (other projects' files)")
def test_real_bootstraps_are_all_read() -> None:
    files = fixtures()
    assert len(files) > 30
    for path in files:
        findings = load_bootstrap(str(path)).errors.findings
        if path.parent.name in CONTRIB:
            assert all(
                "names a type that Envoy 1.40 without contrib extensions does not have" in each.message
                for each in findings
            )
        else:
            assert findings == [], path


def big_bootstrap(count: int) -> dict[str, Any]:
    """Clusters as a mesh writes them."""

    def cluster(name: str) -> dict[str, Any]:
        address = {"socket_address": {"address": name, "port_value": 8080}}
        return {
            "name": name,
            "type": "STRICT_DNS",
            "connect_timeout": "0.25s",
            "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [{"max_connections": 100, "max_requests": 1000}]},
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }

    return {"static_resources": {"clusters": [cluster(f"cluster-{index}") for index in range(count)]}}


def test_a_large_bootstrap_is_read_in_time(tmp_path: Path) -> None:
    """0.09 s as JSON and 0.25 s as YAML where this was written; the bounds leave room for a busy machine."""
    import yaml

    content = big_bootstrap(2000)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    for name, text, bound_s in (
        ("a.json", json.dumps(content), 0.4),
        ("a.yaml", yaml.dump(content, Dumper=dumper), 1.2),
    ):
        path = write(tmp_path, name, text)
        taken = []
        for _ in range(3):
            start = time.process_time()
            loaded = load_bootstrap(path)
            taken.append(time.process_time() - start)
            loaded.errors.raise_if_any()
        assert min(taken) < bound_s, name


def test_imports_stay_light() -> None:
    """JSON needs no YAML, and nothing here needs an event loop, a socket or a terminal."""
    code = "import sys, proxy.api.load; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"yaml", "asyncio", "socket", "ssl", "rich", "click", "re2", "orjson"}
