"""A filter that is a Python class of the operator. See docs/python-filters.md.

Configuration: outrider.filters.http.python.v1.Python, also in typed_per_filter_config, where it runs instead of the
filter of that name. Only hooks that the class has are in the chain; only hooks that await pay for a task.
"""

from __future__ import annotations

from math import inf
from sys import modules
from typing import Any

from proxy.api.reader import Reader, reads
from proxy.base.headers import HeaderMap
from proxy.ext.filters.http.python.context import FilterContext
from proxy.ext.filters.http.python.course import DETAILS, Course
from proxy.ext.filters.http.python.faults import Faults
from proxy.ext.filters.http.python.load import PYTHON, build, load_class
from proxy.ext.filters.http.python.side import DecodeSide, EncodeSide, Side, check_head, checked, own_hook
from proxy.http.context import FactoryContext
from proxy.http.filter import STOP, Filter, FilterStatus
from proxy.http.stream import ActiveStream

TIMEOUT_S = 5.0
MAX_AWAITING = 1024


class NoRoom(Exception):
    """More hooks await than max_concurrent_hooks allows."""


class Marks:
    """What a stream remembers of the filter: that it is skipped from now on, and what is under way."""

    __slots__ = ("decode", "encode", "skipped")

    def __init__(self) -> None:
        self.skipped = False
        self.decode: Course | None = None
        self.encode: Course | None = None


