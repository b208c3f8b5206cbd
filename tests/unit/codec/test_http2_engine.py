"""Which HTTP/2 engine is taken."""

from __future__ import annotations

import logging
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType, SimpleNamespace

import ngh2
import pytest

import proxy.codec
from proxy.codec import http2_engine
from proxy.server import later
from tests.support.engine import NAME

REASON = "ngh2's library has no nghttp2_option_new"


class Broken:
    """Finds an engine that was built and cannot be used."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name == NAME else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError(REASON)


def engine() -> ModuleType:
    """http2_engine once more."""
    spec = spec_from_file_location("engine_once_more", http2_engine.__file__)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_none_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NAME, None)
    taken = engine()
    assert taken.Connection is ngh2.Connection
    assert not taken.IS_OUR_OWN and taken.UNUSABLE == ""


def test_one_that_cannot_be_used_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    taken = engine()
    assert taken.Connection is ngh2.Connection
    assert not taken.IS_OUR_OWN and taken.UNUSABLE == REASON
    monkeypatch.setitem(sys.modules, "proxy.codec.http2_engine", taken)
    with caplog.at_level(logging.WARNING, "main"):
        later._see_engine()
    assert REASON in caplog.text


def test_ours_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name in http2_engine.__all__ if name not in ("IS_OUR_OWN", "UNUSABLE")]
    ours = SimpleNamespace(__name__=NAME, **{name: object() for name in names})
    monkeypatch.setitem(sys.modules, NAME, ours)
    monkeypatch.setattr(proxy.codec, "nghttp2", ours, raising=False)
    taken = engine()
    assert taken.IS_OUR_OWN and taken.UNUSABLE == ""
    assert taken.Connection is ours.Connection
