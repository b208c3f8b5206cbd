"""Files of cases: what is taken, and everything that is wrong said at once."""

from __future__ import annotations

import pytest

from proxy.explain.cases import BadCases, read_cases

GOOD = """
tests:
- test_name: one
  input:
    authority: a.com
    path: /x
    random_value: "7"
    additional_request_headers: [{key: X-A, value: 1}]
  validate:
    cluster_name: ""
    status: 200
    request_header_matches: [{name: x-a, exact_match: "1"}]
    response_header_fields: [{key: x-none, value: ""}]
"""


def test_a_case_is_read():
    (case,), config = read_cases(GOOD, "cases.yaml")
    assert (case.name, case.authority, case.path, case.method) == ("one", "a.com", "/x", "GET")
    assert (case.random_value, case.request_headers) == (7, [("X-A", "1")])
    assert case.expected == {"cluster_name": "", "status": 200}
    assert [check.where for check in case.headers] == ["request", "response"]
    assert config == ""


def test_a_file_may_name_its_configuration():
    assert read_cases(GOOD + "config: ../envoy.yaml", "cases.yaml").config == "../envoy.yaml"


def test_the_old_form_is_a_list():
    text = '[{"test_name": "one", "input": {":authority": "a", ":path": "/"}, "validate": {"cluster_name": "c"}}]'
    (case,), _ = read_cases(text, "cases.json")
    assert (case.authority, case.path) == ("a", "/")


BAD = {
    "config: [a]\ntests: [{test_name: x, input: {authority: a, path: /}, validate: {status: 1}}]": (
        "config: must be a text"
    ),
    "tests: []": "tests: must be a list with at least one test",
    "testz: []": 'testz: is not known; did you mean "tests"?',
    "tests: [{test_name: x, input: {authority: a, path: /}, validate: {}}]": "tests[0].validate: must demand something",
    "tests: [{input: {authority: a, path: /}, validate: {status: 1}}]": "tests[0].test_name: must be a text",
    "tests: [{test_name: x, input: {path: /}, validate: {status: 1}}]": "tests[0].input.authority: is needed",
    "tests: [{test_name: x, input: {authority: a, path: /, sssl: true}, validate: {status: 1}}]": (
        'tests[0].input.sssl: is not known; did you mean "ssl"?'
    ),
    "tests: [{test_name: x, input: {authority: a, path: /, ssl: 1}, validate: {status: 1}}]": (
        "tests[0].input.ssl: must be true or false"
    ),
    "tests: [{test_name: x, input: {authority: a, path: '/ x'}, validate: {status: 1}}]": (
        "tests[0].input.path: holds blanks or control characters"
    ),
    "tests: [{test_name: x, input: {authority: a, path: /}, validate: {cluster: c}}]": (
        'tests[0].validate.cluster: is not known; did you mean "cluster_name"?'
    ),
    "tests: [{test_name: x, input: {authority: a, path: /}, validate: {status: ok}}]": (
        "tests[0].validate.status: must be a whole number"
    ),
    "runtime: {a: b}\ntests: [{test_name: x, input: {authority: a, path: /}, validate: {status: 1}}]": (
        "runtime: runtime values for all tests are not supported"
    ),
}


@pytest.mark.parametrize(("text", "problem"), BAD.items())
def test_what_is_wrong_is_named(text, problem):
    with pytest.raises(BadCases) as caught:
        read_cases(text, "c.yaml")
    assert f"c.yaml: {problem}" in caught.value.problems


@pytest.mark.parametrize("inner", ["{nmae: x}", "{name: x, safe_regex_match: {regex: '('}}", "[]", "{}"])
def test_a_bad_matcher_is_a_problem(inner):
    text = (
        "tests: [{test_name: x, input: {authority: a, path: /}, "
        f"validate: {{response_header_matches: [{inner}]}}}}]"
    )
    with pytest.raises(BadCases) as caught:
        read_cases(text, "c.yaml")
    assert all("tests[0].validate.response_header_matches[0]" in one for one in caught.value.problems)


@pytest.mark.parametrize("text", ["{", "a: [", "\t", "a: b: c"])
def test_broken_text_has_its_line(text):
    with pytest.raises(BadCases) as caught:
        read_cases(text, "c.yaml")
    assert caught.value.problems[0].startswith("c.yaml:")
