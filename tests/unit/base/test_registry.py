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
