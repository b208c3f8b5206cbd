"""Variables in values: what is replaced, what is said about those that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api import expand as module
from proxy.api.expand import Expander, TooMuch
from proxy.api.json_text import read_json
from proxy.api.load import BOOTSTRAP, load_text

ENVIRON = {"NAME": "back", "PORT": "8080", "EMPTY": "", "ODD": 'a: {b}\n- "c" ${PORT}'}


def expanded(value: Any) -> tuple[Any, list[tuple[str, str]]]:
    said: list[tuple[str, str]] = []
    return Expander(ENVIRON, lambda path, message: said.append((path, message))).expand(value), said


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${NAME}", "back"),
        ("${NAME}-${PORT}.svc", "back-8080.svc"),
        ("${NOT_SET:-none}", "none"),
        ("${NOT_SET:-}", ""),
        ("${EMPTY:-none}", "none"),
        ("${EMPTY}", ""),
        ("${NAME:-none}", "back"),
        ("${NOT_SET:-a b:c/$d}", "a b:c/$d"),
        ("$${NAME}", "${NAME}"),
        ("$NAME and $$ and %REQ(X)%", "$NAME and $$ and %REQ(X)%"),
        ("^/a$", "^/a$"),
        ("${ODD}", 'a: {b}\n- "c" ${PORT}'),
    ],
)
def test_a_text(text: str, result: str) -> None:
    assert expanded(text) == (result, [])


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A-b}", "x ${NAME", "${NAME:-open"])
def test_what_is_no_reference(text: str) -> None:
    value, [(path, message)] = expanded({"a": [text]})
    assert value == {"a": [None]}
    assert path == "a[0]"
    assert "is no reference to a variable" in message


@pytest.mark.parametrize("text", ["${LATIN}", "${LATIN:-default}"])
def test_a_variable_that_is_not_utf8_is_named(text: str) -> None:
    environ = {"LATIN": b"\xe9".decode("utf-8", "surrogateescape")}  # as os.environ has it
    loaded = load_text(BOOTSTRAP, f'node: {{id: "{text}"}}', "a.yaml", environ=environ)
    [finding] = loaded.errors.findings
    assert str(finding) == "a.yaml:1:8: node.id: refers to the environment variable LATIN, which is not UTF-8"


def test_every_missing_variable_is_named_with_its_place() -> None:
    text = 'node:\n  id: "${ID}"\n  cluster: ${NAME}\n  locality: {zone: "x${ZONE}${AREA}"}\n'
    loaded = load_text(BOOTSTRAP, text, "a.yaml", environ=ENVIRON)
    assert [str(finding) for finding in loaded.errors.findings] == [
        f"a.yaml:{place}: refers to the environment variable {name}, which is not set; ${{{name}:-default}} gives one"
        for place, name in (
            ("2:3: node.id", "ID"),
            ("4:14: node.locality.zone", "ZONE"),
            ("4:14: node.locality.zone", "AREA"),
        )
    ]
    assert loaded.message.node.cluster == "back"  # type: ignore[attr-defined]


def test_a_missing_one_is_the_only_thing_said_of_its_field() -> None:
    text = "static_resources: {clusters: [{name: '${NOT_SET}', connect_timeout: 1s}]}"
    loaded = load_text(BOOTSTRAP, text, environ=ENVIRON)
    assert len(loaded.errors.findings) == 1


def test_text_becomes_what_the_field_wants() -> None:
    address = '{address: 127.0.0.1, port_value: "${PORT}"}'
    text = f"admin: {{address: {{socket_address: {address}}}}}\nstats_flush_interval: ${{WAIT:-1.5s}}\n"
    message: Any = load_text(BOOTSTRAP, text, environ=ENVIRON).message
    assert message.admin.address.socket_address.port_value == 8080
    assert message.stats_flush_interval.nanos == 500_000_000


def test_what_a_variable_holds_is_never_structure() -> None:
    message: Any = load_text(BOOTSTRAP, "node: {id: '${ODD}'}", environ=ENVIRON).message
    assert message.node.id == ENVIRON["ODD"]


def test_without_being_asked_nothing_is_replaced() -> None:
    message: Any = load_text(BOOTSTRAP, "node: {id: '${NAME}'}").message
    assert message.node.id == "${NAME}"


def test_keys_and_other_values_stay() -> None:
    value = {"${NAME}": 5, "b": [True, None, 1.5, "x"]}
    assert expanded(value) == (value, [])


def test_json_and_its_repeated_keys() -> None:
    value, said = expanded(read_json('{"a": "${NAME}", "a": "${PORT}"}'))
    assert (value.pairs, said) == ([("a", "back"), ("a", "8080")], [])


def test_what_an_alias_stands_for_is_expanded_once() -> None:
    shared = {"a": "${NOT_SET}"}
    value, said = expanded([shared] * 1000)
    assert len({id(one) for one in value}) == 1
    assert len(said) == 1


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDED", 100)
    with pytest.raises(TooMuch):
        Expander({"A": "x" * 60}, print).expand(["${A}", "${A}"])
    loaded = load_text(BOOTSTRAP, "node: {id: '${A}${A}'}", environ={"A": "x" * 60})
    assert [finding.message for finding in loaded.errors.findings] == [
        "grows by more than 16 MiB through its variables"
    ]
