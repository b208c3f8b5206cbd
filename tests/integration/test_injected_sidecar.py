"""What is injected runs: the sidecar's command line, environment and downward-API files of each golden give a bootstrap that is
good, with the application's probes in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli import sidecar
from proxy.inject.containers import PODINFO, PROBERS
from proxy.inject.decide import CONTAINER
from proxy.inject.workload import objects, workload_of
from proxy.server.options import Options
from proxy.server.validate import validate
from tests.inject.goldens import FOLDER

GOLDENS = sorted((FOLDER / "goldens").glob("*/*.yaml"))


def injected(path: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(pod, sidecar) of each workload with one."""
    found = []
    for document in yaml.safe_load_all(path.read_text()):
        for each in objects(document):
            workload = workload_of(each)
            if workload is None or workload.pod is None:
                continue
            spec = workload.pod["spec"]
            for one in [*spec.get("initContainers", []), *spec["containers"]]:
                if one["name"] == CONTAINER and one.get("args", [""])[0] == "sidecar":
                    found.append((dict(workload.pod), one))
    return found


def write_podinfo(folder: Path, pod: dict[str, Any]) -> None:
    """As the kubelet does: a line ``key="value"`` each, escaped like a Go string."""
    for field in ("labels", "annotations"):
        lines = [f"{key}={json.dumps(str(value))}" for key, value in pod["metadata"].get(field, {}).items()]
        (folder / field).write_text("\n".join(lines))


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_sidecar_starts_with_what_it_is_given(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for pod, container in injected(path):
        write_podinfo(tmp_path, pod)
        assert [one["mountPath"] for one in container["volumeMounts"] if one["name"] == PODINFO] == [
            sidecar.PODINFO
        ]
        variables = {one["name"]: one.get("value", f"some-{one['name'].lower()}") for one in container["env"]}
        assert "INSTANCE_IP" in variables
        variables["INSTANCE_IP"] = "10.9.0.7"
        with monkeypatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(name, value)
            own = container["args"][1:]
            general = own[own.index("--") :] if "--" in own else []
            own = own[: len(own) - len(general)]
            code = sidecar.main(["--podinfo", str(tmp_path), *own, "--print", *general])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        bootstrap = json.loads(shown.out)
        listeners = {one["name"] for one in bootstrap["static_resources"]["listeners"]}
        assert ("app_probes" in listeners) is (PROBERS in variables)
        assert bootstrap["node"]["cluster"] != "unknown"
        errors = validate(Options(config_yaml=shown.out)).errors
        assert not errors.findings, [str(one) for one in errors.findings]
