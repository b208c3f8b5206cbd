"""Files of manifests: what is not changed keeps every byte; mistakes say where; the command's answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.cli.inject import main, main_uninject
from proxy.inject.manifests import BadManifest, change
from proxy.inject.pod import Policy, inject
from proxy.inject.settings import Settings

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\nspec:\n  containers:\n  - name: yes-man\n    image: a:1\n"


def changed(text: str) -> str:
    return change(text, lambda workload: inject(workload, Policy(Settings())))[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# only a comment\n",
        "---\n---\n",
        "kind:   Service   # odd\napiVersion: v1\n---\n\n# end",
        "just text",
        "- kind: Pod\n",
        "kind: Pod\napiVersion: v1\nspec: {hostNetwork:   true, containers: [{name: a}]}",
        "kind: Pod\napiVersion: v1\nspec: nothing\n",
        '{"kind": "Service",   "apiVersion": "v1"}',
        "a: |\n  ---\n  kind: Pod\n",
        "# of Windows\r\nkind: Service\r\napiVersion: v1\r\n---\r\nkind: ConfigMap\napiVersion: v1\r\n",
        "\ufeffkind: Service\napiVersion: v1\n",
    ],
)
def test_nothing_to_do_keeps_every_byte(text: str) -> None:
    assert changed(text) == text


def test_only_the_changed_document_is_written_anew() -> None:
    odd = "kind:   Service   # odd\napiVersion: v1\n"
    text = changed(f"{odd}---   # the pod\n{POD}---\n{odd}")
    assert text.startswith(f"{odd}---   # the pod\napiVersion: v1\nkind: Pod\n")
    assert text.endswith(f"---\n{odd}") and "outrider-init" in text


def test_indentation_is_kept() -> None:
    assert "\n  - name: yes-man\n" in changed(POD)
    deeper = POD.replace("  - name", "    - name").replace("    image", "      image")
    assert "\n    - name: yes-man\n" in changed(deeper) and "\n    - name: outrider\n" in changed(deeper)


def test_words_that_are_no_text_in_yaml_1_1_are_quoted() -> None:
    probe = "    livenessProbe:\n      httpGet:\n        port: 80\n        httpHeaders:\n        - {name: X, value: 'on'}\n"
    injected = changed(POD.replace("yes-man", "'on'") + probe)
    assert "kubectl.kubernetes.io/default-container: 'on'" in injected
    back = change(
        injected, lambda workload: __import__("proxy.inject.pod", fromlist=["x"]).uninject(workload)
    )[0]
    assert "value: 'on'" in back


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{POD}---\nkind: [", "line 10, column"),
        ("kind: Pod\nkind: Pod\n", "line 2, column 1"),
        ("kind: &a [*b]\n", "line 1"),
        ('{"kind": ', "is no JSON"),
        ("kind: Pod\n\ta: 1\n", "line 2"),
    ],
)
def test_mistakes_say_where(text: str, said: str) -> None:
    with pytest.raises(BadManifest, match=r"is no (YAML|JSON)") as error:
        changed(text)
    assert said in str(error.value)


def test_too_deep_and_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    for deep in ("[", "{a: ", "[{b: "):
        with pytest.raises(BadManifest, match="nested too deeply"):
            changed("kind: " + deep * 20_000)
    monkeypatch.setattr("proxy.inject.manifests.MAX_BYTES", 10)
    with pytest.raises(BadManifest, match="larger"):
        changed(POD)


def test_without_ruamel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(BadManifest, match=r'pip install "outrider\[inject\]"'):
        changed(POD)


def test_json_keeps_its_form() -> None:
    document: dict[str, Any] = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "p\u00fc"},
        "spec": {"containers": [{"name": "a"}]},
    }
    for indent in (None, 2, 4):
        text = changed(json.dumps(document, indent=indent, ensure_ascii=False) + "\n")
        assert json.loads(text)["spec"]["initContainers"][1]["name"] == "outrider"
        assert text.endswith("}\n") and "p\u00fc" in text
        assert text == json.dumps(json.loads(text), indent=indent, ensure_ascii=False) + "\n"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.yaml", tmp_path / "out.yaml"
    source.write_text(POD)
    assert main(["-f", str(source), "-o", str(target), "--zipkin", "http://z:9411", "--cpu", "1"]) == 0
    assert capsys.readouterr().err == "pod/p injected\n"
    assert "--zipkin" in target.read_text()
    assert main(["-f", str(target)]) == 0
    again = capsys.readouterr()
    assert again.err == "pod/p is injected already\n" and again.out == target.read_text()
    assert main_uninject(["-f", str(target), "-q"]) == 0
    back = capsys.readouterr()
    assert (back.out, back.err) == (POD, "")


def test_the_commands_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.yaml"
    source.write_text(POD.replace("  name: p\n", '  name: p\n  annotations: {inject.outrider/cpu: "x"}\n'))
    assert main(["-f", str(source)]) == 1
    shown = capsys.readouterr()
    assert shown.out == source.read_text() and 'inject.outrider/cpu: "x" is not a quantity' in shown.err
    assert main(["-f", str(tmp_path / "none")]) == 1
    assert main(["-f", str(source), "--cpu", "y"]) == 2
    assert main(["-f", str(source), "--kubernetes-version", "new"]) == 2
    source.write_text("kind: [")
    assert main(["-f", str(source)]) == 1
    assert f"{source}: line 1" in capsys.readouterr().err


def test_line_ends_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of Windows too, by the command too; each document has its own, and a byte order mark stays where it is."""
    dos = POD.replace("\n", "\r\n")
    service = "kind:   Service\napiVersion: v1\n"
    text = f"\ufeff---\r\n{dos}---\n{service}"
    source, target = tmp_path / "in.yaml", tmp_path / "out.yaml"
    source.write_bytes(text.encode())
    assert main(["-f", str(source), "-o", str(target)]) == 0
    made = target.read_bytes().decode()
    assert made.startswith("\ufeff---\r\napiVersion: v1\r\n") and made.endswith(f"---\n{service}")
    pod = made.removesuffix(f"---\n{service}")
    assert pod.count("\r\n") == pod.count("\n") > 50
    assert main(["-f", str(target)]) == 0 and capsys.readouterr().out == made
    assert main_uninject(["-f", str(target)]) == 0
    assert capsys.readouterr().out == text


def test_json_keeps_its_line_ends() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "a"}]}}
    made = changed(json.dumps(pod, indent=2).replace("\n", "\r\n") + "\r\n")
    assert made.count("\r\n") == made.count("\n") > 50
