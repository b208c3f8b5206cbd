"""Modules of the standard library that others import for what a proxy seldom does: they are read when first asked something.

``traceback`` imports textwrap for the text of exception groups, ``linecache`` and ``inspect`` import tokenize for sources,
``subprocess`` imports locale, protobuf imports calendar, ``pathlib`` imports ntpath. Together they are as much of a start as
thirty of our modules. (importlib.util.LazyLoader will not do: until Python 3.12 the import statement itself wakes it.)
"""

from __future__ import annotations

import sys
from _thread import RLock
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

#: nobody asks these anything while a proxy starts (tests/budget/test_imports.py)
SELDOM: Final = ("calendar", "locale", "ntpath", "textwrap", "tokenize")

_reading: Final = RLock()


class Postponed(ModuleType):
    """A module that has not been read yet. Once it is, it is of the usual class."""

    def __getattr__(self, name: str) -> Any:
        """Read it, and answer. Raises AttributeError."""
        with _reading:
            if type(self) is Postponed:
                spec = self.__spec__
                assert spec is not None and spec.loader is not None
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(self, name)


def postpone(names: tuple[str, ...] = SELDOM) -> None:
    """Have modules read with the first attribute that is asked of them. What is there already stays as it is."""
    for name in names:
        spec = find_spec(name) if name not in sys.modules else None
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            module.__class__ = Postponed
            sys.modules[name] = module
