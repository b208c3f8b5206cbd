"""``outrider validate``: what it prints and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from proxy.cli.main import main

GOOD = "static_resources: {clusters: [{name: a, connect_timeout: 1s}]}\n"
BAD = """\
admin: {profile_path: /x}
layered_runtime: {layers: [{name: a, static_layer: {}}]}
static_resources:
  clusters:
  - nmae: a
    connect_timeout: 1s
default_socket_interface: x
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["validate", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_json_holds_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(BAD)
    code, out, err = run(capsys, "-c", str(path), "--format", "json")
    assert (code, err) == (1, "")
    said = json.loads(out)
    assert (said["configuration"], said["accepted"]) == (str(path), False)
    keys = {"kind", "file", "line", "column", "path", "message"}
    assert all(set(one) == keys and one["file"] == str(path) and one["message"] for one in said["findings"])
    places = {(one["kind"], one["line"], one["column"], one["path"]) for one in said["findings"]}
    assert {
        ("error", 5, 5, "static_resources.clusters[0].nmae"),
        ("unsupported", 7, 1, "default_socket_interface"),
        ("warning", 1, 9, "admin.profile_path"),
    } <= places


def test_json_of_a_good_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    code, out, err = run(capsys, str(path), "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"configuration": str(path), "accepted": True, "findings": []}


def test_sarif_holds_what_json_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text(BAD)
    _, plain, _ = run(capsys, str(path), "--format", "json")
    code, out, err = run(capsys, str(path), "--format", "sarif")
    assert (code, err) == (1, "")
    told = json.loads(out)
    assert told["version"] == "2.1.0"
    (one,) = told["runs"]
    rules = {rule["id"] for rule in one["tool"]["driver"]["rules"]}
    assert rules == {"error", "unsupported", "warning"}
    assert len(one["results"]) == len(json.loads(plain)["findings"]) >= 3
    for result, finding in zip(one["results"], json.loads(plain)["findings"], strict=True):
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == str(path).replace(" ", "%20")
        assert place["region"] == {"startLine": finding["line"], "startColumn": finding["column"]}
        assert result["ruleId"] == finding["kind"]
        assert result["level"] == ("warning" if finding["kind"] == "warning" else "error")
        assert result["message"]["text"] == f"{finding['path']}: {finding['message']}"


def test_sarif_of_a_good_one_and_of_a_file_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    code, out, _ = run(capsys, str(path), "--format", "sarif")
    (result,) = json.loads(out)["runs"][0]["results"]
    assert code == 1
    assert "region" not in result["locations"][0]["physicalLocation"]
    path.write_text(GOOD)
    code, out, _ = run(capsys, str(path), "--format", "sarif")
    assert (code, json.loads(out)["runs"][0]["results"]) == (0, [])


def test_a_node_may_be_named_beside_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("dynamic_resources: {lds_config: {path_config_source: {path: /dev/null}}}\n")
    code, _, err = run(capsys, str(path))
    assert code == 1
    assert "give --service-node and --service-cluster" in err
    code, _, err = run(
        capsys, str(path), "--service-node", "n", "--service-cluster", "c", "--service-zone", "z"
    )
    assert (code, err) == (0, "")


def test_json_without_a_file_or_a_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--config-yaml", "nod: {}", "--format", "json")
    assert code == 1
    assert json.loads(out)["findings"][0]["file"] == "--config-yaml"
    missing = str(tmp_path / "none.yaml")
    code, out, _ = run(capsys, "-c", missing, "--format", "json")
    assert code == 1
    [finding] = json.loads(out)["findings"]
    assert (finding["file"], finding["line"], finding["column"], finding["path"]) == (missing, None, None, "")


@pytest.mark.parametrize(
    "arguments", [[], ["-c"], ["--format", "xml", "-c", "x"], ["--nope"], ["-c", "a.yaml", "b.yaml"]]
)
def test_a_bad_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(capsys, *arguments)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err


def test_variables_are_replaced_on_request_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "OUTRIDER_TEST_TIMEOUT", "2s")
    path = tmp_path / "a.yaml"
    path.write_text(GOOD.replace("1s", "'${OUTRIDER_TEST_TIMEOUT}'"))
    assert run(capsys, "-c", str(path))[0] == 1
    assert run(capsys, "-c", str(path), "--expand-env")[0] == 0
    assert main(["run", "--mode", "validate", "-c", str(path), "--expand-env"]) == 0
    monkeypatch.delitem(os.environ, "OUTRIDER_TEST_TIMEOUT")
    code, _, err = run(capsys, "-c", str(path), "--expand-env")
    assert code == 1
    assert (
        f"{path}:1:41: error: static_resources.clusters[0].connect_timeout: refers to the environment" in err
    )