class PythonFilter(Filter):
    """Calls the hooks of an operator's object, ``target``, and contains what they do."""

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        tasks, scope = context.tasks, context.http_scope
        assert tasks is not None and scope is not None
        name = context.filter_name
        own = scope.scope("python").scope(name)
        self.faults = Faults(name, own, context.clock.monotonic)
        self.skips_on_error = config.enum("on_error") == "CONTINUE"
        timeout_s = config.seconds("timeout", TIMEOUT_S)
        if not timeout_s:
            config.fail(
                "timeout", "must be greater than 0: a hook that never returns would hold its request for ever"
            )
        self.timeout_s = timeout_s or inf
        self.max_awaiting: int = config.wrapped("max_concurrent_hooks", MAX_AWAITING)
        self.awaiting = 0
        self.tasks = tasks
        self.timers = context.timers
        self.monotonic = context.clock.monotonic
        self.wall = context.clock.wall
        made = load_class(config, context.folder)
        given = FilterContext(name, context.folder, own, context.http_client, tasks)
        self.target = build(config, made, given) if made is not None else None
        if made is None:
            config.settle("config")
        self.decode = DecodeSide(self.target, Filter)
        self.encode = EncodeSide(self.target, Filter)
        self.completes = own_hook(self.target, "on_complete", Filter)
        self.span = span_context()
        if self.target is not None and not (self.decode.is_used or self.encode.is_used or self.completes):
            config.fail("", f"{made.__name__} has none of a filter's hooks (decode_headers, encode_data ...)")

    @classmethod
    @reads(PYTHON)
    def compile_route_config(cls, config: Reader, context: FactoryContext) -> PythonFilter:
        """For a route: a filter of its own, which runs there instead."""
        return cls(config, context)

    def has_hook(self, name: str) -> bool:
        if name == "on_complete":
            return self.completes is not None or self.decode.waits or self.encode.waits
        direction, _, kind = name.partition("_")
        return (self.decode if direction == "decode" else self.encode).wants(kind)

    # -- the chain's hooks ---------------------------------------------------------------------------------------

    def decode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        return self._headers(self.decode, stream)

    def decode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        return self._part(self.decode, stream, data, end, None)  # type: ignore[no-any-return]

    def decode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        return self._part(self.decode, stream, b"", True, trailers)  # type: ignore[no-any-return]

    def encode_headers(self, stream: ActiveStream) -> FilterStatus | None:
        return self._headers(self.encode, stream)

    def encode_data(self, stream: ActiveStream, data: bytes, end: bool) -> FilterStatus | bytes | None:
        return self._part(self.encode, stream, data, end, None)  # type: ignore[no-any-return]

    def encode_trailers(self, stream: ActiveStream, trailers: HeaderMap) -> FilterStatus | None:
        return self._part(self.encode, stream, b"", True, trailers)  # type: ignore[no-any-return]

    def on_complete(self, stream: ActiveStream) -> None:
        marks = self._marks(stream)
        if marks is not None:
            for course in (marks.decode, marks.encode):
                if course is not None:
                    course.end()
        if self.completes is not None and not (marks is not None and marks.skipped):
            try:
                self.completes(stream)
            except (Exception, SystemExit) as error:
                self.faults.report("on_complete", error)

    def _headers(self, side: Side, stream: ActiveStream) -> FilterStatus | None:
        verdict = self._contained(side, side.headers_name, side.headers, stream)
        if hasattr(verdict, "__await__") or side.body is not None:
            return self._course(side, stream).head(verdict)
        if verdict is None:
            side.forget_length(stream)
        return verdict  # type: ignore[no-any-return]

    def _part(
        self, side: Side, stream: ActiveStream, data: bytes, end: bool, trailers: HeaderMap | None
    ) -> Any:
        course = self._under_way(side, stream)
        if course is not None and course.is_busy:
            return course.take(data, end, trailers)
        verdict = self.call_part(side, stream, data, end, trailers)
        if hasattr(verdict, "__await__"):
            return self._course(side, stream).part(verdict, data, end, trailers)
        return verdict

    # -- the class's hooks ---------------------------------------------------------------------------------------

    def call_part(
        self, side: Side, stream: ActiveStream, data: bytes, end: bool, trailers: HeaderMap | None
    ) -> Any:
        """The class's hook for data or (not None) trailers; what it returned, or the coroutine it is."""
        if trailers is not None:
            return self._contained(side, side.trailers_name, side.trailers, stream, trailers)
        return self._contained(side, side.data_name, side.data, stream, data, end)

    def call_body(self, side: Side, stream: ActiveStream, body: bytes) -> Any:
        """The class's hook for whole bodies."""
        return self._contained(side, side.body_name, side.body, stream, body)

    def wants_body(self, side: Side, stream: ActiveStream) -> bool:
        """Whether the class wants this message's body whole."""
        if self.is_skipped(stream):
            return False
        try:
            return side.wants_body is None or bool(side.wants_body(stream))
        except (Exception, SystemExit) as error:
            self.failed(side, stream, f"{side.direction}_wants_body", error)
            return False

    def _contained(self, side: Side, name: str, hook: Any, stream: ActiveStream, *given: Any) -> Any:
        """Call a hook the class may have. STOP when it failed and the stream is answered."""
        if hook is None or self.is_skipped(stream):
            return None
        before = side.opening(stream)
        try:
            if self.span is None:
                verdict = hook(stream, *given)
            else:
                with self.span(stream, self.wall):
                    verdict = hook(stream, *given)
            check_head(side, name, stream, before)
            if hasattr(verdict, "__await__"):
                return self._admitted(verdict)
            return checked(verdict, side, name, given)
        except (Exception, SystemExit) as error:
            return STOP if self.failed(side, stream, name, error) else None

    def _admitted(self, work: Any) -> Any:
        """A coroutine, unless too many run already."""
        if self.awaiting >= self.max_awaiting:
            work.close()
            self.faults.overflow.value += 1
            raise NoRoom(f"{self.max_awaiting} hooks await already")
        return work

    def start(self, work: Any, stream: ActiveStream, on_done: Any) -> Any:
        """Run a hook's coroutine; inside, too, the current OpenTelemetry span is the stream's."""
        self.awaiting += 1
        if self.span is None:
            return self.tasks.start(work, on_done)
        with self.span(stream, self.wall):  # a task takes the context in which it is made
            return self.tasks.start(work, on_done)

    # -- a stream's marks ----------------------------------------------------------------------------------------

    def _marks(self, stream: ActiveStream) -> Marks | None:
        return stream.state.get(self) if stream.state is not None else None

    def _mark(self, stream: ActiveStream) -> Marks:
        if stream.state is None:
            stream.state = {}
        marks: Marks = stream.state.setdefault(self, Marks())
        return marks

    def is_skipped(self, stream: ActiveStream) -> bool:
        """The filter has failed on this stream, and the configuration says to go on without it."""
        marks = self._marks(stream)
        return marks is not None and marks.skipped

    def _under_way(self, side: Side, stream: ActiveStream) -> Course | None:
        marks = self._marks(stream)
        if marks is None:
            return None
        return marks.decode if side is self.decode else marks.encode

    def _course(self, side: Side, stream: ActiveStream) -> Course:
        course = self._under_way(side, stream)
        if course is None:
            course = Course(self, side, stream, side.make_hold(stream, self))
            marks = self._mark(stream)
            if side is self.decode:
                marks.decode = course
            else:
                marks.encode = course
        return course

    def failed(self, side: Side, stream: ActiveStream, hook: str, error: BaseException) -> bool:
        """A hook failed. True: the stream has been answered; False: it goes on, the filter is out of it."""
        self.faults.report(hook, error)
        self._mark(stream).skipped = True  # the reply, too, does without it
        if self.skips_on_error:
            return False
        stream.local_reply(500, b"", DETAILS)
        return True


def span_context() -> Any:
    """A context manager, ``(stream, wall)``, that makes the stream's span OpenTelemetry's current one; None when no
    filter of this process has imported OpenTelemetry, and so nobody asks."""
    if "opentelemetry.trace" not in modules:
        return None
    from proxy.tracing.otel_context import current_span  # brings OpenTelemetry's API

    return current_span
