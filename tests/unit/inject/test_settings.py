"""The table of settings: in the documentation, checked, and where values come from."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from proxy.inject.settings import TABLE, BadSetting, Settings, given, merge, table, unknown

ROOT = Path(__file__).parents[3]


def test_the_documentation_has_the_table() -> None:
    assert table() in (ROOT / "docs" / "injection.md").read_text(), (
        "paste what python -m proxy.inject.settings prints"
    )


def test_every_setting_is_a_row() -> None:
    assert sorted(row.field for row in TABLE) == sorted(field.name for field in fields(Settings))
    assert len({row.annotation for row in TABLE}) == len(TABLE)


def test_where_values_come_from() -> None:
    defaults = given(cpu="1", memory=None, image="a:1")
    pod = {"inject.outrider/cpu": "2"}
    workload = {
        "inject.outrider/cpu": "3",
        "sidecar.istio.io/proxyMemory": "1Gi",
        "sidecar.outrider/image": "b:1",
    }
    found = merge(defaults, pod, workload)
    assert (found.cpu, found.memory, found.image, found.cpu_limit) == ("2", "1Gi", "b:1", "2")
    both = {"sidecar.istio.io/proxyCPU": "8", "inject.outrider/cpu": "9"}
    assert merge(defaults, both).cpu == "9"


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        ("sidecar.outrider/inject", "maybe", "is none of true, false"),
        ("sidecar.outrider/image", "a b", "is not the name of an image"),
        ("sidecar.outrider/zipkin", "zipkin:9411", "is no URL"),
        ("sidecar.outrider/sampling", "101", "is not a percentage"),
        ("sidecar.outrider/sampling", "nan", "is not a percentage"),
        ("sidecar.outrider/drain-time", "2m", "is not a number of seconds"),
        ("inject.outrider/cpu", "a lot", "is not a quantity"),
        ("inject.outrider/exclude-inbound-ports", "80,70000", "70000 is no port"),
        ("inject.outrider/exclude-inbound-ports", "80;90", "is not a list of ports"),
        ("inject.outrider/include-outbound-ranges", "10.0.0.0/33", "10.0.0.0/33 is not a network"),
        ("inject.outrider/interception", "TPROXY", "for which the sidecar itself would need NET_ADMIN"),
        ("sidecar.istio.io/interceptionMode", "TPROXY", "for which the sidecar itself would need NET_ADMIN"),
        ("inject.outrider/exclude-interfaces", "eth0 --x", "is not a list of interfaces"),
        ("inject.outrider/log-level", "loud", "is none of trace"),
        ("inject.outrider/image-pull-policy", "often", "is none of"),
    ],
)
def test_bad_values_name_their_annotation(annotation: str, value: str, said: str) -> None:
    with pytest.raises(BadSetting, match=annotation) as error:
        merge(Settings(), {annotation: value})
    assert said in str(error.value)


def test_values_are_cleaned() -> None:
    found = merge(
        Settings(),
        {
            "inject.outrider/exclude-outbound-ports": " 25, 26 ",
            "inject.outrider/image-pull-policy": "ifnotpresent",
            "sidecar.istio.io/interceptionMode": "REDIRECT",
            "sidecar.outrider/inject": "True",
        },
    )
    assert (found.exclude_outbound_ports, found.image_pull_policy) == ("25,26", "IfNotPresent")
    assert (found.interception, found.inject) == ("redirect", "true")


def test_annotations_that_are_none() -> None:
    assert list(
        unknown({"inject.outrider/cpus": "1", "inject.outrider/cpu": "1", "sidecar.outrider/service": "s"})
    ) == ["inject.outrider/cpus"]
