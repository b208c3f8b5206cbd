"""Mistakes that people make in an envoy.yaml, and the one line that each of them gets: where, what, and what instead.

Where the real Envoy is installed, it has to agree on whether the file can be used.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.cli.main import main
from tests.support.envoy import ENVOY_MISSING, envoy_binary

ROOT = Path(__file__).resolve().parents[2]
#: as the generated page has them
HTTP_FILTERS = ", ".join(
    sorted(
        set(re.findall(r"(?m)^\| `(envoy\.filters\.http\.\w+)` ", (ROOT / "docs" / "support.md").read_text()))
    )
)
GOOD = """\
admin:
  address:
    socket_address: {address: 127.0.0.1, port_value: 9901}
static_resources:
  listeners:
  - name: front
    address:
      socket_address:
        address: 127.0.0.1
        port_value: 10000
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match:
                  prefix: /
                route:
                  cluster: back
                  timeout: 5s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: back
    type: STRICT_DNS
    connect_timeout: 1s
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: back
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: back.example
                port_value: 80
"""
HCM = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
ROUTE = f"{HCM}.route_config.virtual_hosts[0].routes[0]"
CLUSTER = "static_resources.clusters[0]"
ENDPOINT = f"{CLUSTER}.load_assignment.endpoints[0].lb_endpoints[0].endpoint"
ROUTER_TYPE = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@dataclass
class Mistake:
    """old → new: the change in GOOD; text: instead of GOOD; said: the message, or how it begins, "" when it is accepted;
    place: "line:column" or ""; envoy: whether Envoy refuses it as well, None when Envoy is not asked"""

    said: str
    old: str = ""
    new: str = ""
    place: str = ""
    path: str = ""
    text: str | None = None
    kind: str = "error"
    envoy: bool | None = True
    suffix: str = ".yaml"

    def content(self) -> str:
        if self.text is not None:
            return self.text
        assert self.old in GOOD
        return GOOD.replace(self.old, self.new, 1)


def part(begin: str, end: str) -> str:
    """GOOD from one text up to another."""
    return GOOD[GOOD.index(begin) : GOOD.index(end)]


def broken(said: str, place: str, old: str, new: str) -> Mistake:
    return Mistake(f"is no valid YAML: {said}", old, new, place)


def bad_timeout(new: str, shown: str) -> Mistake:
    said = f'expects a duration in seconds such as "1.5s", not {shown}'
    return Mistake(said, "timeout: 5s", f"timeout: {new}", "26:19", f"{ROUTE}.route.timeout")


MISTAKES = {
    "a typo in a field": Mistake(
        'is no field of envoy.config.cluster.v3.Cluster (did you mean "connect_timeout"?)',
        *("connect_timeout", "conect_timeout", "34:5", f"{CLUSTER}.conect_timeout"),
    ),
    "a typo in a field that must be there": Mistake(
        "is no field of envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager "
        '(did you mean "stat_prefix"?)',
        *("stat_prefix", "stat_prefx", "16:11", f"{HCM}.stat_prefx"),
    ),
    "a typo at the top": Mistake(
        'is no field of envoy.config.bootstrap.v3.Bootstrap (did you mean "static_resources"?)',
        *("static_resources", "static_resorces", "4:1", "static_resorces"),
    ),
    "a mapping where a list of clusters is expected": Mistake(
        "is no field of envoy.config.cluster.v3.Cluster",
        *("  - name: back\n    type", "    back:\n      name: back\n    type", "32:5", f"{CLUSTER}.back"),
    ),
    "a text where routes are expected": Mistake(
        'expects an object, not "/"',
        *(part("              routes:", "          http_filters"), "              routes: /\n"),
        *("21:15", ROUTE),
    ),
    "wrong indentation": broken(
        *("mapping values are not allowed in this context", "34:21"),
        *("    connect_timeout", "     connect_timeout"),
    ),
    "a tab": broken(
        *("while scanning a plain scalar that begins at 33:11; found a tab character that violates", "34:1"),
        *("    connect_timeout", "\tconnect_timeout"),
    ),
    "a brace that is not closed": broken(
        *("while parsing a flow mapping that begins at 3:21; did not find expected ',' or '}'", "4:17"),
        *("9901}", "9901"),
    ),
    "a colon forgotten": broken(
        *("while scanning a simple key that begins at 16:11; could not find expected ':'", "17:11"),
        *("stat_prefix: front", "stat_prefix front"),
    ),
    "a control character": broken(
        "control characters are not allowed", "16:26", "front\n          r", "fr\0\n          r"
    ),
    "a port with a letter": Mistake(
        'expects a whole number, not "8080x"',
        *(
            "port_value: 80\n",
            "port_value: 8080x\n",
            "44:17",
            f"{ENDPOINT}.address.socket_address.port_value",
        ),
    ),
    "a port that is none": Mistake(
        "must be at most 65535, not 80800",
        *(
            "port_value: 80\n",
            "port_value: 80800\n",
            "44:17",
            f"{ENDPOINT}.address.socket_address.port_value",
        ),
    ),
    "no port": Mistake(
        "needs one of port_value, named_port",
        *("                port_value: 80\n", "", "42:15", f"{ENDPOINT}.address.socket_address"),
    ),
    "a configuration without its type": Mistake(
        'has no "@type": Envoy v3 takes extensions by the type of their configuration only',
        *(
            f'"@type": {ROUTER_TYPE}',
            "suppress_envoy_headers: true",
            "29:13",
            f"{HCM}.http_filters[0].typed_config",
        ),
    ),
    "a filter by its name only": Mistake(
        'is missing: a filter is chosen by its "@type", not by its name',
        *(f'            typed_config:\n              "@type": {ROUTER_TYPE}\n', "", "28:13"),
        f"{HCM}.http_filters[0].typed_config",
    ),
    "a connection manager by its name only": Mistake(
        'is missing: a filter is chosen by its "@type", not by its name',
        *(part("        typed_config:", "  clusters:"), "", "13:9", HCM),
    ),
    "a type of the v2 API": Mistake(
        "names a type that Envoy 1.40 without contrib extensions does not have: "
        '"envoy.extensions.filters.http.router.v2.Router"',
        *("router.v3.Router", "router.v2.Router", "30:15", f'{HCM}.http_filters[0].typed_config["@type"]'),
    ),
    "a type without its prefix": Mistake(
        f'is no type URL: "{ROUTER_TYPE[20:]}" has no "/" (did you mean "{ROUTER_TYPE}"?)',
        *(ROUTER_TYPE, ROUTER_TYPE[20:], "30:15", f'{HCM}.http_filters[0].typed_config["@type"]'),
    ),
    "a field of the v2 API": Mistake(
        "is no field of envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter "
        '(of the v2 API: now "typed_config")',
        *(f'            typed_config:\n              "@type": {ROUTER_TYPE}\n', "            config: {}\n"),
        *("29:13", f"{HCM}.http_filters[0].config"),
    ),
    "a filter that is not supported": Mistake(
        f"HTTP filter envoy.extensions.filters.http.cors.v3.Cors is not supported; supported: {HTTP_FILTERS}",
        *("          - name: envoy.filters.http.router\n",),
        "          - name: cors\n            typed_config:\n"
        '              "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors\n'
        "          - name: envoy.filters.http.router\n",
        *("28:13", f"{HCM}.http_filters[0]"),
        kind="unsupported",
        envoy=False,
    ),
    "no filters": Mistake(
        "without http_filters no request is answered; the last one is envoy.filters.http.router",
        *(part("          http_filters:", "  clusters:"), "", "14:9", HCM),
        kind="unsupported",
        envoy=False,
    ),
    "two clusters of one name": Mistake(
        'there is a cluster "back" already',
        text=GOOD + "  - name: back\n    type: STATIC\n",
        place="45:5",
        path="static_resources.clusters[1].name",
    ),
    "two listeners of one name": Mistake(
        'there is a listener "front" already; Envoy would pass over this one',
        *("  clusters:", part("  - name: front", "  clusters:") + "  clusters:"),
        *("31:5", "static_resources.listeners[1].name"),
        kind="unsupported",
        envoy=False,
    ),
    "a route to a cluster that is not there": Mistake(
        "unknown cluster 'bakc' (did you mean \"back\"?)",
        *("  cluster: back", "  cluster: bakc", "25:19", f"{ROUTE}.route.cluster"),
    ),
    "a policy that does not exist": Mistake(
        'has no value "ROUND_ROBBIN" (did you mean "ROUND_ROBIN"?); one of ROUND_ROBIN, LEAST_REQUEST, ',
        *("ROUND_ROBIN", "ROUND_ROBBIN", "35:5", f"{CLUSTER}.lb_policy"),
    ),
    "a policy that is not supported": Mistake(
        "MAGLEV is not supported yet; ROUND_ROBIN, LEAST_REQUEST and RANDOM are",
        *("ROUND_ROBIN", "MAGLEV", "35:5", f"{CLUSTER}.lb_policy"),
        kind="unsupported",
        envoy=False,
    ),
    "a regex that is none": Mistake(
        "missing ): /a(b",
        *("prefix: /\n", 'safe_regex: {regex: "/a(b"}\n', "23:32", f"{ROUTE}.match.safe_regex.regex"),
    ),
    "no routes": Mistake(
        "needs one of rds, route_config, scoped_routes",
        *(part("          route_config:", "          http_filters:"), "", "14:9", HCM),
    ),
    "a route without a match": Mistake(
        "must be set",
        *(
            "- match:\n                  prefix: /\n                route:",
            "- route:",
            "22:17",
            f"{ROUTE}.match",
        ),
    ),
    "a route without an action": Mistake(
        "needs one of route, redirect, direct_response, filter_action, non_forwarding_action",
        *(part("                route:", "          http_filters:"), "", "22:17", ROUTE),
    ),
    "two matches in one": Mistake(
        "cannot be set together with another member of its oneof path_specifier",
        *("prefix: /\n", "prefix: /\n                  path: /x\n", "24:19", f"{ROUTE}.match.path"),
    ),
    "two virtual hosts for everything": Mistake(
        "only a single wildcard domain is permitted in route",
        *('["*"]', '["*", "*"]', "20:30", f"{HCM}.route_config.virtual_hosts[0].domains[1]"),
    ),
    "a timeout without a unit": bad_timeout("5", "5"),
    "a timeout in minutes": bad_timeout("5m", '"5m"'),
    "a timeout in milliseconds": bad_timeout("500ms", '"500ms"'),
    "a negative timeout": Mistake(
        "must not be negative", "timeout: 5s", "timeout: -5s", "26:19", f"{ROUTE}.route.timeout"
    ),
    "a negative connect timeout": Mistake(
        "must be longer than 0s, not -1s",
        *("connect_timeout: 1s", "connect_timeout: -1s", "34:5", f"{CLUSTER}.connect_timeout"),
    ),
    "a number for a name": Mistake(
        "expects a text, not 7: put it in quotes", "name: back\n", "name: 7\n", "32:5", f"{CLUSTER}.name"
    ),
    "a word for a bool": Mistake(
        'expects true or false, not "maybe"',
        *("stat_prefix: front", "stat_prefix: front\n          use_remote_address: maybe"),
        *("17:11", f"{HCM}.use_remote_address"),
    ),
    "a name to listen on": Mistake(
        '"localhost" is not an IP address; a listener needs one',
        *("address: 127.0.0.1\n        port", "address: localhost\n        port", "9:9"),
        "static_resources.listeners[0].address.socket_address.address",
    ),
    "a name for the admin interface": Mistake(
        '"localhost" is not an IP address; the admin interface needs one',
        *("{address: 127.0.0.1", "{address: localhost", "3:22", "admin.address.socket_address.address"),
    ),
    "a name in a STATIC cluster": Mistake(
        '"back.example" is not an IP address; only STRICT_DNS and LOGICAL_DNS clusters resolve names',
        *("STRICT_DNS", "STATIC", "43:17", f"{ENDPOINT}.address.socket_address.address"),
    ),
    "an operator that does not exist": Mistake(
        "Not supported field in StreamInfo: NOPE",
        *(
            "timeout: 5s\n",
            'timeout: 5s\n                request_headers_to_add: [{header: {key: x, value: "%NOPE%"}}]\n',
        ),
        *("27:60", f"{ROUTE}.request_headers_to_add[0].header.value"),
    ),
    "an empty file": Mistake("is empty", text=""),
    "nothing but a comment": Mistake("is empty", text="# later\n"),
    "a word": Mistake('expects an object, not "hello"', text="hello\n", place="1:1"),
    "a list": Mistake("expects an object, not a list", text="- a\n", place="1:1"),
    "JSON that ends early": Mistake("ends too early", text='{"admin": ', place="1:11", suffix=".json"),
    "lists in lists": Mistake("is nested deeper than 100 levels", text="a: " + "[" * 20_000, place="1:103"),
    "mappings in mappings": Mistake(
        "is nested deeper than 100 levels",
        text="\n".join(" " * depth + "node:" for depth in range(3000)),
        place="101:101",
    ),
    "a bomb of aliases": Mistake(  # the real Envoy reads it for minutes
        "grows too large through its aliases",
        text="a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n"
            for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
        ),
        place="6:26",
        envoy=None,
    ),
    "an alias of itself": Mistake(
        "alias *a refers to itself", text="node: &a {id: *a}\n", place="1:15", envoy=None
    ),
}

LINE = re.compile(r"(?P<place>\d+:\d+|): (?P<kind>[a-z]+): (?:(?P<path>\S+): )?(?P<message>.*)")


def findings(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines of standard error after the file's name."""
    begun = time.monotonic()
    code = main(["validate", "-c", str(file)])
    assert time.monotonic() - begun < 10
    lines = capsys.readouterr().err.splitlines()
    if code:
        assert re.fullmatch(r"configuration refused: \d+ errors?", lines.pop())
    assert all(line.startswith(str(file)) for line in lines), lines
    return code, [line.removeprefix(str(file)) for line in lines]


