"""One direction of one stream through a filter that is not ready: a hook awaits, or the whole body is gathered.

1. What comes while the filter is busy waits before it, in order (proxy/http/holding.py).
2. A hook that awaits has a deadline; at the end of the stream it is cancelled.
3. Nothing here raises: a failed hook goes to ``PythonFilter.failed``, which answers for the stream or skips the filter.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from proxy.base.headers import HeaderMap
from proxy.base.timers import Timed
from proxy.ext.filters.http.python.side import Side, check_head, checked
from proxy.http.filter import STOP, TAKEN, FilterStatus
from proxy.http.holding import Hold

if TYPE_CHECKING:
    from proxy.ext.filters.http.python.filter import PythonFilter
    from proxy.http.stream import ActiveStream


DETAILS: Final = b"python_filter_error"


class Waiting(Timed):
    """One hook that awaits. ``then(result)`` goes on with what it returned."""

    __slots__ = ("before", "course", "given", "hook", "over", "task", "then")

    def __init__(
        self, course: Course, hook: str, given: tuple[Any, ...], then: Callable[[Any], None]
    ) -> None:
        self.due = inf
        self.course = course
        self.hook = hook
        self.given = given
        self.before = course.side.opening(course.stream)
        self.then: Callable[[Any], None] | None = then
        self.over = False
        self.task: Any = None

    def on_done(self, result: Any, error: BaseException | None) -> None:
        """The coroutine has ended."""
        filter = self.course.filter
        filter.awaiting -= 1
        if self.over:
            return
        then = self._leave()
        if error is None:
            try:
                check_head(self.course.side, self.hook, self.course.stream, self.before)
                result = checked(result, self.course.side, self.hook, self.given)
            except (TypeError, ValueError) as unfit:
                error = unfit
        stream = self.course.stream
        try:
            if error is not None:
                self._fail(error, then)
            elif not stream.done:
                then(result)
        except Exception:
            if not stream.done:  # nobody would go on with it
                stream.reset(DETAILS)
            raise

    def on_due(self, now: float) -> float:
        """Out of time."""
        filter = self.course.filter
        filter.faults.timeouts.value += 1
        then, task = self._leave(), self.task
        task.cancel()
        self._fail(TimeoutError(f"did not return within {filter.timeout_s:g} s"), then)
        filter.tasks.flush()
        return inf

    def _fail(self, error: BaseException, then: Callable[[Any], None]) -> None:
        """The stream is answered, or goes on as if the hook had said nothing."""
        course = self.course
        if not course.stream.done and not course.filter.failed(course.side, course.stream, self.hook, error):
            then(None)

    def cancel(self) -> None:
        """Its result is not wanted any more."""
        self._leave()
        self.task.cancel()

    def _leave(self) -> Callable[[Any], None]:
        """It waits no more; what was to follow."""
        then, self.then = self.then, None
        assert then is not None
        self.over = True
        self.course.waiting = None
        self.course.filter.timers.forget(self)
        return then


class Course:
    """The state. ``gathers``: parts are kept until the body is whole."""

    __slots__ = ("filter", "gathers", "hold", "side", "stream", "waiting")

    def __init__(self, filter: PythonFilter, side: Side, stream: ActiveStream, hold: Hold) -> None:
        self.filter = filter
        self.side = side
        self.stream = stream
        self.hold = hold
        self.gathers = False
        self.waiting: Waiting | None = None

    @property
    def is_busy(self) -> bool:
        """Parts that come now must wait."""
        return self.waiting is not None or self.gathers or bool(self.hold.parts)

    # -- the head ------------------------------------------------------------------------------------------------

    def head(self, verdict: Any) -> FilterStatus | None:
        """What the head's hook gave: a coroutine, or what a hook returns. The answer of the chain's hook."""
        if hasattr(verdict, "__await__"):
            self.hold.park()
            self._start(verdict, self.side.headers_name, (), self._head_done)
            return STOP
        if verdict is not None:
            return STOP
        return STOP if self._gather() else None  # the whole body follows

    def _head_done(self, verdict: Any) -> None:
        stream = self.stream
        if stream.done:
            return
        if verdict is not None:  # held on by the filter, which will continue the stream, or has answered it
            self.hold.unpark()
        elif not self._gather():
            self.hold.release()
        self.pump()

    def _gather(self) -> bool:
        """Whether the body is wanted whole, and there is one: then the head waits for it."""
        side, stream = self.side, self.stream
        if side.body is None or side.has_no_body(stream) or not self.filter.wants_body(side, stream):
            side.forget_length(stream)
            return False
        if not self.hold.is_parked:
            self.hold.park()
        self.gathers = True
        self.hold.keep()
        return True

    # -- the body ------------------------------------------------------------------------------------------------

    def take(self, data: bytes, end: bool, trailers: HeaderMap | None = None) -> FilterStatus:
        """A part has come while it must wait."""
        self.hold.take(data, end, trailers, self.waiting is not None)
        if end and self.gathers and self.waiting is None and not self.stream.done:
            self.pump()
        return TAKEN

    def part(self, verdict: Any, data: bytes, end: bool, trailers: HeaderMap | None = None) -> Any:
        """A coroutine of the hook of a part: the part waits for what it returns."""
        self.hold.keep()
        name = self.side.data_name if trailers is None else self.side.trailers_name
        self._start(
            verdict,
            name,
            (data if trailers is None else trailers,),
            lambda result: self._part_done(result, data, end, trailers),
        )
        return TAKEN

    def _part_done(self, verdict: Any, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        self._pass(verdict, data, end, trailers)
        self.pump()

    def _pass(self, verdict: Any, data: bytes, end: bool, trailers: HeaderMap | None) -> None:
        if isinstance(verdict, bytes):
            data, verdict = verdict, None
        if verdict is None:
            self.hold.inject(data, end, trailers)
        else:
            self.hold.stop(data, end, trailers)

    def pump(self) -> None:
        """Show the filter what waits, until it is busy again or nothing does."""
        hold = self.hold
        while hold.parts and self.waiting is None and not self.stream.done:
            if self.gathers:
                if not hold.parts[-1][1]:
                    return  # more of the body is to come
                self._whole()
                continue
            data, end, trailers = hold.next()
            verdict = self.filter.call_part(self.side, self.stream, data, end, trailers)
            if hasattr(verdict, "__await__"):
                self.part(verdict, data, end, trailers)
            else:
                self._pass(verdict, data, end, trailers)
        if self.waiting is None and not self.gathers and not hold.parts:
            hold.settle()

    def _whole(self) -> None:
        """The body has come whole."""
        hold = self.hold
        parts = []
        trailers = None
        while hold.parts:
            data, _, trailers = hold.next()
            parts.append(data)
        body = b"".join(parts)
        self.gathers = False
        verdict = self.filter.call_body(self.side, self.stream, body)
        if hasattr(verdict, "__await__"):
            self._start(
                verdict, self.side.body_name, (body,), lambda result: self._body_done(result, body, trailers)
            )
        else:
            self._body_done(verdict, body, trailers)

    def _body_done(self, verdict: Any, body: bytes, trailers: HeaderMap | None) -> None:
        stream = self.stream
        if stream.done:
            return
        if isinstance(verdict, bytes):
            body = verdict
            self.side.set_length(stream, len(body), trailers is not None)
        elif verdict is not None:  # the filter has answered, or will not let the message go
            return
        self.hold.release()
        self.hold.inject(body, trailers is None, None)
        if trailers is not None:
            self.hold.inject(b"", True, trailers)
        self.pump()

    # -- waiting -------------------------------------------------------------------------------------------------

    def _start(self, work: Any, hook: str, given: tuple[Any, ...], then: Callable[[Any], None]) -> None:
        filter = self.filter
        waiting = self.waiting = Waiting(self, hook, given, then)
        waiting.task = filter.start(work, self.stream, waiting.on_done)
        filter.timers.watch(waiting, filter.monotonic() + filter.timeout_s)

    def end(self) -> None:
        """The stream is over."""
        if self.waiting is not None:
            self.waiting.cancel()
        self.hold.parts.clear()
