"""proxy.server.later: one step after the other, and requests between them."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.server import later, memory

PARTS = cast(
    "Any",
    SimpleNamespace(
        listeners=SimpleNamespace(listeners=[]),
        clusters=SimpleNamespace(clusters={}),
        dynamic=SimpleNamespace(cds=None, lds=None),
        admin=object(),
        message="what was read",
    ),
)


@pytest.fixture(autouse=True)
def nothing_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process goes on with other tests."""
    monkeypatch.setattr(gc, "freeze", lambda: None)


def test_the_loop_has_its_turn_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps for the admin pages, and the last one."""
    given: list[object] = []
    turns: list[int] = []
    monkeypatch.setattr(later, "PAUSE_S", 0.0)
    monkeypatch.setattr(memory, "give_back", given.append)

    async def serve() -> None:
        later.import_later(PARTS)
        while not given:
            turns.append(1)
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(serve(), 30))
    assert given == ["what was read"]
    assert len(turns) >= 2


def test_nothing_to_import_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(memory, "give_back", given.append)
    later.import_later(cast("Any", SimpleNamespace(**{**vars(PARTS), "admin": None})))  # needs no loop
    assert given == ["what was read"]
