"""Everything in config/: manifests against Kubernetes' schemas, the chart, the compose files, the sample run for real.

Bootstraps: tests/integration/test_cli.py and tests/parity/test_config_files.py. Not tested, because nothing here can run
them: Helm itself (the chart is rendered by tests/support/helm.py), Docker, Grafana, cert-manager's own rules.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from proxy.cli.ready import main as ready
from proxy.cli.sidecar import main as sidecar
from proxy.cli.webhook import command as webhook_command
from tests.support.client import get
from tests.support.collector import Collector
from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.support.helm import BadTemplate, Renderer
from tests.support.ports import free_port

CONFIG = Path(__file__).resolve().parents[2] / "config"
KUBERNETES = CONFIG / "kubernetes"
CHART = KUBERNETES / "chart"
VERSION = "1.33"
FOREIGN = ("cert-manager.io/", "monitoring.coreos.com/", "kustomize.config.k8s.io/")


def documents(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


def validate(manifest: dict[str, Any]) -> None:
    """Against Kubernetes' schemas; of others' kinds only what all have."""
    if manifest["apiVersion"].startswith(FOREIGN):
        assert manifest["kind"] == "Kustomization" or manifest["metadata"]["name"]
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def every_manifest() -> list[Path]:
    return sorted(file for file in KUBERNETES.rglob("*.yaml") if CHART not in file.parents)


@pytest.mark.parametrize("path", every_manifest(), ids=lambda path: path.name)
def test_manifests(path: Path) -> None:
    found = documents(path)
    assert found
    for manifest in found:
        validate(manifest)


@pytest.mark.parametrize(
    "path", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda path: path.parent.name
)
def test_kustomizations_name_what_is_there(path: Path) -> None:
    (kustomization,) = documents(path)
    for resource in kustomization["resources"]:
        assert (path.parent / resource).exists(), resource
    named = [str(file.relative_to(path.parent)) for file in path.parent.glob("*.yaml") if file != path]
    assert set(named) <= set(kustomization["resources"]), "every file of the folder is applied"


def base() -> list[dict[str, Any]]:
    return [
        one
        for name in ("webhook", "configuration")
        for one in documents(KUBERNETES / "base" / f"{name}.yaml")
    ]


def of_kind(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == kind]
    return found


CHARTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "own certificates": {"certificates": {"certManager": False, "caBundle": "Zm9v", "secret": "mine"}},
    "everything": {
        "image": "registry.example.com/outrider:1",
        "imagePullPolicy": "Always",
        "optIn": True,
        "onError": "deny",
        "failurePolicy": "Fail",
        "podMonitor": True,
        "sidecar": {"zipkin": "http://zipkin.tracing:9411", "sampling": 5, "exclude-outbound-ports": "25,26"},
    },
}


@pytest.mark.parametrize("name", CHARTS)
def test_the_chart(name: str) -> None:
    manifests = Renderer(CHART, CHARTS[name], ("shop", "mesh"), "v1.31.2").objects()
    for manifest in manifests:
        validate(manifest)
        assert manifest["metadata"].get("namespace", "mesh") == "mesh"
    kinds = {one["kind"] for one in manifests}
    assert ("Certificate" in kinds) is (name != "own certificates")
    assert ("PodMonitor" in kinds) is (name == "everything")
    check_fits(manifests)
    hook = of_kind(manifests, "MutatingWebhookConfiguration")["webhooks"][0]
    assert hook["clientConfig"].get("caBundle") == ("Zm9v" if name == "own certificates" else None)


def test_the_base() -> None:
    check_fits(base())


def check_fits(manifests: list[dict[str, Any]]) -> None:
    """What refers to each other exists, and the container's arguments are the command's."""
    pod = of_kind(manifests, "Deployment")["spec"]["template"]
    service = of_kind(manifests, "Service")
    hook = of_kind(manifests, "MutatingWebhookConfiguration")["webhooks"][0]
    assert hook["clientConfig"]["service"]["name"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (container,) = pod["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports
    verb, *arguments = container["args"]
    params = webhook_command.make_context("webhook", list(arguments)).params
    assert verb == "webhook" and params["listen"].endswith(f":{ports['reviews']}")
    assert params["operations"].endswith(f":{ports['operations']}")
    assert Path(params["certificate"]).parent == Path(container["volumeMounts"][0]["mountPath"])
    assert container["volumeMounts"][0]["name"] in {one["name"] for one in pod["spec"]["volumes"]}


def test_the_chart_s_values_are_all_used() -> None:
    text = "".join(file.read_text() for file in (CHART / "templates").iterdir())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for name, value in values.items():
        inner = value if isinstance(value, dict) and name == "certificates" else [None]
        for key in inner:
            assert f".Values.{name}" + (f".{key}" if key else "") in text


def test_the_renderer_refuses_what_it_does_not_know() -> None:
    renderer = Renderer(CHART, {}, ("a", "b"), "v1.31.0")
    for text in (
        '{{ include "x" . }}',
        "{{ .Values.none }}",
        "{{ .Values.image | upper }}",
        "{{ end }}",
        "{{ range .x }}",
    ):
        with pytest.raises(BadTemplate):
            renderer.render(text)


def test_podmonitor_and_scrape_configuration_fit_the_sidecar() -> None:
    from proxy.inject.containers import METRICS_PORT, sidecar_container
    from proxy.inject.settings import Settings

    ports = sidecar_container(Settings(), "", True, {})["ports"]
    (monitor,) = documents(KUBERNETES / "podmonitor.yaml")
    assert [one["port"] for one in monitor["spec"]["podMetricsEndpoints"]] == [ports[0]["name"]]
    (scrape,) = documents(CONFIG / "prometheus" / "prometheus.yaml")
    assert ports[0]["containerPort"] == METRICS_PORT
    for job in scrape["scrape_configs"]:
        for rule in job.get("relabel_configs", ()):
            re.compile(rule.get("regex", "(.*)"))


def test_the_captured_sidecar_is_what_the_command_makes(capsys: pytest.CaptureFixture[str]) -> None:
    path = CONFIG / "sidecar-captured.yaml"
    (command,) = re.findall(r"^#   outrider sidecar (.+)$", path.read_text(), re.MULTILINE)
    assert sidecar(["--no-ipv6", *command.split()]) == 0
    assert json.loads(capsys.readouterr().out) == documents(path)[0], "see python -m tests.inject.goldens"


@pytest.mark.system
@pytest.mark.parametrize("name", ["prometheus/prometheus.yaml", "compose/prometheus.yaml"])
def test_prometheus_takes_its_configuration(name: str, tmp_path: Path) -> None:
    """Debian's Prometheus is built without discovery in Kubernetes, so targets stand in its place."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (make system-deps)")
    (config,) = documents(CONFIG / name)
    for job in config["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["127.0.0.1:15090"]}]
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    argv = [promtool, "check", "config", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


# -- compose -----------------------------------------------------------------------------------------------------------

COMPOSE = sorted(
    file for file in (CONFIG / "compose").glob("*.yaml") if file.name in ("jaeger.yaml", "zipkin.yaml")
)
HOSTS = re.compile(r"^[\w.-]+(/[\w.-]+)?:[\w.-]+$")


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.stem)
def test_compose_files(path: Path) -> None:
    (compose,) = documents(path)
    services = compose["services"]
    for name, service in services.items():
        assert HOSTS.match(service["image"]), f"{name}: a version, and no registry's host"
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (path.parent / source).exists(), source
        mode = service.get("network_mode", "")
        assert not mode or mode.removeprefix("service:") in services
        if name.endswith("-sidecar"):
            environment = service["environment"]
            assert environment["SERVICE"] == name.removesuffix("-sidecar")
            assert environment["NEXT_HOST"] in {*services, "localhost"}
            assert environment["COLLECTOR"] in services


def test_the_dashboard_asks_for_what_there_is(sample: Sample) -> None:
    """Every metric that a panel asks for is on a sidecar's page."""
    get(sample.front, "/")
    _, page = sample.admin("/stats/prometheus")
    dashboard = json.loads((CONFIG / "compose/grafana/dashboards/outrider.json").read_text())
    (source,) = documents(CONFIG / "compose/grafana/provisioning/datasources/prometheus.yaml")
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["datasources"][0]["uid"]
        for target in panel["targets"]:
            for name in re.findall(r"\b((?:envoy|process)_\w+)(?=[{\[]|$)", target["expr"]):
                if not name.startswith(
                    ("envoy_http_conn_manager_prefix", "envoy_response_code", "envoy_cluster_name")
                ):
                    assert re.search(rf"^{name}[{{ ]", page, re.MULTILINE), name


def test_compose_bootstrap_is_envoy_s_too(tmp_path: Path) -> None:
    if ENVOY_MISSING:
        pytest.skip(ENVOY_MISSING)
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (CONFIG / "compose" / "sidecar.yaml").read_text())
    file = tmp_path / "sidecar.yaml"
    file.write_text(text)
    argv = [
        str(envoy_binary()),
        "--mode",
        "validate",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-c",
        str(file),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr[-2000:]


# -- the sample, run for real ------------------------------------------------------------------------------------------

SERVICES = ("frontend", "orders", "inventory")
START_S = 30.0


class Sample:
    """Three applications and their sidecars, by the files that compose uses, on ports of their own."""

    def __init__(self, folder: Path, propagate: bool) -> None:
        self.collector = Collector()
        self.processes: list[subprocess.Popen[bytes]] = []
        ports = {name: [free_port() for _ in range(4)] for name in SERVICES}  # application, in, out, admin
        (compose,) = documents(COMPOSE[0])
        for at, name in enumerate(SERVICES):
            application, inbound, outbound, admin = ports[name]
            told = {key: str(value) for key, value in compose["services"][name]["environment"].items()}
            following = ports[SERVICES[at + 1]][1] if at + 1 < len(SERVICES) else inbound
            told |= {"HOST": "127.0.0.1", "PORT": str(application), "PROPAGATE": str(propagate).lower()}
            if "NEXT" in told:
                told["NEXT"] = told["NEXT"].replace(":9000", f":{outbound}")
            self.start(folder, [sys.executable, str(CONFIG / "sample" / "app.py")], told, name)
            sidecar = {
                "SERVICE": name,
                "HOST": "127.0.0.1",
                "INBOUND": str(inbound),
                "OUTBOUND": str(outbound),
                "ADMIN": str(admin),
                "APPLICATION": str(application),
                "NEXT_PORT": str(following),
                "COLLECTOR_PORT": str(self.collector.port),
            }
            argv = [
                sys.executable,
                "-m",
                "proxy",
                "run",
                "--expand-env",
                "-c",
                str(CONFIG / "compose" / "sidecar.yaml"),
            ]
            self.start(folder, argv, sidecar, f"{name}-sidecar")
        self.front, self.admin_port = ports["frontend"][1], ports["frontend"][3]
        for name in SERVICES:
            self.wait(f"http://127.0.0.1:{ports[name][1]}/health")

    def start(self, folder: Path, argv: list[str], environment: dict[str, str], name: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                argv, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)

    @staticmethod
    def wait(url: str) -> None:
        assert ready(["--url", url, "--wait", f"{START_S:g}s"]) == 0

    def admin(self, path: str) -> tuple[int, str]:
        answer = get(self.admin_port, path, host="127.0.0.1")
        return answer.status, answer.body.decode()

    def traces(self, are_all_there: Callable[[dict[str, set[str]]], bool]) -> dict[str, set[str]]:
        """Trace → services, of the spans that are not of /health, once they have come."""
        deadline = time.monotonic() + 15
        while True:
            traces: dict[str, set[str]] = {}
            for span in self.collector.spans:
                if span["tags"]["http.url"].endswith("/"):
                    told = f"{span['localEndpoint']['serviceName']} {span['kind']}"
                    traces.setdefault(span["traceId"], set()).add(told)
            if are_all_there(traces) or time.monotonic() > deadline:
                return traces
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)
        self.collector.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with ExitStack() as stack:
        made = Sample(tmp_path_factory.mktemp("sample"), propagate=True)
        stack.callback(made.close)
        yield made


HOPS = {"frontend SERVER", "frontend CLIENT", "orders SERVER", "orders CLIENT", "inventory SERVER"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_sample_makes_one_trace_over_all_hops(sample: Sample) -> None:
    answer = get(sample.front, "/", [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")])
    assert answer.status == 200
    stock = {"name": "inventory", "in_stock": 7}
    assert json.loads(answer.body) == {"name": "frontend", "next": {"name": "orders", "next": stock}}
    assert sample.traces(lambda traces: len(traces.get(TRACE, ())) == len(HOPS))[TRACE] == HOPS


@pytest.mark.slow
def test_without_propagation_every_service_begins_its_own(tmp_path: Path) -> None:
    made = Sample(tmp_path, propagate=False)
    try:
        assert get(made.front, "/").status == 200
        traces = made.traces(lambda traces: sum(map(len, traces.values())) == len(HOPS))
        assert sorted(map(sorted, traces.values())) == [
            ["frontend CLIENT", "orders SERVER"],
            ["frontend SERVER"],
            ["inventory SERVER", "orders CLIENT"],
        ]
    finally:
        made.close()
