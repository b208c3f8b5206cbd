"""Named tuples that are made without the compiler.

``collections.namedtuple`` writes the text of a ``__new__`` for each class and has it compiled. Of the sixty classes that a start
makes (ours, asyncio's, urllib's) that is half of what they cost, one part in thirty of a start; the texts differ in names only. So
their code is taken from those below and given other names. What is no such text is compiled as ever.
"""

from __future__ import annotations

import builtins
import collections
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_tuple_new: Final = tuple.__new__  # theirs is in the namespace that namedtuple gives

#: by the number of fields
_NEW: Final[tuple[Callable[..., Any], ...]] = (
    lambda _cls: _tuple_new(_cls, ()),
    lambda _cls, a: _tuple_new(_cls, (a,)),
    lambda _cls, a, b: _tuple_new(_cls, (a, b)),
    lambda _cls, a, b, c: _tuple_new(_cls, (a, b, c)),
    lambda _cls, a, b, c, d: _tuple_new(_cls, (a, b, c, d)),
    lambda _cls, a, b, c, d, e: _tuple_new(_cls, (a, b, c, d, e)),
    lambda _cls, a, b, c, d, e, f: _tuple_new(_cls, (a, b, c, d, e, f)),
    lambda _cls, a, b, c, d, e, f, g: _tuple_new(_cls, (a, b, c, d, e, f, g)),
    lambda _cls, a, b, c, d, e, f, g, h: _tuple_new(_cls, (a, b, c, d, e, f, g, h)),
    lambda _cls, a, b, c, d, e, f, g, h, i: _tuple_new(_cls, (a, b, c, d, e, f, g, h, i)),
    lambda _cls, a, b, c, d, e, f, g, h, i, j: _tuple_new(_cls, (a, b, c, d, e, f, g, h, i, j)),
    lambda _cls, a, b, c, d, e, f, g, h, i, j, k: _tuple_new(_cls, (a, b, c, d, e, f, g, h, i, j, k)),
    lambda _cls, a, b, c, d, e, f, g, h, i, j, k, m: _tuple_new(_cls, (a, b, c, d, e, f, g, h, i, j, k, m)),
)


def make_new(text: str, namespace: dict[str, Any]) -> Any:
    """In the place of ``eval`` in collections."""
    head, _, body = text.partition(": ")
    fields = head.removeprefix("lambda _cls, ").rstrip(",").split(", ")
    listed = head.removeprefix("lambda _cls, ")
    if (
        len(fields) >= len(_NEW)
        or not head.startswith("lambda _cls, ")
        or body != f"_tuple_new(_cls, ({listed}))"
        or not all(map(str.isidentifier, fields))
    ):
        return builtins.eval(text, namespace)
    code = _NEW[len(fields)].__code__.replace(co_varnames=("_cls", *fields))
    return FunctionType(code, namespace)


def spare_the_compiler() -> None:
    """From now on, for every named tuple that is made in this process."""
    vars(collections)["eval"] = make_new