def write(folder: Path, content: str | bytes, suffix: str = ".yaml") -> Path:
    file = folder / f"envoy{suffix}"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mistake = MISTAKES[name]
    code, lines = findings(write(tmp_path, mistake.content(), mistake.suffix), capsys)
    assert code == 1
    assert len(lines) == 1, lines
    place = f":{mistake.place}" if mistake.place else ""
    path = f"{mistake.path}: " if mistake.path else ""
    assert lines[0].startswith(f"{place}: {mistake.kind}: {path}{mistake.said}"), lines[0]


def test_without_mistakes_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(write(tmp_path, GOOD), capsys) == (0, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD + "admin: {}\n",
            ':45:1: warning: has "admin" a second time; what stands at line 1 is not used',
        ),
        (
            f"{GOOD}---\n{GOOD}",
            ":45:1: warning: begins another document here; only the first one is used",
        ),
    ],
)
def test_what_envoy_takes_but_nobody_means_is_a_warning(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert findings(write(tmp_path, text), capsys) == (0, [said])


def test_a_prefix_without_a_slash_is_accepted_as_by_envoy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, GOOD.replace("prefix: /\n", "prefix: api\n"))
    assert findings(file, capsys)[0] == 0


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD
    for old, new in (
        ("port_value: 10000", "port_value: 100000"),  # cannot be
        ("  cluster: back", "  cluster: bakc"),  # found when compiled
        (
            "timeout: 5s",
            "timeout: 5s\n                  upgrade_configs: [{upgrade_type: connect-udp}]",
        ),  # unsupported
        ("connect_timeout", "conect_timeout"),  # unknown
    ):
        text = text.replace(old, new, 1)
    code, lines = findings(write(tmp_path, text), capsys)
    assert code == 1
    assert [line.split(": ")[:3] for line in lines] == [
        [":10:9", "error", "static_resources.listeners[0].address.socket_address.port_value"],
        [":27:38", "unsupported", f"{ROUTE}.route.upgrade_configs[0].upgrade_type"],
        [":35:5", "error", f"{CLUSTER}.conect_timeout"],
    ], "of clusters that could not be read, none is missed"


