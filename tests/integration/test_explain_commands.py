"""``outrider explain`` and ``outrider test`` as a person, and as CI, runs them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.explaining import outrider
from tests.support.outrider import command
from tests.support.ports import free_port


def config() -> Config:
    """Two listeners; the first has all kinds of routes."""
    users = route_to(
        "users",
        match={"prefix": "/users", "headers": [{"name": "x-v", "string_match": {"exact": "2"}}]},
        prefix_rewrite="/v2",
        host_rewrite_literal="users.internal",
        timeout="3s",
        retry_policy={"retry_on": "5xx", "num_retries": 2, "per_try_timeout": "1s"},
    )
    users |= {"name": "users-v2", "request_headers_to_remove": ["x-secret"]}
    users |= {"request_headers_to_add": [{"header": {"key": "x-via", "value": "outrider"}}]}
    split = {"match": {"prefix": "/split"}, "route": {"weighted_clusters": {"clusters": [
        {"name": "users", "weight": 30}, {"name": "rest", "weight": 70}]}}}  # fmt: skip
    moved = {"match": {"path": "/moved"}, "redirect": {"host_redirect": "b.com", "response_code": "FOUND"}}
    said = {"match": {"path": "/said"}, "direct_response": {"status": 418, "body": {"inline_string": "no"}}}
    hosts = [
        virtual_host([users, split, moved, said, route_to("rest")], ["a.com", "a.com:*"], name="api"),
        virtual_host([route_to("rest", "/only")], ["*.com"], name="others"),
    ]
    listeners = [
        http_listener(18080, hosts),
        http_listener(18081, [virtual_host([route_to("gone.example")])], stat_prefix="second"),
    ]
    gone = {"name": "gone.example", "type": "STRICT_DNS", "load_assignment": {"cluster_name": "g", "endpoints": [
        {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {
            "address": "gone.invalid", "port_value": 81}}}}]}]}}  # fmt: skip
    return bootstrap(free_port(), listeners, [cluster("users", 1, 2), cluster("rest", 3), gone])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "bootstrap.json"
    path.write_text(json.dumps(config()))
    return path


def explained(file: Path, *arguments: str) -> Config:
    found: Config = json.loads(outrider("explain", "-c", file, "-o", "json", *arguments).stdout)
    return found


def test_a_route_and_why_not_the_others(file):
    shown = explained(file, "GET", "http://a.com:18080/users/7?x=1", "-H", "X-V: 2", "-H", "x-secret: s")
    assert shown["listener"]["name"] == "front"
    assert shown["virtual_host"] == {"name": "api", "domains": ["a.com:*"]}
    assert shown["route"] == {
        "index": 0,
        "name": "users-v2",
        "matched": ['prefix "/users"', 'header x-v exact "2"'],
    }
    assert "routes_passed_over" not in shown
    assert shown["cluster"]["name"] == "users"
    assert [host["address"] for host in shown["cluster"]["hosts"]] == ["127.0.0.1:1", "127.0.0.1:2"]
    assert sum(host.get("chosen", False) for host in shown["cluster"]["hosts"]) == 1
    assert shown["timeouts"] == {"route_s": 3.0, "per_try_s": 1.0, "idle_s": 300.0}
    assert shown["retries"]["num_retries"] == 2
    change = shown["upstream_request"]
    assert (change["path"], change["path_was"]) == ("/v2/7?x=1", "/users/7?x=1")
    assert (change["authority"], change["authority_was"]) == ("users.internal", "a.com:18080")
    assert ["x-via", "outrider"] in change["headers_added"]
    assert change["headers_removed"] == [["x-secret", "s"]]
    other = explained(file, "GET", "http://a.com:18080/users/7")
    assert other["route"]["index"] == 4
    assert other["routes_passed_over"][0] == {
        "index": 0,
        "name": "users-v2",
        "path_matches": True,
        "why": ['wants header x-v exact "2", but x-v is absent'],
    }
    assert [one["index"] for one in other["routes_passed_over"]] == [0, 1, 2, 3]


def test_virtual_hosts_that_are_not_it(file):
    shown = explained(file, "GET", "http://a.com/", "--listener", "front")
    assert shown["virtual_host"]["domains"] == ["a.com"]
    (other,) = shown["virtual_hosts_passed_over"]
    assert other == {
        "name": "others",
        "why": '"*.com" is for this authority too, but "a.com" of api goes before it',
    }
    none = explained(file, "GET", "http://x.org/", "--listener", "front")
    assert "virtual_host" not in none
    assert none["result"]["status"] == 404
    no_route = explained(file, "GET", "http://z.com/", "--listener", "front")
    assert no_route["virtual_host"]["name"] == "others"
    assert no_route["routes_passed_over"][0]["why"] == ['wants prefix "/only", but the path is "/"']
    assert no_route["result"]["details"] == "route_not_found"


def test_what_the_proxy_answers_itself(file):
    moved = explained(file, "GET", "http://a.com:18080/moved")
    assert moved["result"]["status"] == 302
    assert ["location", "http://b.com/moved"] in moved["result"]["headers"]
    said = explained(file, "GET", "http://a.com:18080/said")
    assert (said["result"]["status"], said["result"]["body"]) == (418, "no")
    assert "cluster" not in said


def test_weights_and_names(file):
    first = explained(file, "GET", "http://a.com:18080/split")
    assert first["cluster"]["name"] == "users"
    assert [(one["name"], one["share"]) for one in first["cluster"]["weighted"]] == [
        ("users", 0.3),
        ("rest", 0.7),
    ]
    assert explained(file, "GET", "http://a.com:18080/split", "--random", "0.5")["cluster"]["name"] == "rest"
    (host,) = explained(file, "GET", "http://q:18081/")["cluster"]["hosts"]
    assert (host["address"], host["hostname"]) == ("gone.invalid:81", "gone.invalid")


def test_lines_for_people(file):
    out = outrider("explain", "-c", file, "GET", "http://a.com:18080/users/7?x=1").stdout
    assert "virtual host  api (by a.com:*)\n" in out
    assert '  not users-v2 (#0): wants header x-v exact "2", but x-v is absent\n' in out
    assert "  + x-forwarded-proto: http\n" in out


def test_of_a_thousand_routes_only_the_near_ones_are_told(tmp_path):
    far = [route_to("rest", f"/far/{number}") for number in range(1000)]
    near = route_to("rest", match={"prefix": "/x", "headers": [{"name": "x-y"}]})
    many = config()
    many["static_resources"]["listeners"] = [
        http_listener(80, [virtual_host([*far, near, route_to("rest", "/x")])])
    ]
    path = tmp_path / "many.json"
    path.write_text(json.dumps(many))
    lines = outrider("explain", "-c", path, "GET", "http://a/x").stdout.splitlines()
    assert [line for line in lines if line.startswith("  not ")] == [
        "  not #1000: wants header x-y present, but x-y is absent",
        "  not 1000 more, nearly all for other paths (-o json has them)",
    ]
    assert len(explained(path, "GET", "http://a/x")["routes_passed_over"]) == 1001


def test_time_passes_for_tries_and_their_waiting(file, tmp_path):
    """The host answers 503 to every try; what comes of it is what comes of it on the wire."""
    cases = tmp_path / "cases.yaml"
    cases.write_text("""
