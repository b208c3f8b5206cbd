"""Modules of the standard library that others import for what a proxy seldom does: they are read when first asked something.

``traceback`` imports textwrap for the text of exception groups, ``linecache`` and ``inspect`` import tokenize for sources,
``subprocess`` imports locale, protobuf imports calendar, ``pathlib`` imports ntpath, asyncio and uvloop import inspect, which
imports ast and dis. Together they are a tenth of a start. (importlib.util.LazyLoader will not do: until Python 3.12 the import
statement itself wakes it.)
"""

from __future__ import annotations

import sys
from _thread import RLock
from importlib.util import find_spec, module_from_spec
from types import FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any, Final, cast

#: nobody asks these anything while a proxy starts (tests/budget/test_imports.py)
SELDOM: Final = ("calendar", "inspect", "locale", "ntpath", "textwrap", "tokenize")
CO_COROUTINE: Final = 128

_reading: Final = RLock()


class Postponed(ModuleType):
    """A module that has not been read yet. Once it is, it is of the usual class."""

    def __getattr__(self, name: str) -> Any:
        """Read it, and answer. Raises AttributeError."""
        if name == "__path__":  # asked by ``from ... import``: these are no packages
            raise AttributeError(name)
        self.read()
        return getattr(self, name)

    def read(self) -> None:
        """Read it, unless it is being read or has been."""
        with _reading:
            if type(self) is Postponed:
                spec = self.__spec__
                assert spec is not None and spec.loader is not None
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]


# -- what uvloop takes from inspect when it is imported, and asks of each handler of a signal


def isgenerator(value: object) -> bool:
    """inspect's."""
    return isinstance(value, GeneratorType)


def iscoroutinefunction(value: Any) -> bool:
    """inspect's. It is not read for plain functions and methods."""
    function = value.__func__ if type(value) is MethodType else value
    if type(function) is FunctionType and not function.__dict__:  # where Python 3.12 keeps a mark
        return bool(function.__code__.co_flags & CO_COROUTINE)
    module = sys.modules["inspect"]
    if type(module) is Postponed:
        module.read()
    found: bool = module.iscoroutinefunction(value)
    return found


#: module -> what it answers before it is read
_AT_ONCE: Final[dict[str, tuple[FunctionType, ...]]] = {
    "inspect": (cast("FunctionType", isgenerator), cast("FunctionType", iscoroutinefunction))
}


def postpone(names: tuple[str, ...] = SELDOM) -> None:
    """Have modules read with the first attribute that is asked of them. What is there already stays as it is."""
    for name in names:
        spec = find_spec(name) if name not in sys.modules else None
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            module.__class__ = Postponed
            vars(module).update({each.__name__: each for each in _AT_ONCE.get(name, ())})
            sys.modules[name] = module
