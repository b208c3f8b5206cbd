"""Whether the loop still turns (envoy.config.bootstrap.v3.Watchdogs). Nothing of it is there unless it is configured.

The loop has a beat. A beat that comes late is counted, as a miss of both of Envoy's threads: ours is worker and main thread in
one. Each beat is told to the supervisor, who kills a worker that is silent for ``kill_timeout`` (``server.supervisor``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from proxy.stats.store import Counter, Store

BOOTSTRAP: Final = "envoy.config.bootstrap.v3.Bootstrap"
WATCHDOG: Final = "envoy.config.bootstrap.v3.Watchdog"
_SHORTEST_BEAT_S: Final = 0.01
_SHORTEST_KILL_S: Final = 0.1


class Limits(NamedTuple):
    """How long a thread may be silent. kill_s: 0.0 for ever; jitter_s: at most so much is added to it by chance."""

    miss_s: float = 0.2
    megamiss_s: float = 1.0
    kill_s: float = 0.0
    jitter_s: float = 0.0


class Missed(NamedTuple):
    """Where misses of a thread are counted: of all threads of its kind, and of itself."""

    limits: Limits
    misses: tuple[Counter, Counter]
    mega_misses: tuple[Counter, Counter]


class Watchdog:
    """The beat of one loop. kill_s: after how much silence to be killed, 0.0 for never; monotonic, chance: 0..1"""

    def __init__(
        self,
        main: Limits,
        worker: Limits,
        store: Store,
        monotonic: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._threads = (
            _missed(main, store, "main_thread", "server.main_thread"),
            _missed(worker, store, "workers", "server.worker_0"),
        )
        self.kill_s = min(
            (each.kill_s + each.jitter_s * chance() for each in (main, worker) if each.kill_s), default=0.0
        )
        limits = (
            main.miss_s,
            main.megamiss_s,
            worker.miss_s,
            worker.megamiss_s,
            self.kill_s or worker.miss_s,
        )
        self.interval_s = max(min(limits) / 2, _SHORTEST_BEAT_S)
        self._monotonic = monotonic
        self._beats = 0
        self._last = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tell: Callable[[int, float], None] | None = None

    def start(self, loop: asyncio.AbstractEventLoop, tell: Callable[[int, float], None] | None) -> None:
        """tell: called at each beat with its number and ``kill_s``; None: nobody would listen."""
        self._loop, self._tell = loop, tell
        self._last = self._monotonic()
        self.beat()

    def beat(self) -> None:
        """The loop's call."""
        now = self._monotonic()
        late_s, self._last = now - self._last, now
        for limits, misses, mega_misses in self._threads:
            if late_s > limits.miss_s:
                for counter in misses:
                    counter.value += 1
            if late_s > limits.megamiss_s:
                for counter in mega_misses:
                    counter.value += 1
        self._beats += 1
        if self._tell is not None:
            self._tell(self._beats, self.kill_s)
        if self._loop is not None:
            self._timer = self._loop.call_later(self.interval_s, self.beat)

    def stop(self) -> None:
        """The loop ends: nobody is to miss it."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        if self._tell is not None:
            self._tell(self._beats, 0.0)


def _missed(limits: Limits, store: Store, kind: str, name: str) -> Missed:
    return Missed(
        limits,
        (store.counter(f"{kind}.watchdog_miss"), store.counter(f"{name}.watchdog_miss")),
        (store.counter(f"{kind}.watchdog_mega_miss"), store.counter(f"{name}.watchdog_mega_miss")),
    )


@reads(BOOTSTRAP)
def compile_watchdogs(
    root: Reader,
    store: Store,
    monotonic: Callable[[], float],
    chance: Callable[[], float],
    is_supervised: bool,
) -> Watchdog | None:
    """bootstrap.watchdogs, or the older watchdog, which is for both threads; None without either."""
    both, each = root.sub("watchdog"), root.sub("watchdogs")
    if both is not None and each is not None:
        root.fail("watchdog", "only one of watchdog and watchdogs may be set")
    if both is not None:
        main = worker = _compile_limits(both, is_supervised)
    elif each is not None:
        main, worker = _compile_each(each, is_supervised)
    else:
        return None
    return Watchdog(main, worker, store, monotonic, chance)


@reads("envoy.config.bootstrap.v3.Watchdogs")
def _compile_each(reader: Reader, is_supervised: bool) -> tuple[Limits, Limits]:
    return (
        _compile_limits(reader.sub("main_thread_watchdog"), is_supervised),
        _compile_limits(reader.sub("worker_watchdog"), is_supervised),
    )


@reads(WATCHDOG)
def _compile_limits(reader: Reader | None, is_supervised: bool) -> Limits:
    if reader is None:
        return Limits()
    reader.ignore("actions", why="nothing of one's own is done at a miss: it is counted")
    reader.ignore("multikill_timeout", "multikill_threshold", why="it is for several threads: there is one")
    kill_s = reader.seconds("kill_timeout", 0.0) or 0.0
    if kill_s and not is_supervised:
        reader.warn("kill_timeout", "has an effect with --supervise only: nobody else would see that we hang")
    elif 0.0 < kill_s < _SHORTEST_KILL_S:
        reader.warn("kill_timeout", f"is taken for {_SHORTEST_KILL_S:g}s, the shortest that can be told")
        kill_s = _SHORTEST_KILL_S
    return Limits(
        reader.seconds("miss_timeout", 0.2) or 0.0,
        reader.seconds("megamiss_timeout", 1.0) or 0.0,
        kill_s,
        reader.seconds("max_kill_timeout_jitter", 0.0) or 0.0,
    )
