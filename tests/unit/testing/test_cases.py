"""Files of cases as pytest's tests: found, run, and told of when they fail.

Each inner run is a process: one within ours would forget the modules that it imports, and leave two of each behind.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.config import address, bootstrap, cluster, http_listener, route_to, virtual_host

pytest_plugins = ["pytester"]

CASES = """
tests:
- test_name: users
  input: {authority: shop.example, path: /users/7}
  validate: {cluster_name: users, status: 200}
- test_name: the rest
  input: {authority: shop.example, path: /}
  validate: {cluster_name: shop}
"""
WRONG = CASES.replace("cluster_name: shop", "cluster_name: users")


def shop(*more_listeners: str) -> str:
    """A bootstrap that sends /users to one cluster and the rest to another."""
    host = virtual_host([route_to("users", "/users"), route_to("shop")], name="www")
    listener = http_listener(10000, [host])
    listeners = [listener, *(listener | {"name": name, "address": address(10001)} for name in more_listeners)]
    return json.dumps(bootstrap(9901, listeners, [cluster("users", 8001), cluster("shop", 8002)]))


@pytest.fixture
def conf(pytester: pytest.Pytester) -> Path:
    """The folder ``conf`` of an inner run, with a bootstrap ``shop.json``."""
    folder = pytester.mkdir("conf")
    (folder / "shop.json").write_text(shop())
    return folder


def test_cases_are_tests_and_what_fails_says_what_came_and_why(pytester, conf):
    (conf / "other.yaml").write_text("is: not ours")
    (conf / "good.outrider.yaml").write_text("config: shop.json\n" + CASES)
    (conf / "wrong.outrider.yml").write_text("config: shop.json\n" + WRONG)
    (conf / "alike.outrider.yaml").write_text("config: shop.json\n" + CASES.replace("the rest", "users"))
    (conf / "two.json").write_text(shop("second"))
    (conf / "two.outrider.json").write_text(
        json.dumps(
            {
                "config": "two.json",
                "tests": [
                    {
                        "test_name": "which",
                        "input": {"authority": "a", "path": "/"},
                        "validate": {"status": 200},
                    }
                ],
            }
        )
    )
    (conf / "bad.yaml").write_text("static_resources:\n  clusters:\n  - name: a\n    connect_timout: 1s\n")
    (conf / "bad.outrider.yaml").write_text("config: bad.yaml\n" + CASES)
    (conf / "shape.outrider.yaml").write_text("config: shop.json\ntests: [{test_name: a}]")
    (conf / "text.outrider.yaml").write_text("config: shop.json\ntests: {")
    (conf / "which.outrider.yaml").write_text(CASES)
    done = pytester.runpytest_subprocess("-v", "--continue-on-collection-errors")
    done.assert_outcomes(passed=5, failed=4, errors=3)
    lines = done.stdout.fnmatch_lines
    lines(["*ERROR collecting conf/shape.*", "conf/shape.outrider.yaml: tests?0?.input: must be a mapping"])
    lines(["*ERROR collecting conf/text.*", "conf/text.outrider.yaml:*"])
    lines(['conf/which.outrider.yaml: names no "config", and the ini file no outrider_config'])
    lines(["conf/alike.outrider.yaml::users PASSED*", "conf/alike.outrider.yaml::users?2? PASSED*"])
    lines(["conf/good.outrider.yaml::users PASSED*", "conf/good.outrider.yaml::the rest PASSED*"])
    refused = [
        'conf/bad.yaml:4:5: error: static_resources.clusters?0?.connect_timout: *(did you mean "connect_timeout"?)',
        "configuration refused: 1 error",
    ]
    lines(["*_ users _*", *refused, "*_ the rest _*", *refused])
    lines(['input.listener "": name one of the HTTP listeners: front, second'])
    lines(
        [
            "*_ the rest _*",
            'cluster_name: expected "users", got "shop"',
            "request       GET shop.example /",
            "virtual host  www (by [*])",
            'route         #1: prefix "/"',
            '  not #0: wants prefix "/users"*',
            "cluster       shop",
            "FAILED conf/wrong.outrider.yml::the rest - cluster_name: expected*",
        ]
    )
    done.stdout.no_fnmatch_line("*proxy/testing*")  # a traceback would be ours


def test_the_ini_file_names_cases_and_configuration_and_fills_in_variables(pytester, conf, monkeypatch):
    pytester.makeini(
        "[pytest]\noutrider_cases = routes_*.yaml\noutrider_config = conf/shop.json\noutrider_expand_env = true\n"
    )
    monkeypatch.setenv("USERS", "users")
    (conf / "shop.json").write_text(shop().replace('"users"', '"${USERS:-nobody}"'))
    (conf / "shop.outrider.yaml").write_text("not collected")
    folder = pytester.mkdir("checks")
    (folder / "routes_shop.yaml").write_text(CASES)
    (folder / "routes_own.yaml").write_text("config: missing.json\n" + CASES)
    monkeypatch.chdir(folder)
    done = pytester.runpytest_subprocess()
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["missing.json: cannot be read: No such file or directory"])
