"""Coroutines of filters on the worker's loop. ``LoopTasks`` implements ``proxy.http.context.Tasks``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.network.dispatcher import Dispatcher

OnDone = Callable[[Any, BaseException | None], None]


def _nobody(result: Any, error: BaseException | None) -> None:
    """Everything was told already."""


class RunningTask:
    """One coroutine under way. Implements ``proxy.http.context.Task``."""

    __slots__ = ("begun", "on_done", "task", "tasks", "work")

    def __init__(self, tasks: LoopTasks, work: Coroutine[Any, Any, Any], on_done: OnDone) -> None:
        self.tasks = tasks
        self.work = work
        self.on_done = on_done
        self.begun = False
        self.task: Any = None

    async def run(self) -> None:
        """Never raises: what goes wrong in the work goes to ``on_done``, what goes wrong there is a bug of ours."""
        self.begun = True
        result: Any = None
        failure: BaseException | None = None
        try:
            result = await self.work
        except GeneratorExit:
            raise
        except BaseException as error:  # asyncio would let SystemExit and KeyboardInterrupt end the process
            failure = error
        try:
            self._end(result, failure)
        finally:
            failure = None  # its traceback holds this very frame

    def cancel(self) -> None:
        """See ``Task.cancel``."""
        if self.task is None:
            return
        self.task.cancel()
        if not self.begun:
            self.work.close()
            self._end(None, asyncio.CancelledError())

    def _end(self, result: Any, failure: BaseException | None) -> None:
        self.tasks.running.discard(self)
        on_done, self.on_done, self.task = self.on_done, _nobody, None  # no cycle is left
        try:
            on_done(result, failure)
            self.tasks.dispatcher.flush()
        except Exception as bug:
            self.tasks.dispatcher.bug("a filter's coroutine", bug)


class LoopTasks:
    """``running``: what is under way (a loop keeps only weak references to its tasks)."""

    __slots__ = ("dispatcher", "running")

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self.running: set[RunningTask] = set()

    def start(self, work: Coroutine[Any, Any, Any], on_done: OnDone) -> RunningTask:
        """See ``Tasks.start``."""
        running = RunningTask(self, work, on_done)
        self.running.add(running)
        running.task = self.dispatcher.loop.create_task(running.run())
        return running

    def future(self) -> Any:
        """See ``Tasks.future``."""
        return self.dispatcher.loop.create_future()

    def flush(self) -> None:
        """See ``Tasks.flush``."""
        self.dispatcher.flush()