tests:
- test_name: every try fails
  input:
    authority: a.com
    path: /users/1
    listener: front
    response_status: 503
    additional_request_headers: [{key: x-v, value: "2"}]
    additional_response_headers: [{key: x-said, value: "no"}]
  validate:
    status: 503
    details: via_upstream
    response_header_matches: [{name: x-said, exact_match: "no"}]
""")
    assert "1 passed" in outrider("test", "-c", file, cases).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["GET", "http://a.com/"], 2, "name the listener with --listener; there are: front"),
        (["GET", "http://a.com/", "--listener", "x"], 2, "there is no HTTP listener 'x'"),
        (["GET", "a.com"], 2, "is not of the form http://host/path"),
        (["GET", "http://a.com:x/"], 2, "has no valid port"),
        (["GET", "http://a.com:18080/", "-H", "x"], 2, "is not of the form 'name: value'"),
        (
            ["GET", "http://a.com:18080/", "--admin", "http://127.0.0.1:1"],
            2,
            "name either -c FILE or --admin URL",
        ),
    ],
)
def test_what_cannot_be_asked(file, arguments, code, words):
    assert words in outrider("explain", "-c", file, *arguments, code=code).stderr


def test_a_refused_configuration_is_refused(tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("static_resources: {clusters: [{name: a, dns_jitter: soon}]}")
    done = outrider("explain", "-c", bad, "GET", "http://a/", code=1)
    assert "bad.yaml:1:" in done.stderr


# -- outrider test ---------------------------------------------------------------------------------------------------

CASES = """
tests:
- test_name: users
  input:
    authority: a.com
    path: /users/1
    listener: front
    additional_request_headers: [{key: x-v, value: "2"}]
  validate:
    cluster_name: users
    virtual_host_name: api
    virtual_cluster_name: ""
    path_rewrite: /v2/1
    host_rewrite: users.internal
    timeout: 3s
    route_name: users-v2
    request_header_matches: [{name: x-via, string_match: {exact: outrider}}]
