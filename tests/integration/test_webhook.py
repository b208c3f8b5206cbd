"""The webhook as Kubernetes uses it: its own process, TLS, real AdmissionReview bodies, certificates swapped under it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxy.cli.webhook import main
from tests.inject.goldens import FOLDER
from tests.support.json_patch import apply

WAIT_S = 20.0


def certs(folder: Path, *arguments: str) -> None:
    assert main(["certs", "--dir", str(folder), "--name", "localhost", *arguments]) == 0


class Webhook:
    """The running process. reviews, operations: ports."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        argv = [
            sys.executable,
            "-m",
            "proxy",
            "webhook",
            "--cert",
            str(folder / "tls.crt"),
            "--key",
            str(folder / "tls.key"),
        ]
        argv += ["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0", *arguments]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        found = self.wait_for(
            r"reviews at 127\.0\.0\.1:(\d+)/inject, health and metrics at 127\.0\.0\.1:(\d+)"
        )
        self.reviews, self.operations = int(found[1]), int(found[2])

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = re.search(pattern, self.log.read_text())
            if found is not None:
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"{pattern} did not come: {self.log.read_text()}")

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    def ask(
        self, body: bytes, path: str = "/inject", method: str = "POST", context: ssl.SSLContext | None = None
    ) -> Any:
        connection = http.client.HTTPSConnection(
            "localhost", self.reviews, timeout=10, context=context or self.context()
        )
        with closing(connection):
            connection.request(method, path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def review(self, pod: Any, **more: Any) -> Any:
        status, text = self.ask(json.dumps(review(pod, **more)).encode())
        assert status == 200, text
        return json.loads(text)["response"]

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.operations, timeout=10)
        with closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def count(self, name: str) -> float:
        families = text_string_to_metric_families(self.get("/stats/prometheus")[1])
        return {
            sample.name.removesuffix("_total"): sample.value
            for family in families
            for sample in family.samples
        }[f"envoy_webhook_{name}"]


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Webhook]:
    webhook = Webhook(folder, *arguments)
    try:
        yield webhook
    finally:
        if webhook.process.poll() is None:
            webhook.process.send_signal(signal.SIGTERM)
            webhook.process.send_signal(signal.SIGTERM)
        assert webhook.process.wait(WAIT_S) == 0
        assert "Traceback" not in webhook.log.read_text()


def review(pod: Any, **more: Any) -> dict[str, Any]:
    """As kube-apiserver sends it when a ReplicaSet makes a pod."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "groups": ["system:authenticated"],
            },
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **more,
        },
    }


def template(name: str) -> dict[str, Any]:
    """The pod that a controller makes of a manifest's template."""
    found = [
        one
        for one in yaml.safe_load_all((FOLDER / "manifests" / name).read_text())
        if one["kind"] in ("Deployment", "StatefulSet")
    ]
    pod = found[0]["spec"]["template"]
    pod["metadata"]["generateName"] = f"{found[0]['metadata']['name']}-"
    return {"apiVersion": "v1", "kind": "Pod", **pod}


@pytest.fixture(scope="module")
def webhook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    folder = tmp_path_factory.mktemp("webhook")
    certs(folder)
    with running(
        folder, "--zipkin", "http://zipkin:9411", "--namespace", "shop*", "--namespace", "cache"
    ) as one:
        yield one


