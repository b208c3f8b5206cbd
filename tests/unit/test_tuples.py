"""proxy.tuples: what it makes is what the compiler makes."""

from __future__ import annotations

import builtins
import collections
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.tuples import make_new

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["host", "port", "a", "_cls_", "größe", "x1", "f", "g", "h", "i", "j", "k", "l"]


def made(fields: list[str], monkeypatch: pytest.MonkeyPatch, with_ours: bool) -> Any:
    defaults = (1, "two")[: len(fields)]
    fields = [name.lstrip("_") for name in fields]
    if with_ours:
        monkeypatch.setitem(vars(collections), "eval", make_new)
    cls: Any = collections.namedtuple("Place", fields, defaults=defaults, module="some")  # type: ignore[misc]
    monkeypatch.undo()
    return cls


def failure(cls: Any, *values: object, **named: object) -> str:
    with pytest.raises(TypeError) as failed:
        cls(*values, **named)
    return str(failed.value)


@pytest.mark.parametrize("count", range(14))
def test_a_class_is_as_ever(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = (made(NAMES[:count], monkeypatch, with_ours) for with_ours in (True, False))
    assert inspect.signature(ours) == inspect.signature(theirs)
    ours_new, theirs_new = ours.__new__, theirs.__new__
    for name in ("__name__", "__qualname__", "__doc__", "__defaults__", "__module__", "__globals__"):
        assert getattr(ours_new, name).__class__ is getattr(theirs_new, name).__class__
        assert name == "__globals__" or getattr(ours_new, name) == getattr(theirs_new, name)
    for name in ("co_code", "co_consts", "co_names", "co_varnames", "co_argcount", "co_name", "co_qualname"):
        assert getattr(ours_new.__code__, name) == getattr(theirs_new.__code__, name)
    values = tuple(range(count))
    assert ours(*values) == theirs(*values) == values
    assert repr(ours(*values)) == repr(theirs(*values))
    assert ours(**dict(zip(ours._fields, values, strict=True)))._asdict() == theirs(*values)._asdict()
    assert failure(ours, *values, 5) == failure(theirs, *values, 5)
    assert failure(ours, other=5) == failure(theirs, other=5)
    if count > 2:
        assert failure(ours) == failure(theirs)


@pytest.mark.parametrize(
    "text",
    [
        "1 + 1",
        "lambda _cls, a: _tuple_new(_cls, (a)) and 2",
        "lambda _cls, a, b: _tuple_new(_cls, (b, a))",
        "lambda _cls, a, b=3: _tuple_new(_cls, (a, b))",
        "lambda cls, a: _tuple_new(cls, (a,))",
    ],
)
def test_what_is_something_else_is_compiled(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(builtins, "eval", lambda text, _: asked.append(text))
    make_new(text, {})
    assert asked == [text]


def test_the_front_door_spares_it() -> None:
    """No named tuple of a start is compiled but those of many fields."""
    code = """
import builtins, sys
compiled = []
real = builtins.eval
builtins.eval = lambda text, names: compiled.append(text.count(",") // 2) or real(text, names)
from proxy.__main__ import main
sys.argv = ["outrider", "version"]
main()
import proxy.server.main
import collections
print(collections.eval.__module__, sorted(compiled)[:1] >= [13] or not compiled)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "proxy.tuples True"
