"""A runtime that a test changes."""

from __future__ import annotations

from collections.abc import Callable

from proxy.runtime.layers import AdminLayer
from proxy.runtime.runtime import Runtime


def runtime_of(**values: str) -> tuple[Runtime, Callable[..., None]]:
    """A runtime with an admin layer that holds ``values``, and what overrides them: ``change(key=text)``.

    Two underscores in a name stand for a dot.
    """
    runtime = Runtime([AdminLayer("admin")])

    def change(**texts: str) -> None:
        runtime.merge_overrides({name.replace("__", "."): text for name, text in texts.items()})

    change(**values)
    return runtime, change