@pytest.mark.parametrize(
    "name", ["web-frontend.yaml", "spring-startup.yaml", "postgres.yaml", "wait-for-db.yaml"]
)
def test_pods_are_patched(webhook: Webhook, name: str) -> None:
    pod = template(name)
    told = webhook.review(pod)
    assert told["allowed"] and told["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    patched = apply(pod, json.loads(base64.b64decode(told["patch"])))
    sidecar = next(one for one in patched["spec"]["initContainers"] if one["name"] == "outrider")
    assert "http://zipkin:9411" in sidecar["args"] or name == "spring-startup.yaml"
    assert patched["spec"]["initContainers"][0]["name"] == "outrider-init"
    again = webhook.review(patched)
    assert again["allowed"] and "patch" not in again


def test_namespaces(webhook: Webhook) -> None:
    pod = template("redis.yaml")
    patched = {
        one: "patch" in webhook.review(pod, namespace=one)
        for one in ("shop-2", "cache", "other", "kube-system")
    }
    assert patched == {"shop-2": True, "cache": True, "other": False, "kube-system": False}


def test_bad_requests(webhook: Webhook) -> None:
    before = webhook.count("bad_reviews")
    assert webhook.ask(b"not json")[0] == 400
    assert webhook.ask(b"{}", path="/elsewhere")[0] == 404
    assert webhook.ask(b"", method="GET")[0] == 405
    assert webhook.ask(b" " * (9 * 1024 * 1024))[0] == 413
    assert webhook.count("bad_reviews") == before + 1
    assert "patch" in webhook.review(template("redis.yaml")), "and it goes on"


def test_connections_that_say_nothing_keep_nobody_out(webhook: Webhook) -> None:
    """More than the admin interface would take, in the middle of a handshake and of a request."""
    context, opened = webhook.context(), []
    try:
        for at in range(240):
            opened.append(socket.create_connection(("127.0.0.1", webhook.reviews), timeout=10))
            if at % 2:
                opened[-1] = context.wrap_socket(opened[-1], server_hostname="localhost")
                opened[-1].sendall(b"POST /inject HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\n{")
        assert "patch" in webhook.review(template("redis.yaml"))
    finally:
        for each in opened:
            each.close()


def test_a_client_that_asks_first_is_told_to_go_on(webhook: Webhook) -> None:
    body = json.dumps(review(template("redis.yaml"))).encode()
    head = f"POST /inject HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    raw = socket.create_connection(("127.0.0.1", webhook.reviews), timeout=10)
    with webhook.context().wrap_socket(raw, server_hostname="localhost") as sock:
        sock.sendall(head.encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")
        sock.sendall(body)
        assert sock.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_pod_that_is_updated_is_not_patched(webhook: Webhook) -> None:
    pod = template("redis.yaml")
    for more in ({"operation": "UPDATE", "oldObject": pod}, {"subResource": "ephemeralcontainers"}):
        told = webhook.review(pod, **more)
        assert told["allowed"] and "patch" not in told
    assert "patch" in webhook.review(pod, dryRun=True)


def test_health_and_metrics(webhook: Webhook) -> None:
    assert webhook.get("/healthz")[0] == webhook.get("/readyz")[0] == 200
    before = webhook.count("injected")
    webhook.review(template("redis.yaml"))
    assert webhook.count("injected") == before + 1
    assert webhook.count("certificate_seconds_left") > 364 * 86400
    assert webhook.count("duration_ms_count") > 0


def test_a_large_pod(webhook: Webhook) -> None:
    pod = template("redis.yaml")
    pod["metadata"]["annotations"] = {f"a-{number}": "x" * 1000 for number in range(1500)}
    assert "patch" in webhook.review(pod)


def test_strangers_are_not_believed(webhook: Webhook) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        webhook.ask(b"{}", context=ssl.create_default_context())


def test_certificates_are_swapped_under_it(tmp_path: Path) -> None:
    certs(tmp_path)
    with running(tmp_path) as webhook:
        old = webhook.context()
        (tmp_path / "tls.crt").write_text("half a certific")
        webhook.wait_for("the new certificate cannot be used, the old one stays")
        assert webhook.ask(b"{}", context=old)[0] == 400
        certs(tmp_path)
        webhook.wait_for("a new certificate is in use")
        assert webhook.ask(b"{}")[0] == 400
        with pytest.raises(ssl.SSLCertVerificationError):
            webhook.ask(b"{}", context=old)
        assert webhook.count("certificate_reloads") == 1 and webhook.count("certificate_failures") >= 1


@pytest.mark.parametrize(("choice", "allowed"), [("allow", True), ("deny", False)])
def test_open_and_closed(tmp_path: Path, choice: str, allowed: bool) -> None:
    certs(tmp_path)
    with running(tmp_path, "--on-error", choice) as webhook:
        pod = template("redis.yaml")
        pod["metadata"]["annotations"] = {"inject.outrider/cpu": "much"}
        told = webhook.review(pod)
        assert told["allowed"] is allowed and "patch" not in told
        said = " ".join(told.get("warnings", [])) + told.get("status", {}).get("message", "")
        assert 'inject.outrider/cpu: "much" is not a quantity' in said
        broken = template("redis.yaml")
        deep: list[object] = []
        for _ in range(700):  # no API server sends this: a bug of ours in its place
            deep = [deep]
        broken["metadata"]["managedFields"] = deep
        assert webhook.review(broken)["allowed"] is allowed
        assert webhook.count("failed") == 1 and webhook.count("mistakes") == 1
        assert webhook.count("refused") == (0 if allowed else 2)
        log = webhook.log.read_text()
        assert log.count("Traceback") == 1
        webhook.log.write_text("")


def test_callers_need_a_certificate_where_it_is_asked_for(tmp_path: Path) -> None:
    certs(tmp_path)
    with running(tmp_path, "--client-ca", str(tmp_path / "ca.crt")) as webhook:
        with pytest.raises((ssl.SSLError, http.client.HTTPException, OSError)):
            webhook.ask(b"{}")
        context = webhook.context()
        context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
        with pytest.raises((ssl.SSLError, http.client.HTTPException, OSError)):
            webhook.ask(b"{}", context=context)  # it is a server's, not a client's


def test_it_says_that_it_is_going(tmp_path: Path) -> None:
    certs(tmp_path)
    with running(tmp_path) as webhook:
        webhook.process.send_signal(signal.SIGTERM)
        webhook.wait_for("stopping in")
        assert webhook.get("/readyz")[0] == 503
        assert webhook.ask(b"{}")[0] == 400, "reviews are still answered"


def test_signals_at_the_end_do_not_change_the_exit_code(tmp_path: Path) -> None:
    certs(tmp_path)
    with running(tmp_path) as webhook:  # which asks for 0
        for _ in range(1000):
            if webhook.process.poll() is not None:
                break
            webhook.process.send_signal(signal.SIGTERM)
            time.sleep(0.001)  # faster ones leave it no time to end


def test_it_cannot_start_without_a_certificate(tmp_path: Path) -> None:
    arguments = ["--cert", str(tmp_path / "none"), "--key", str(tmp_path / "none")]
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "webhook", *arguments], capture_output=True, text=True, timeout=WAIT_S
    )
    assert done.returncode == 1 and "the webhook cannot start" in done.stderr


def test_certs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certs(tmp_path, "--days", "30", "--secret", "outrider-webhook-tls", "--ca-bundle")
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
    out = capsys.readouterr().out
    secret, end = json.JSONDecoder().raw_decode(out)
    assert secret["type"] == "kubernetes.io/tls" and secret["metadata"]["namespace"] == "outrider-system"
    assert base64.b64decode(out[end:].strip()) == (tmp_path / "ca.crt").read_bytes()
    assert base64.b64decode(secret["data"]["tls.crt"]) == (tmp_path / "tls.crt").read_bytes()
    assert main(["certs"]) == 2
    text = ssl._ssl._test_decode_cert(str(tmp_path / "tls.crt"))  # type: ignore[attr-defined]
    assert ("DNS", "outrider-webhook.outrider-system.svc") in text["subjectAltName"]