- test_name: thirty
  input: {authority: a.com, path: /split, listener: front, random_value: 129}
  validate: {cluster_name: users}
- test_name: thirty-one
  input: {authority: a.com, path: /split, listener: front, random_value: 130}
  validate: {cluster_name: rest}
- test_name: moved
  input: {authority: a.com, path: /moved, listener: front, ssl: true}
  validate: {path_redirect: "https://b.com/moved", code_redirect: 302, cluster_name: "", status: 302}
- test_name: said
  input: {authority: a.com, path: /said, listener: front}
  validate: {code_redirect: 418, response_body: "no", path_redirect: "http://a.com/said"}
- test_name: nowhere
  input: {authority: a.org, path: /, listener: front}
  validate: {cluster_name: "", virtual_host_name: "", status: 404, details: route_not_found}
"""


def test_good_cases_pass_and_say_what_they_cover(file, tmp_path):
    cases = tmp_path / "cases.yaml"
    cases.write_text(CASES)
    done = outrider("test", "-c", file, cases)
    assert done.stdout.splitlines() == [
        "6 tests: 6 passed, 0 failed",
        "routes covered: 4 of 7 (57.1%)",
        "  not covered: front > api > #4",
        "  not covered: front > others > #0",
        "  not covered: second > all > #0",
    ]
    outrider("test", "-c", file, "-t", cases, "--fail-under", "57")
    assert "is under 58%" in outrider("test", "-c", file, cases, "-f", "58", code=1).stderr


def test_cases_may_name_their_configuration(file, tmp_path):
    """Relative to their file; -c goes before it."""
    cases = tmp_path / "cases" / "front.yaml"
    cases.parent.mkdir()
    cases.write_text(CASES)
    assert "or as config in" in outrider("test", cases, code=2).stderr
    cases.write_text(f"config: ../{file.name}\n{CASES}")
    assert (tmp_path / file.name).exists()
    assert "6 tests: 6 passed, 0 failed" in outrider("test", cases).stdout
    cases.write_text(f"config: missing.yaml\n{CASES}")
    assert "missing.yaml" in outrider("test", cases, code=2).stderr
    assert "6 passed" in outrider("test", "-c", file, cases).stdout


def test_a_failure_says_what_came_instead(file, tmp_path):
    cases = tmp_path / "cases.yaml"
    cases.write_text(
        CASES.replace("cluster_name: rest", "cluster_name: users").replace("timeout: 3s", "timeout: 4s")
    )
    done = outrider("test", "-c", file, cases, code=1)
    assert (
        'FAIL  users  (front > api > users-v2 (#0))\n      timeout: expected "4s", got "3s"\n' in done.stdout
    )
    assert '      cluster_name: expected "users", got "rest"\n' in done.stdout
    assert "6 tests: 4 passed, 2 failed" in done.stdout
    told = json.loads(outrider("test", "-c", file, cases, "--format", "json", code=1).stdout)
    assert [one["name"] for one in told["tests"] if not one["passed"]] == ["users", "thirty-one"]
    suite = ElementTree.fromstring(outrider("test", "-c", file, cases, "--format", "junit", code=1).stdout)
    assert (suite.get("tests"), suite.get("failures")) == ("6", "2")
    assert [one.get("name") for one in suite if len(one)] == ["users", "thirty-one"]


def test_a_listener_must_be_known(file, tmp_path):
    cases = tmp_path / "cases.yaml"
    cases.write_text(CASES.replace("listener: front", "listener: frnt", 1))
    assert (
        "name one of the HTTP listeners: front, second" in outrider("test", "-c", file, cases, code=1).stdout
    )


ROUTES = """
virtual_hosts:
- name: www
  domains: [www.example.com]
  require_tls: EXTERNAL_ONLY
  routes:
  - match: {prefix: /half, runtime_fraction: {default_value: {numerator: 50}, runtime_key: half}}
    route: {cluster: half}
  - match: {prefix: /by-header}
    route: {cluster_header: x-cluster}
  - match: {prefix: /}
    route: {cluster: all}
  virtual_clusters:
  - {name: posts, headers: [{name: ":method", exact_match: POST}]}
