"""Test files: what to ask and what to expect. Read strictly: a key that nobody knows is an error, not silence.

The format of Envoy's router_check_tool is accepted as it is, and a little more is understood (marked *):

    tests:
    - test_name: users go to v2
      input: {authority: a.com, path: /users, method: GET, ssl: false, internal: false, random_value: 0,
              runtime: key, additional_request_headers: [{key: x, value: y}],
              additional_response_headers: [...], listener*: name, body*: text, response_status*: 503}
      validate: {cluster_name: v2, virtual_host_name: api, virtual_cluster_name: other, path_rewrite: /v2/users,
                 host_rewrite: a.com, path_redirect: "", code_redirect: 301, timeout: 15s,
                 request_header_matches: [HeaderMatcher], response_header_matches: [HeaderMatcher],
                 request_header_fields / response_header_fields: [{key, value}],
                 status*: 200, response_body*: text, route_name*: name, details*: rbac_access_denied}
    config*: ../envoy.yaml
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NamedTuple

from proxy.api.convert import Converter
from proxy.api.json_text import read_json
from proxy.api.matchers import HeadersMatcher, compile_header_matcher
from proxy.api.pool import new_message
from proxy.api.reader import Reader
from proxy.api.validate import validate as check_rules
from proxy.api.yaml_text import TextError, read_yaml

Pairs = list[tuple[str, str]]
TEXTS = (
    *("cluster_name", "virtual_cluster_name", "virtual_host_name", "path_rewrite", "host_rewrite"),
    *("path_redirect", "timeout", "response_body", "route_name", "details"),
)
NUMBERS = ("code_redirect", "status")
MATCHES = {"request_header_matches": "request", "response_header_matches": "response"}
FIELDS = {
    "request_header_fields": "request",
    "response_header_fields": "response",
    "header_fields": "request",
    "custom_header_fields": "request",
}
_INPUT_TEXTS = ("authority", "path", "method", "listener", "body", "runtime")
_INPUT_NUMBERS = ("random_value", "response_status")
_INPUT_FLAGS = ("ssl", "internal")
_INPUT_PAIRS = ("additional_request_headers", "additional_response_headers")
_MATCHER = "envoy.config.route.v3.HeaderMatcher"


class BadCases(Exception):
    """A file that is no list of cases. ``problems``: each with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class HeaderCheck:
    """A header demanded of the "request" that a host gets or of the "response"."""

    where: str
    says: str
    matches: HeadersMatcher


@dataclass(slots=True)
class Case:
    """One test. expected: by key of ``validate``; "" demands that there is none."""

    name: str
    authority: str = ""
    path: str = ""
    method: str = "GET"
    listener: str = ""
    body: str = ""
    runtime: str | None = None
    random_value: int = 0
    response_status: int = 200
    ssl: bool = False
    internal: bool = False
    request_headers: Pairs = field(default_factory=list)
    response_headers: Pairs = field(default_factory=list)
    expected: dict[str, str | int] = field(default_factory=dict)
    headers: list[HeaderCheck] = field(default_factory=list)


class CasesRead(NamedTuple):
    """What a file holds. config: the configuration that it names, relative to the file's folder; "" for none."""

    cases: list[Case]
    config: str


def read_cases(text: str, file: str) -> CasesRead:
    """The cases of a YAML or JSON text. Raises BadCases with everything that is wrong."""
    try:
        value = (
            read_json(text) if file.endswith(".json") or text.lstrip()[:1] in "[{" else read_yaml(text, [])
        )
    except TextError as error:
        raise BadCases([f"{file}:{error.line or 1}: {error.message}"]) from None
    reading = _Reading(file)
    cases = reading.cases(value)
    if reading.problems:
        raise BadCases(reading.problems)
    return CasesRead(cases, reading.config)


