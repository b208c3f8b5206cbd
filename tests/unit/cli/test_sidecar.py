"""``outrider sidecar``: flags, files of the downward API, and what is handed to ``run``."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from proxy.cli import run, sidecar
from proxy.sidecar.settings import Settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in (
        "POD_NAME",
        "POD_NAMESPACE",
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
        "OUTRIDER_APP_PROBERS",
        "INSTANCE_IP",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ran(monkeypatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(run, "main", lambda arguments: calls.append(arguments) or 0)
    return calls


def test_printing_serves_nothing(capsys, tmp_path, ran):
    (tmp_path / "labels").write_text('app="cart"\n')
    (tmp_path / "annotations").write_text('sidecar.outrider/inbound-port="16006"\n')
    assert sidecar.main(["--podinfo", str(tmp_path), "--print", "--no-ipv6"]) == 0
    bootstrap = json.loads(capsys.readouterr().out)
    assert bootstrap["node"]["cluster"] == "cart"
    listener = bootstrap["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"]["port_value"] == 16006
    assert "additional_addresses" not in listener
    assert not ran


def test_what_is_handed_to_run(ran, tmp_path):
    flags = ["--podinfo", str(tmp_path / "none"), "--drain-time", "7", "--exit-on-zero", "--ipv6"]
    assert sidecar.main([*flags, "--", "-l", "debug"]) == 0
    given = run.parser().parse_args(ran[0])
    options = run.to_options(given)
    assert (options.drain_time_s, options.drain_listen_s, options.exit_on_zero) == (7.0, 5.0, True)
    assert options.log_level == "debug"
    assert json.loads(options.config_yaml)["admin"]


def test_probes_that_the_injection_has_rewritten(capsys, monkeypatch, tmp_path):
    probers = {"/app-health/web/livez": {"httpGet": {"path": "/", "port": 8080}}}
    monkeypatch.setenv("OUTRIDER_APP_PROBERS", json.dumps(probers))
    flags = ["--podinfo", str(tmp_path), "--print", "--no-ipv6"]
    assert sidecar.main(flags) == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)["static_resources"]["listeners"]]
    assert names == ["inbound", "outbound", "readiness", "metrics", "app_probes"]
    monkeypatch.setenv("INSTANCE_IP", "10.9.0.7")
    assert sidecar.main(flags) == 0
    shown = capsys.readouterr().out
    assert '"10.9.0.7"' in shown and '"127.0.0.6"' in shown
    monkeypatch.setenv("INSTANCE_IP", "nowhere")
    assert sidecar.main(flags) == 2
    assert "'nowhere' is no address of a pod" in capsys.readouterr().err
    monkeypatch.setenv("OUTRIDER_APP_PROBERS", "{")
    assert sidecar.main(flags) == 2
    assert "OUTRIDER_APP_PROBERS is no JSON" in capsys.readouterr().err


def test_readiness_with_the_application(capsys, monkeypatch, tmp_path):
    flags = ["--podinfo", str(tmp_path), "--print", "--no-ipv6", "--ready-with-app"]
    assert sidecar.main(flags) == 0
    assert "ready-with-app has no effect" in capsys.readouterr().err
    probers = {"/app-health/web/readyz": {"httpGet": {"path": "/", "port": 8080}}}
    monkeypatch.setenv("OUTRIDER_APP_PROBERS", json.dumps(probers))
    assert sidecar.main(flags) == 0
    shown = capsys.readouterr()
    assert "HoldReadiness" in shown.out and not shown.err


def test_what_is_wrong_is_said(capsys, ran):
    assert sidecar.main(["--sampling", "101", "--zipkin", "z"]) == 2
    error = capsys.readouterr().err
    assert "sampling 101 is not a percentage" in error and "zipkin: 'z' is not a URL" in error
    assert not ran


#: what makes sense where a number or a word does not
MADE_UP = {"zipkin": "http://z:1", "otlp": "http://o:1", "tcp_ports": "25,3306", "tls_ranges": "10.0.0.0/8"}
TLS = ("tls_cert", "tls_key", "tls_ca")


@pytest.mark.parametrize(("at", "name"), list(enumerate(field.name for field in fields(Settings))))
def test_every_setting_is_a_flag_a_variable_and_an_annotation(at, name, monkeypatch, tmp_path):
    """As docs/sidecar.md has them, and it has all of them."""
    kind = type(getattr(Settings(), name))
    text = MADE_UP.get(name, {int: str(2000 + at), float: "3", bool: "true", str: "x"}[kind])
    called = name.replace("_", "-").removesuffix("-s")
    document = (Path(__file__).parents[3] / "docs" / "sidecar.md").read_text()
    assert f"`{called}`" in document.partition("### Probes")[0]
    others = [each for each in TLS if name.startswith("tls") and each != name]
    argv = ["--podinfo", str(tmp_path), *(f"--{each.replace('_', '-')}=f" for each in others)]

    def read(*more: str) -> object:
        return getattr(sidecar.settings_of(sidecar.parser().parse_args([*argv, *more])), name)

    given = read(f"--{called}", *([] if kind is bool else [text]))
    (tmp_path / "annotations").write_text(f'sidecar.outrider/{called}="{text}"\n')
    noted = read()
    (tmp_path / "annotations").write_text("")
    monkeypatch.setenv("OUTRIDER_SIDECAR_" + called.upper().replace("-", "_"), text)
    assert given == noted == read() == (text == "true" if kind is bool else kind(text))
    assert given != getattr(Settings(), name)