# --- files that cannot be read ----------------------------------------------------------------------------------------


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(tmp_path / "no.yaml", capsys) == (
        1,
        [": error: cannot be read: No such file or directory"],
    )


def test_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert findings(tmp_path, capsys) == (1, [": error: cannot be read: Is a directory"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"node:\n  id: \xff\n", ":2:7: error: is not UTF-8"),
        (GOOD.encode("utf-16"), ":1:1: error: is not UTF-8"),
        (
            b"\x7fELF\x02\x01\x01\x00" + b"\x00" * 64,
            ":1:1: error: is no valid YAML: control characters are not allowed",
        ),
    ],
)
def test_bytes_that_are_no_text(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert findings(write(tmp_path, content), capsys) == (1, [said])


def test_the_overlay_is_named_as_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, GOOD)
    assert main(["validate", "-c", str(file), "--config-yaml", "admin: {adress: {}}"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        "--config-yaml:1:9: error: admin.adress: is no field of envoy.config.bootstrap.v3.Admin "
        '(did you mean "address"?)'
    )


@pytest.mark.parametrize("verb", [["validate"], ["run"], ["run", "--mode", "validate"], []])
def test_every_way_to_ask_refuses_alike(verb: list[str], tmp_path: Path) -> None:
    """In a process of its own: the exit code, no traceback, nothing on standard output."""
    file = write(tmp_path, GOOD.replace("connect_timeout", "conect_timeout"))
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *verb, "-c", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"{file}:34:5: error: {CLUSTER}.conect_timeout: is no field of envoy.config.cluster.v3.Cluster "
        '(did you mean "connect_timeout"?)\nconfiguration refused: 1 error\n'
    )


# --- the real Envoy ---------------------------------------------------------------------------------------------------


@pytest.mark.parity
@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
@pytest.mark.parametrize(
    "name", ["nothing", *(name for name, one in MISTAKES.items() if one.envoy is not None)]
)
def test_envoy_agrees(name: str, tmp_path: Path) -> None:
    """It refuses what is an "error", and takes what is "unsupported"."""
    mistake = MISTAKES.get(name)
    file = write(tmp_path, mistake.content() if mistake else GOOD, mistake.suffix if mistake else ".yaml")
    argv = [str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "--concurrency", "1"]
    done = subprocess.run([*argv, "-c", str(file)], capture_output=True, text=True, timeout=30)
    assert (done.returncode != 0) == bool(mistake and mistake.envoy), done.stderr[-2000:]
    if mistake is not None:
        assert mistake.envoy == (mistake.kind == "error")