class _Reading:
    """One file being read; collects problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.config = ""
        self.problems: list[str] = []

    def problem(self, at: str, message: str) -> None:
        """Note what is wrong and go on."""
        self.problems.append(f"{self.file}: {at}: {message}")

    def cases(self, value: Any) -> list[Case]:
        """A list of tests (the old JSON form), or a mapping with "tests"."""
        if isinstance(value, dict):
            self._keys("", value, ("tests", "runtime", "config"))
            if "config" in value:
                self.config = self._text("config", value["config"])
            if value.get("runtime"):
                self.problem("runtime", "runtime values for all tests are not supported")
            value = value.get("tests")
        if not isinstance(value, list) or not value:
            self.problem("tests", "must be a list with at least one test")
            return []
        return [self._case(f"tests[{at}]", one) for at, one in enumerate(value)]

    def _keys(self, at: str, value: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in value:
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                hint = f'; did you mean "{near[0]}"?' if near else f"; known: {', '.join(known)}"
                self.problem(f"{at}.{key}".lstrip("."), f"is not known{hint}")

    def _mapping(self, at: str, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.problem(at, "must be a mapping")
        return {}

    def _case(self, at: str, value: Any) -> Case:
        value = self._mapping(at, value)
        self._keys(at, value, ("test_name", "input", "validate"))
        name = value.get("test_name")
        if not isinstance(name, str) or not name:
            self.problem(f"{at}.test_name", "must be a text")
        case = Case(str(name))
        self._input(f"{at}.input", self._mapping(f"{at}.input", value.get("input")), case)
        self._validate(f"{at}.validate", self._mapping(f"{at}.validate", value.get("validate")), case)
        return case

    def _input(self, at: str, value: dict[str, Any], case: Case) -> None:
        old = {"additional_headers": "additional_request_headers", ":authority": "authority"}
        old |= {":path": "path", ":method": "method"}
        value = {old.get(key, key): inner for key, inner in value.items()}
        self._keys(at, value, (*_INPUT_TEXTS, *_INPUT_NUMBERS, *_INPUT_FLAGS, *_INPUT_PAIRS))
        for key in _INPUT_TEXTS:
            if key in value:
                setattr(case, key, self._text(f"{at}.{key}", value[key]))
        for key in _INPUT_NUMBERS:
            if key in value:
                setattr(case, key, self._number(f"{at}.{key}", value[key]))
        for key in _INPUT_FLAGS:
            if key in value:
                if not isinstance(value[key], bool):
                    self.problem(f"{at}.{key}", "must be true or false")
                setattr(case, key, value[key] is True)
        case.request_headers = self._pairs(at, "additional_request_headers", value)
        case.response_headers = self._pairs(at, "additional_response_headers", value)
        for key in ("authority", "path"):
            if not getattr(case, key):
                self.problem(f"{at}.{key}", "is needed")
        for key in ("authority", "path", "method"):
            if any(mark <= " " or mark == "\x7f" for mark in getattr(case, key)):
                self.problem(f"{at}.{key}", "holds blanks or control characters")
        if not 200 <= case.response_status <= 599:
            self.problem(f"{at}.response_status", "must be in 200..599")

    def _validate(self, at: str, value: dict[str, Any], case: Case) -> None:
        self._keys(at, value, (*TEXTS, *NUMBERS, *MATCHES, *FIELDS))
        if not value:
            self.problem(at, "must demand something")
        for key in TEXTS:
            if key in value:
                case.expected[key] = self._text(f"{at}.{key}", value[key])
        for key in NUMBERS:
            if key in value:
                case.expected[key] = self._number(f"{at}.{key}", value[key])
        for key, where in MATCHES.items():
            for index, one in enumerate(self._list(f"{at}.{key}", value.get(key))):
                case.headers.append(self._matcher(f"{at}.{key}[{index}]", one, where))
        for key, where in FIELDS.items():
            for name, wanted in self._pairs(at, key, value):
                matcher = {"name": name, "string_match": {"exact": wanted}}
                if not wanted:  # no such header, or an empty one
                    matcher = {"name": name, "string_match": {"exact": ""}}
                    matcher["treat_missing_header_as_empty"] = True  # type: ignore[assignment]
                case.headers.append(self._matcher(f"{at}.{key}", matcher, where))

    def _matcher(self, at: str, value: Any, where: str) -> HeaderCheck:
        message = new_message(_MATCHER)
        before = len(self.problems)

        def report(path: str, text: str, kind: str = "invalid") -> None:
            if kind != "warning":  # deprecated ways to say it are taken
                self.problem(f"{at}.{path}".rstrip("."), text)

        Converter(report).fill(message, self._mapping(at, value))
        check_rules(message, report)
        reader = Reader(message)
        matches = compile_header_matcher(reader)
        if len(self.problems) == before:
            for finding in reader.errors.findings:
                report(finding.path, finding.message)
        from proxy.explain.why import header_words

        return HeaderCheck(where, header_words(message), matches)

    def _list(self, at: str, value: Any) -> list[Any]:
        if value is None or isinstance(value, list):
            return value or []
        self.problem(at, "must be a list")
        return []

    def _pairs(self, at: str, key: str, value: dict[str, Any]) -> Pairs:
        found = []
        for index, one in enumerate(self._list(f"{at}.{key}", value.get(key))):
            place = f"{at}.{key}[{index}]"
            one = self._mapping(place, one)
            one = {"key": one["field"], "value": one.get("value", "")} if "field" in one else one
            self._keys(place, one, ("key", "value"))
            name = self._text(f"{place}.key", one.get("key"))
            text = self._text(f"{place}.value", one.get("value", ""))
            if not name or any(mark in name + text for mark in "\r\n\0"):
                self.problem(place, "is no header")
            found.append((name, text))
        return found

    def _text(self, at: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            self.problem(at, "must be a text")
            return ""
        return str(value)

    def _number(self, at: str, value: Any) -> int:
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.problem(at, "must be a whole number")
            return 0
        return value
