"""The table of extensions."""

from __future__ import annotations

import pytest

from proxy.base.registry import Registry
from proxy.extensions import EXTENSIONS


def test_every_line_of_the_table_resolves_and_names_its_message():
    registry = Registry(EXTENSIONS)
    for _, message, _ in EXTENSIONS:
        assert registry.has(message)
        assert registry.resolve(message) is registry.resolve(message)


def test_an_unknown_name():
    registry = Registry(())
    assert not registry.has("nobody.Knows")
    with pytest.raises(KeyError):
        registry.resolve("nobody.Knows")


def test_what_belongs_to_an_extension_is_not_offered_beside_it():
    lines = [
        ("f.a", "m.A", "x:y"),
        ("f.a.samplers.s", "m.S", "x:y"),
        ("f.b", "m.B", "x:y"),
        ("g.c", "m.C", "x:y"),
    ]
    assert (
        Registry(lines).unknown("tracer", "m.X", "f.") == "tracer m.X is not supported; supported: f.a, f.b"
    )
    said = Registry(lines).unknown("sampler", "m.X", "f.a.samplers.")
    assert said == "sampler m.X is not supported; supported: f.a.samplers.s"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"),
        ("envoy.filters.http.ruoter", "envoy.extensions.filters.http.router.v3.Router"),
        ("envoy.tracers.zipkin", "envoy.config.trace.v3.ZipkinConfig"),
        ("mine", ""),
        ("", ""),
        ("x" * 100_000, ""),
    ],
)
def test_a_name_alone_is_answered_with_what_to_write(name, message):
    said = Registry(EXTENSIONS).untyped("a filter", name)
    assert said.startswith('is missing: a filter is chosen by its "@type", not by its name')
    assert ("type.googleapis.com/" in said) == bool(message)
    assert message in said


def test_installed_packages_are_asked_only_for_what_is_not_in_the_table():
    asked = []

    def installed():
        asked.append(1)
        return [("acme", "acme.Greeting", "collections:OrderedDict"), ("other", "a.B", "collections:deque")]

    registry = Registry([("own", "a.B", "collections:Counter")], installed)
    assert registry.has("a.B") and registry.name("a.B") == "own"
    assert not asked
    assert registry.has("acme.Greeting") and registry.name("acme.Greeting") == "acme"
    assert not registry.has("acme.Other")
    assert registry.name("a.B") == "own", "a package cannot replace a line"
    assert registry.messages() == ["a.B", "acme.Greeting"]
    assert len(asked) == 1
