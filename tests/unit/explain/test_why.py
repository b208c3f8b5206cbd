"""The words for each condition, and that a table's settings are kept."""

from __future__ import annotations

import pytest

from proxy.api.pool import new_message
from proxy.explain.why import Examiner, describe, parts
from tests.unit.router.tables import ROUTES, reader_of, request

SAYINGS = [
    ({"prefix": "/a"}, ['prefix "/a"']),
    ({"path": "/a", "case_sensitive": False}, ['path "/a", in any case']),
    ({"safe_regex": {"regex": "/x.*"}}, ['safe_regex "/x.*"']),
    ({"prefix": "/", "grpc": {}}, ['prefix "/"', "a gRPC request"]),
    ({"prefix": "/", "headers": [{"name": "x"}]}, ['prefix "/"', "header x present"]),
    (
        {"prefix": "/", "headers": [{"name": "x", "present_match": True, "invert_match": True}]},
        ['prefix "/"', "header x absent"],
    ),
    (
        {"prefix": "/", "headers": [{"name": "x", "string_match": {"exact": "b", "ignore_case": True}}]},
        ['prefix "/"', 'header x exact "b", in any case'],
    ),
    (
        {"prefix": "/", "headers": [{"name": "x", "range_match": {"start": 1, "end": 3}}]},
        ['prefix "/"', "header x in [1, 3)"],
    ),
    (
        {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"prefix": "v"}}, {"name": "r"}]},
        ['prefix "/"', 'query parameter q prefix "v"', "query parameter r present"],
    ),
    (
        {
            "prefix": "/",
            "runtime_fraction": {"default_value": {"numerator": 5, "denominator": "TEN_THOUSAND"}},
        },
        ['prefix "/"', "a draw below 0.05%"],
    ),
    # No words of its own: shown as written, never passed over.
    ({"prefix": "/", "tls_context": {"presented": True}}, ['prefix "/"', 'tls_context {"presented":true}']),
]


@pytest.mark.parametrize(("match", "words"), SAYINGS)
def test_every_condition_has_its_words(match, words):
    found = [describe(part) for part in parts(reader_of(f"{ROUTES}.RouteMatch", match).message)]
    assert sorted(found) == sorted(words)
    assert found[0] == words[0]


def examiner(path="/x", fields=(), host="a.com", random=0.0, **table):
    settings = reader_of(f"{ROUTES}.RouteConfiguration", table).message
    return Examiner(settings, request(path, list(fields), host), random, None)


def unmet(match, **asked):
    message = reader_of(f"{ROUTES}.RouteMatch", match).message
    return [(one.says, one.has) for one in examiner(**asked).conditions(message) if not one.holds]


def test_what_is_missing_is_told_with_what_is_there():
    match = {"prefix": "/y", "headers": [{"name": "X-A", "string_match": {"exact": "1"}}, {"name": "x-b"}]}
    assert unmet(match, path="/x?y", fields=[("x-a", "2"), ("x-a", "3"), ("x-b", "")]) == [
        ('prefix "/y"', 'the path is "/x?y"'),
        ('header X-A exact "1"', 'x-a is "2", "3"'),
    ]
    assert unmet({"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]}) == [
        ('header :method exact "PUT"', ':method is "GET"')
    ]
    assert unmet({"prefix": "/", "headers": [{"name": "x"}]}) == [("header x present", "x is absent")]


def test_a_fraction_is_met_by_the_draw():
    match = {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 30}}}
    assert unmet(match, random=0.29) == []
    assert unmet(match, random=0.31) == [("a draw below 30%", "the draw is 31%")]


def test_the_tables_own_settings_hold():
    match = reader_of(f"{ROUTES}.RouteMatch", {"path": "/a/b"}).message
    asked = {"path": "/a;v=1/b"}
    assert not examiner(**asked).matches(match)
    assert examiner(**asked, ignore_path_parameters_in_path_matching=True).matches(match)
    host = new_message(f"{ROUTES}.VirtualHost")
    host.domains.extend(["a.com", "*.com", "b.com", "*"])
    assert examiner(host="a.com").domains(host) == ["a.com", "*.com", "*"]
    assert examiner(host="a.com:80").domains(host) == ["*"]
    assert examiner(host="a.com:80", ignore_port_in_host_matching=True).domains(host) == [
        "a.com",
        "*.com",
        "*",
    ]