"""
ROUTE_CASES = """
tests:
- test_name: a plain client is sent to https
  input: {authority: www.example.com, path: /x}
  validate: {path_redirect: "https://www.example.com/x", code_redirect: 301}
- test_name: an internal one is not
  input: {authority: www.example.com, path: /x, internal: true}
  validate: {path_redirect: "", cluster_name: all, virtual_cluster_name: other}
- test_name: virtual clusters
  input: {authority: www.example.com, path: /x, ssl: true, method: POST}
  validate: {virtual_cluster_name: posts}
- test_name: below the fraction
  input: {authority: www.example.com, path: /half, ssl: true, random_value: 149, runtime: half}
  validate: {cluster_name: half}
- test_name: above it
  input: {authority: www.example.com, path: /half, ssl: true, random_value: 50, runtime: half}
  validate: {cluster_name: all}
- test_name: another runtime key
  input: {authority: www.example.com, path: /half, ssl: true, runtime: other}
  validate: {cluster_name: all}
- test_name: named by a header
  input:
    authority: www.example.com
    path: /by-header
    ssl: true
    additional_request_headers: [{key: x-cluster, value: mine}]
  validate: {cluster_name: mine, path_rewrite: /by-header}
"""


def test_router_check_tools_two_files(tmp_path):
    (tmp_path / "routes.yaml").write_text(ROUTES)
    (tmp_path / "cases.yaml").write_text(ROUTE_CASES)
    done = outrider("test", "-c", tmp_path / "routes.yaml", "-t", tmp_path / "cases.yaml", "-d")
    assert "7 tests: 7 passed, 0 failed\nroutes covered: 3 of 3 (100.0%)\n" in done.stdout
    assert "ok    above it  (routes > www > #2)\n" in done.stdout


def test_nothing_to_test_is_code_2(file, tmp_path):
    bad = tmp_path / "cases.yaml"
    bad.write_text("tests: [{test_name: x, input: {authority: a}, validate: {}}]")
    done = outrider("test", "-c", file, bad, code=2)
    assert "tests[0].input.path: is needed" in done.stderr
    assert "must demand something" in done.stderr
    assert "cannot be read" in outrider("test", "-c", file, tmp_path / "none.yaml", code=2).stderr
    outrider("test", "-c", tmp_path / "none.yaml", bad, code=2)


# -- looking at running proxies, and comparing -----------------------------------------------------------------------


def test_diff_has_the_exit_codes_of_diff(file, tmp_path):
    assert outrider("diff", file, file).stdout == ""
    changed = config()
    changed["static_resources"]["clusters"].pop()
    changed["admin"] = json.loads(file.read_text())["admin"]
    other = tmp_path / "other.yaml"
    other.write_text(json.dumps(changed))
    (line,) = outrider("diff", file, other, code=1).stdout.splitlines()
    assert line.startswith('- cluster gone.example: {"name":"gone.example","type":"STRICT_DNS"')
    assert outrider("diff", "-q", file, other, code=1).stdout == ""
    (told,) = json.loads(outrider("diff", file, other, "-o", "json", code=1).stdout)
    assert (told["resource"], told["kind"], told["new"]) == ("cluster gone.example", "removed", None)
    broken = tmp_path / "broken.yaml"
    broken.write_text("static_resources: {clusters: [{nmae: a}]}")
    assert "broken.yaml:1:" in outrider("diff", file, broken, code=2).stderr
    assert "cannot be read" in outrider("diff", file, tmp_path / "none", code=2).stderr


MALFORMED = [
    "[]",
    "{}",
    '{"configs": 1}',
    '{"configs": [1]}',
    '{"configs": [{"@type": "x.ClustersConfigDump", "static_clusters": [{"cluster": 1}]}]}',
    '{"configs": [{"@type": "x.ListenersConfigDump", "static_listeners": 7}]}',
    '{"configs": [{"@type": "x.RoutesConfigDump", "static_route_configs": [{"route_config": {"virtual_hosts": 1}}]}]}',
    '{"configs": [{"@type": "x.BootstrapConfigDump", "bootstrap": []}]}',
    "{",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_dump_of_another_shape_is_no_traceback(tmp_path, text):
    from click.testing import CliRunner

    from proxy.cli.config_dump import command as config_dump
    from proxy.cli.diff import command as diff
    from proxy.cli.proxy_config import KINDS
    from proxy.cli.proxy_config import command as proxy_config

    saved = tmp_path / "dump.json"
    saved.write_text(text)
    asked = [CliRunner().invoke(proxy_config, [kind, str(saved)]) for kind in KINDS]
    asked.append(CliRunner().invoke(config_dump, [str(saved), "-o", "short"]))
    asked.append(CliRunner().invoke(diff, [str(saved), str(saved)]))
    assert all(type(done.exception) in (type(None), SystemExit) for done in asked)
    assert any(done.exit_code == 2 and str(saved) in done.stderr for done in asked)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", 'is no /config_dump: it has no list "configs"'),
        ("admin: {}", "it looks like a bootstrap"),
        ('{"static_resources": {}}', "it looks like a bootstrap"),
        ("a: [", "is neither JSON nor YAML"),
        ("", "is no JSON"),
        ("{", "is no JSON"),
    ],
)
@pytest.mark.parametrize("form", ["short", "json", "yaml"])
def test_what_is_no_dump_is_not_shown_as_one(tmp_path, text, words, form):
    saved = tmp_path / "dump.yaml"
    saved.write_text(text)
    assert words in outrider("config-dump", saved, "-o", form, code=2).stderr


def test_nobody_there(file):
    nobody = f"http://127.0.0.1:{free_port()}"
    for arguments in (["proxy-config", "clusters", nobody], ["config-dump", nobody], ["diff", file, nobody]):
        assert nobody in outrider(*arguments, code=2).stderr
    assert nobody in outrider("explain", "--admin", nobody, "GET", "http://a/", code=2).stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["proxy-config", "things"], "'things' is not one of"),
        (["proxy-config", "routes", "--port", "80"], "--port means nothing for routes"),
        (["proxy-config", "clusters", "--port", "80", "-o", "json"], "--port is for -o short"),
        (["proxy-config", "clusters", "ftp://x"], "cannot be read"),
        (["proxy-config", "clusters", "https://x"], "an admin interface is http://host:port"),
        (["config-dump", "http://[::1:99"], "Invalid IPv6 URL"),
    ],
)
def test_what_cannot_be_shown(arguments, words):
    assert words in outrider(*arguments, code=2).stderr


@pytest.mark.parametrize("verb", ["explain", "test", "diff", "proxy-config", "config-dump"])
def test_every_command_is_there_for_a_shell(verb, file, tmp_path):
    """The others run in this process; here the real one, to its exit code."""
    (tmp_path / "cases.yaml").write_text(CASES)
    saved = tmp_path / "dump.json"
    saved.write_text('{"configs": []}')
    arguments = {
        "explain": ["-c", file, "GET", "http://a.com:18080/users"],
        "test": ["-c", file, tmp_path / "cases.yaml"],
        "diff": [file, file],
        "proxy-config": ["clusters", saved],
        "config-dump": [saved],
    }[verb]
    argv, home = command(os.environ.get("OUTRIDER_NATIVE") == "1")
    done = subprocess.run(
        [*argv, verb, *map(str, arguments)],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout or verb == "diff"


def test_variables_are_put_in_when_asked(tmp_path, monkeypatch):
    text = json.dumps(config()).replace('"a.com"', '"${SITE:-a.com}"')
    path, plain = tmp_path / "variables.json", tmp_path / "plain.json"
    path.write_text(text)
    plain.write_text(text.replace("${SITE:-a.com}", "b.com"))
    monkeypatch.setenv("SITE", "b.com")
    asked = ("GET", "http://b.com/", "--listener", "front")
    assert explained(path, *asked)["virtual_host"]["name"] == "others"
    assert explained(path, *asked, "--expand-env")["virtual_host"]["name"] == "api"
    assert outrider("diff", "--expand-env", path, plain).stdout == ""
    assert "${SITE:-a.com}" in outrider("diff", path, plain, code=1).stdout
    cases = tmp_path / "cases.yaml"
    cases.write_text("""
tests:
- {test_name: x, input: {authority: b.com, path: /said, listener: front}, validate: {status: 418}}
""")
    outrider("test", "-c", path, cases, "--expand-env")
    outrider("test", "-c", path, cases, code=1)
