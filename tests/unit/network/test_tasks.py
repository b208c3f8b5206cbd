"""Coroutines of filters on the loop: whatever they raise goes to who started them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.network.tasks import LoopTasks


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_a_coroutine_raises_ends_no_process(error: type[BaseException]) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        tasks = LoopTasks(SimpleNamespace(loop=loop, flush=lambda: None))  # type: ignore[arg-type]
        tasks.start(work(), lambda result, failure: ended.set_result((result, failure)))
        result, failure = await ended
        return result, failure, len(tasks.running)

    result, failure, running = asyncio.run(main())
    assert result is None and isinstance(failure, error)
    assert running == 0
