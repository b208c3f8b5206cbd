"""Putting in and taking out: decisions, by whom, and laws that hold for every pod."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.inject.decide import OTHERS
from proxy.inject.patch import difference
from proxy.inject.pod import Outcome, Policy, inject, uninject, version
from proxy.inject.settings import STATUS, Settings
from proxy.inject.workload import objects, workload_of
from tests.support.json_patch import apply

POLICY = Policy(Settings())
OPT_IN = Policy(Settings(), by_default=False)


def pod(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    containers = [{"name": "app", "image": "app:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", **metadata},
        "spec": {"containers": containers, **(spec or {})},
    }


def injected(manifest: dict[str, Any], policy: Policy = POLICY) -> Outcome:
    workload = workload_of(manifest)
    assert workload is not None
    return inject(workload, policy)


def names(manifest: dict[str, Any], field: str) -> list[str]:
    return [one["name"] for one in manifest["spec"].get(field, [])]


@pytest.mark.parametrize(
    ("metadata", "policy", "changed"),
    [
        ({}, POLICY, True),
        ({}, OPT_IN, False),
        ({"labels": {"sidecar.outrider/inject": "true"}}, OPT_IN, True),
        ({"annotations": {"sidecar.outrider/inject": "true"}}, OPT_IN, True),
        ({"labels": {"sidecar.outrider/inject": "false"}}, POLICY, False),
        ({"annotations": {"sidecar.outrider/inject": "false"}}, POLICY, False),
        (
            {
                "labels": {"sidecar.outrider/inject": "false"},
                "annotations": {"sidecar.outrider/inject": "true"},
            },
            POLICY,
            False,
        ),
    ],
)
def test_who_asks(metadata: dict[str, Any], policy: Policy, changed: bool) -> None:
    manifest = pod(**metadata)
    before = deepcopy(manifest)
    assert injected(manifest, policy).changed is changed
    assert changed or manifest == before


@pytest.mark.parametrize("name", [*OTHERS, "outrider", "outrider-init"])
def test_other_sidecars(name: str) -> None:
    manifest = pod({"containers": [{"name": name, "image": "x"}]})
    outcome = injected(manifest)
    assert not outcome.changed and not outcome.failed and "has a" in outcome.why


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"containers": []}, "has no containers"),
        ({"os": {"name": "windows"}}, "runs on windows"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"securityContext": {"runAsUser": 1337}}, "runs as user 1337"),
        ({"securityContext": {"runAsUser": 1000, "runAsGroup": 1337}}, "runs as group 1337"),
        (
            {"containers": [{"name": "a", "securityContext": {"runAsGroup": 1337}}]},
            "runs container a as group 1337",
        ),
    ],
)
def test_left_alone(spec: dict[str, Any], said: str) -> None:
    manifest = pod(spec)
    before = deepcopy(manifest)
    assert said in injected(manifest).why and manifest == before


def test_user_1337_may_be_where_nothing_is_captured() -> None:
    manifest = pod(
        {"securityContext": {"runAsUser": 1337}}, annotations={"inject.outrider/interception": "none"}
    )
    assert injected(manifest).changed
    assert names(manifest, "initContainers") == ["outrider"]


def test_native_by_version_and_by_annotation() -> None:
    for kubernetes, annotation, native in (
        ((1, 29), "auto", True),
        ((1, 28), "auto", False),
        ((1, 28), "true", True),
        ((1, 33), "false", False),
    ):
        manifest = pod(annotations={"inject.outrider/native-sidecar": annotation})
        injected(manifest, Policy(Settings(), True, kubernetes))
        assert ("outrider" in names(manifest, "initContainers")) is native
        assert ("outrider" in names(manifest, "containers")) is not native


@pytest.mark.parametrize("restart", ["Never", "OnFailure"])
def test_what_ends_needs_a_native_sidecar(restart: str) -> None:
    manifest = pod({"restartPolicy": restart})
    assert "never does" in injected(manifest, Policy(Settings(), True, (1, 28))).why
    assert injected(manifest, Policy(Settings(), True, (1, 29))).changed


def test_a_classic_sidecar_holds_the_application_unless_told_not_to() -> None:
    held, free = pod(), pod(annotations={"inject.outrider/hold-application": "false"})
    for manifest in (held, free):
        injected(manifest, Policy(Settings(), True, (1, 20)))
    assert names(held, "containers") == ["outrider", "app"]
    assert held["spec"]["containers"][0]["lifecycle"]["postStart"]["exec"]["command"][:2] == [
        "outrider",
        "ready",
    ]
    assert names(free, "containers") == ["app", "outrider"]
    assert "lifecycle" not in free["spec"]["containers"][1]


def test_the_service_is_called_after_the_workload_unless_the_pod_says() -> None:
    for metadata, told in (
        ({}, "p"),
        ({"labels": {"app": "x"}}, None),
        ({"annotations": {"sidecar.outrider/service": "x"}}, None),
    ):
        manifest = pod(**metadata)
        injected(manifest)
        sidecar = next(one for one in manifest["spec"]["initContainers"] if one["name"] == "outrider")
        variables = {one["name"]: one.get("value") for one in sidecar["env"]}
        assert variables.get("OUTRIDER_SIDECAR_SERVICE") == told


def test_statuses_that_are_not_ours_are_left_alone() -> None:
    for text, said in (
        ("nonsense", "is no JSON"),
        ("[]", "was not written by this injector"),
        (
            '{"version":2,"initContainers":[],"containers":[],"volumes":[],"annotations":[],"probes":[]}',
            "of version 2",
        ),
        (
            '{"version":1,"initContainers":[],"containers":["app"],"volumes":[],"annotations":[],"probes":[]}',
            "not this injector's",
        ),
    ):
        manifest = pod(annotations={STATUS: text})
        before = deepcopy(manifest)
        workload = workload_of(manifest)
        assert workload is not None
        outcome = uninject(workload)
        assert outcome.failed and said in outcome.why and manifest == before


def test_versions() -> None:
    assert [version(text) for text in ("1.29", "v1.31.2", "1.28+", "v1.30.4-gke.12")] == [
        (1, 29),
        (1, 31),
        (1, 28),
        (1, 30),
    ]
    for text in ("", "1", "one.two", "v"):
        with pytest.raises(ValueError):
            version(text)


def test_lists_in_lists() -> None:
    inner = {"apiVersion": "v1", "kind": "List", "items": [pod(), "text", None, {"kind": 5}]}
    found = [workload_of(each) for each in objects({"kind": "PodList", "items": [inner]})]
    assert [one.said for one in found if one is not None] == ["pod/p"]


WORDS = st.sampled_from(["a", "b", "web", "x/y", "t~z"])
HANDLER = st.one_of(
    st.fixed_dictionaries(
        {
            "httpGet": st.fixed_dictionaries(
                {"path": st.just("/x"), "port": st.sampled_from([80, "web", "no"])}
            )
        }
    ),
    st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": st.sampled_from([80, "80", "web"])})}),
    st.fixed_dictionaries({"grpc": st.fixed_dictionaries({"port": st.just(9)})}),
    st.fixed_dictionaries({"exec": st.fixed_dictionaries({"command": st.just(["true"])})}),
)
PROBE = st.tuples(
    HANDLER, st.dictionaries(st.sampled_from(["periodSeconds", "timeoutSeconds"]), st.integers(1, 9))
).map(lambda pair: {**pair[1], **pair[0]})


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """Pods of all shapes, sensible or not."""
    containers = []
    for name in draw(st.lists(st.sampled_from(["one", "two", "three"]), unique=True, min_size=1)):
        container: dict[str, Any] = {"name": name, "image": "i"}
        if draw(st.booleans()):
            container["ports"] = [{"name": "web", "containerPort": 8080}]
        for field in draw(st.sets(st.sampled_from(["livenessProbe", "readinessProbe", "startupProbe"]))):
            container[field] = draw(PROBE)
        for field in draw(st.sets(st.sampled_from(["postStart", "preStop"]))):
            container.setdefault("lifecycle", {})[field] = draw(HANDLER)
        containers.append(container)
    spec: dict[str, Any] = {"containers": containers}
    if draw(st.booleans()):
        spec["volumes"] = [{"name": "v", "emptyDir": {}}]
    if draw(st.booleans()):
        spec["initContainers"] = [{"name": "init", "image": "i"}]
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "spec": spec}
    if draw(st.booleans()):
        manifest["metadata"] = {"annotations": draw(st.dictionaries(WORDS, WORDS, min_size=1)), "name": "n"}
    return manifest


@given(manifest=pods(), kubernetes=st.sampled_from([(1, 28), (1, 33)]))
def test_laws(manifest: dict[str, Any], kubernetes: tuple[int, int]) -> None:
    """In and out is nothing; twice is once; the patch leads where the change led."""
    policy = Policy(Settings(), True, kubernetes)
    changed = deepcopy(manifest)
    assert injected(changed, policy).changed
    assert apply(manifest, difference(manifest, changed)) == changed
    again = deepcopy(changed)
    assert not injected(again, policy).changed and again == changed
    back = deepcopy(changed)
    workload = workload_of(back)
    assert workload is not None and uninject(workload).changed
    assert back == manifest
    assert list(back["spec"]) == list(manifest["spec"])
    assert apply(changed, difference(changed, back)) == back


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | WORDS,
    lambda inner: (
        st.lists(inner | st.fixed_dictionaries({"name": WORDS}), max_size=4)
        | st.dictionaries(WORDS, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(old=JSON, new=JSON)
def test_patches_lead_from_any_value_to_any(old: Any, new: Any) -> None:
    result = apply(old, difference(old, new))
    assert result == new and repr(result).count("True") == repr(new).count("True")


@pytest.mark.parametrize("field", ["containers", "initContainers", "volumes"])
@pytest.mark.parametrize("value", [5, True, "x", {"a": 1}, [5], [None], [{}], [{"name": []}], [[]]])
def test_what_is_no_pod_is_left_alone(field: str, value: Any) -> None:
    manifest = pod({field: value})
    before = deepcopy(manifest)
    outcome = injected(manifest)
    assert not outcome.changed and f"is no pod: {field} is no list" in outcome.why
    assert manifest == before
    manifest["metadata"]["annotations"] = {STATUS: "{}"}
    workload = workload_of(manifest)
    assert workload is not None and not uninject(workload).changed


@pytest.mark.parametrize("ports", [5, "x", [5], [{}], [{"containerPort": []}], {"a": 1}])
def test_ports_that_are_none(ports: Any) -> None:
    outcome = injected(pod({"containers": [{"name": "app", "ports": ports}]}))
    assert not outcome.changed and "ports of container app" in outcome.why


def test_a_label_that_makes_no_sense_is_said() -> None:
    outcome = injected(pod(labels={"sidecar.outrider/inject": "yes"}))
    assert outcome.failed and 'label sidecar.outrider/inject: "yes" is none of true, false' in outcome.why


@pytest.mark.parametrize(
    "change",
    [
        {"containers": [[]]},
        {"volumes": [5]},
        {"annotations": [{}]},
        {"probes": [1]},
        {"probes": [{"field": []}]},
    ],
)
def test_a_status_that_nobody_wrote(change: dict[str, Any]) -> None:
    lists = {name: [] for name in ("initContainers", "containers", "volumes", "annotations", "probes")}
    text = json.dumps({"version": 1, **lists, **change})
    workload = workload_of(pod(annotations={STATUS: text}))
    assert workload is not None
    outcome = uninject(workload)
    assert outcome.failed and not outcome.changed


@pytest.mark.parametrize(
    ("metadata", "mesh"),
    [
        ({"annotations": {"linkerd.io/inject": "enabled"}}, "Linkerd"),
        ({"annotations": {"linkerd.io/inject": "ingress"}}, "Linkerd"),
        ({"labels": {"sidecar.istio.io/inject": "true"}}, "Istio"),
        ({"labels": {"kuma.io/sidecar-injection": "enabled"}}, "Kuma"),
        ({"annotations": {"consul.hashicorp.com/connect-inject": "true"}}, "Consul"),
    ],
)
def test_who_will_get_another_sidecar_is_left_alone_unless_it_asks_for_ours(
    metadata: dict[str, Any], mesh: str
) -> None:
    manifest = pod(**deepcopy(metadata))
    outcome = injected(manifest)
    assert f"asks for a sidecar of {mesh}" in outcome.why and manifest == pod(**metadata)
    labels = {**metadata.get("labels", {}), "sidecar.outrider/inject": "true"}
    asked = injected(pod(**{**deepcopy(metadata), "labels": labels}))
    assert asked.changed and mesh in asked.warnings[0]


def test_who_refuses_another_sidecar_is_injected() -> None:
    metadata = {"annotations": {"linkerd.io/inject": "disabled", "sidecar.istio.io/inject": "false"}}
    assert injected(pod(**metadata)).changed


@pytest.mark.parametrize(
    ("period", "annotation", "given", "warned"),
    [
        (None, "", None, False),
        (30, "", None, False),  # what Kubernetes writes itself
        (600, "", "500", False),
        (6, "", "5", False),
        (0, "", "1", False),
        (600, "7", "7", False),
        (10, "25s", "25", True),
        (None, "40", "40", True),
        (60, "40", "40", False),
    ],
)
def test_the_sidecar_drains_in_the_time_the_pod_has(
    period: int | None, annotation: str, given: str | None, warned: bool
) -> None:
    annotations = {"sidecar.outrider/drain-time": annotation} if annotation else {}
    manifest = pod(
        {} if period is None else {"terminationGracePeriodSeconds": period}, annotations=annotations
    )
    outcome = injected(manifest)
    args = manifest["spec"]["initContainers"][1]["args"]
    assert (args[args.index("--drain-time") + 1] if "--drain-time" in args else None) == given
    assert any("is cut short" in text for text in outcome.warnings) is warned
