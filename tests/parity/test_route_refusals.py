"""What Envoy refuses of a route configuration we refuse as well, and what it takes we take."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.parity.route_cases import GROUPS, add, named, regex, substitution, to
from tests.support.config import bootstrap, cluster, http_listener
from tests.support.envoy import ENVOY_MISSING, envoy_binary
from tests.unit.router.tables import Config, findings_of, hosts, routes

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

KNOWN = {"one", "two"}


def with_match(match: Config) -> Config:
    return routes(named("n", match))


def with_action(**action: Any) -> Config:
    return routes({"match": {"prefix": "/"}, "route": {"cluster": "one", **action}})


def with_route(**fields: Any) -> Config:
    return routes({"match": {"prefix": "/"}, **to(), **fields})


def with_header(**matcher: Any) -> Config:
    return with_match({"prefix": "/", "headers": [{"name": "x", **matcher}]})


def weighted(*clusters: Config, **more: Any) -> Config:
    return routes(
        {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": list(clusters), **more}}}
    )


def domains(*names: list[str]) -> Config:
    return hosts(*({"name": f"h{index}", "domains": each} for index, each in enumerate(names)))


def direct(**fields: Any) -> Config:
    return routes({"match": {"prefix": "/"}, "direct_response": fields})


CASES: list[Config] = [
    *(group.config for group in GROUPS),
    with_route(request_headers_to_add=[add("Host", "x")]),
    with_route(request_headers_to_add=[add(":path", "x")]),
    with_route(response_headers_to_add=[add("host", "x")]),
    with_route(response_headers_to_add=[add(":status", "x")]),
    with_route(request_headers_to_remove=["Host"]),
    with_route(request_headers_to_remove=[":path"]),
    with_route(response_headers_to_remove=[":status"]),
    with_route(request_headers_to_add=[add("x", "1", append=True, append_action="ADD_IF_ABSENT")]),
    with_route(request_headers_to_add=[add("x", "1", append=True)]),
    with_route(request_headers_to_add=[add("x", "%NOPE%")]),
    with_route(request_headers_to_add=[add("x", "50%")]),
    with_route(request_headers_to_add=[add("x", "50%%")]),
    with_route(request_headers_to_add=[{"header": {"key": "x", "raw_value": "MQ=="}}]),
    with_action(cluster="none"),
    {**with_action(cluster="none"), "validate_clusters": False},
    weighted({"name": "none", "weight": 1}),
    weighted({"name": "one", "weight": 0}),
    weighted({"weight": 1}),
    weighted({"weight": 1, "name": "one", "cluster_header": "x"}),
    weighted({"weight": 1, "name": "one"}, total_weight=5),
    weighted({"weight": 4294967295, "name": "one"}, {"weight": 1, "name": "two"}),
    weighted({"weight": 1, "name": "one"}, runtime_key_prefix="k"),
    domains(["*"], ["*"]),
    domains(["A.x"], ["a.X"]),
    domains(["*.x", "*.X"]),
    domains(["x.*", "X.*"]),
    domains(["a.*.x", "*.a.*", "", "a"], ["b"]),
    with_action(prefix_rewrite="/a", regex_rewrite=substitution("a", "b")),
    with_action(prefix_rewrite="/a", path_rewrite="/b"),
    with_action(path_rewrite="%NOPE%"),
    with_action(host_rewrite="%NOPE%"),
    with_action(regex_rewrite=substitution("a", "\\1")),
    with_action(regex_rewrite=substitution("(", "")),
    with_action(host_rewrite_path_regex=substitution("(", "")),
    with_match({"safe_regex": regex("(a")}),
    with_match({"safe_regex": regex("(?=a)")}),
    with_match({"safe_regex": regex("\\1")}),
    with_match({"safe_regex": regex("a{1001}")}),
    with_match({"safe_regex": regex("\\pN+\\C[[:alpha:]]")}),
    with_match({"safe_regex": regex("\u00e9|[\u00e9]")}),
    with_match({"safe_regex": {"google_re2": {"max_program_size": 1}, "regex": "a.*b"}}),
    with_match({"safe_regex": {"google_re2": {"max_program_size": 100}, "regex": "a.*b"}}),
    with_match({"safe_regex": {"google_re2": {"max_program_size": 8}, "regex": "a.*b"}}),
    with_match({"safe_regex": {"google_re2": {"max_program_size": 7}, "regex": "a.*b"}}),
    with_header(string_match={"safe_regex": regex("a"), "ignore_case": True}),
    with_header(safe_regex_match=regex("[")),
    with_match(
        {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"safe_regex": regex("[")}}]}
    ),
    with_action(retry_policy={"retry_back_off": {"base_interval": "1s", "max_interval": "0.5s"}}),
    with_action(retry_policy={"retry_back_off": {"base_interval": "1s", "max_interval": "1s"}}),
    with_action(retry_policy={"retry_on": "bogus,5xx"}),
    with_action(retry_policy={"retriable_headers": [{"name": "x", "safe_regex_match": regex("[")}]}),
    direct(status=200, body={"inline_string": "x" * 4097}),
    direct(status=200, body={"inline_string": "x" * 4096}),
    {**direct(status=200, body={"inline_string": "x" * 11}), "max_direct_response_body_size_bytes": 10},
    direct(status=200, body={"filename": "/nowhere/at/all"}),
    direct(status=200, body={"environment_variable": "OUTRIDER_TEST_NO_SUCH_NAME"}),
    routes({"match": {"prefix": "/"}, "redirect": {"regex_rewrite": substitution("(", "")}}),
    routes({"match": {"prefix": "/"}, "redirect": {"path_rewrite": "%NOPE%"}}),
    routes({"match": {"prefix": "/"}, "redirect": {}}),
]


def envoy_says(config: Config, file: Path) -> str:
    """ "" when Envoy takes the configuration, its words when not."""
    listener = http_listener(10000, [], hcm={"route_config": config})
    file.write_text(json.dumps(bootstrap(9901, [listener], [cluster("one", 1), cluster("two", 2)])))
    command = [str(envoy_binary()), "--mode", "validate", "-c", str(file), "--log-level", "error"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-500:]


def test_refused_by_envoy_means_refused_by_us(tmp_path: Path) -> None:
    files = [tmp_path / f"{index}.json" for index in range(len(CASES))]
    with ThreadPoolExecutor(2) as pool:
        theirs = list(pool.map(envoy_says, CASES, files))
    differences = []
    for config, words in zip(CASES, theirs, strict=True):
        ours = [str(finding) for finding in findings_of(config, KNOWN)]
        if bool(words) != bool(ours):
            differences.append(
                f"{json.dumps(config)[:600]}\n  envoy: {words or 'takes it'}\n  ours:  {ours or 'takes it'}"
            )
    assert not differences, "\n".join(differences)
    assert 20 < sum(map(bool, theirs)) < len(CASES)
