"""A parent that replaces its worker when it dies: keeps the listening sockets and what had been counted.

    supervisor --(fork; a socket pair, a memfd)--> worker
    {"sockets": ...} with what it keeps   ->    adopts them
                                          <-    {"sockets": ...} with all it listens on, once it serves
                                          <-    a byte and the same again, whenever they are others: a socket that is
                                                kept here though nobody accepts from it takes connections all the same
                                          <-    another byte, once a successor (server.handover) serves in its place
    the memfd: the worker's counters, each second and before every answer that shows them; its beat (server.watchdog)

The worker's end of the pair closes with the worker. A worker that has never served is not replaced: its successor would
fail as well. Nor is one that has handed over: another process listens now, with a supervisor of its own perhaps. One whose supervisor has gone ends.
One that serves and whose beat stops for the watchdog's kill_timeout is killed, and replaced as any that died.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import struct
import sys
import traceback
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from proxy.base.signals import ignore_signals
from proxy.server.handover import Counts, Sockets, receive_sockets, send_sockets

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from proxy.stats.store import Store

log = logging.getLogger("main")

#: before the replacement of one that has died again at once, seconds
_BACK_OFF_S: Final = (0.0, 0.1, 0.5, 1.0)
#: one that has lived so long is no longer in trouble
_WELL_S: Final = 30.0
#: a supervisor does nothing but listen
_TOLD_WITHIN_S: Final = 5.0
_FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_HEAD: Final = struct.Struct("<QII")  # sequence, length, checksum
_BEAT: Final = struct.Struct("<Qd")  # number, the silence that is too long or 0.0
#: what a worker says of itself
_OTHERS: Final = b"s"  # sockets follow
_HANDED_OVER: Final = b"."
_SLOT: Final = 32 * 1024 * 1024  # sparse: what is not written takes no memory


class Memory:
    """Two slots in a memfd, written in turn; behind them the worker's beat."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = os.memfd_create("outrider-counters") if descriptor is None else descriptor
        self._sequence = 0

    def write(self, data: bytes) -> bool:
        """Keep ``data``; False where it is too long."""
        if len(data) + _HEAD.size > _SLOT:
            return False
        self._sequence += 1
        head = _HEAD.pack(self._sequence, len(data), zlib.crc32(data))
        os.pwrite(self.descriptor, head + data, self._sequence % 2 * _SLOT)
        return True

    def read(self) -> bytes:
        """What was written last and whole; b"" for nothing."""
        best, sequence = b"", 0
        for slot in (0, 1):
            head = os.pread(self.descriptor, _HEAD.size, slot * _SLOT)
            if len(head) < _HEAD.size:
                continue
            number, length, checksum = _HEAD.unpack(head)
            data = os.pread(self.descriptor, length, slot * _SLOT + _HEAD.size) if length < _SLOT else b""
            if number > sequence and len(data) == length and zlib.crc32(data) == checksum:
                best, sequence = data, number
        self._sequence = max(self._sequence, sequence)
        return best

    def beat(self, number: int, kill_s: float) -> None:
        """The worker lives. kill_s: it is to be killed after so much silence, 0.0 for never"""
        os.pwrite(self.descriptor, _BEAT.pack(number, kill_s), 2 * _SLOT)

    def last_beat(self) -> tuple[int, float]:
        """(its number, kill_s)"""
        data = os.pread(self.descriptor, _BEAT.size, 2 * _SLOT)
        number, kill_s = _BEAT.unpack(data) if len(data) == _BEAT.size else (0, 0.0)
        return number, kill_s


class Watch:
    """Looks at a beat from time to time. Silence counts while we look ourselves: when all were frozen together (a container
    that is paused, a machine that sleeps) nobody is late."""

    def __init__(self, now: float, beat: int) -> None:
        self._beat = beat
        self._since = self._looked = now

    def has_been_silent(self, now: float, beat: int, limit_s: float) -> bool:
        """Whether no beat has come for limit_s (0.0: never too long). To be asked at least twice in that time."""
        if beat != self._beat or now - self._looked > limit_s / 2:
            self._beat, self._since = beat, now
        self._looked = now
        return 0.0 < limit_s <= now - self._since


# -- the parent ----------------------------------------------------------------------------------------------------------


class Worker(Protocol):
    """A child; ``subprocess.Popen`` is one."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal's; None while it lives."""

    def wait(self) -> int:
        """The same, once it has ended."""

    def send_signal(self, number: int) -> None:
        """Nothing happens when it has ended."""

    def kill(self) -> None:
        """SIGKILL."""


class Forked:
    """A child that has everything imported that we have: there in a tenth of the time a new interpreter takes, and most of
    its memory is ours. ``run`` is its life, in a group of its own: what a terminal sends to ours would reach it twice, and a
    second signal ends at once.

    To be made where there is one thread. ours: what it must not hold open"""

    def __init__(self, run: Callable[[], int], ours: Sequence[socket.socket] = ()) -> None:
        self._code: int | None = None
        self._reaped = False
        sys.stdout.flush()  # or the child would write what is left in it as well
        sys.stderr.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
        self.pid = os.fork()
        if not self.pid:
            _live(run, before, ours)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def poll(self) -> int | None:
        """See Worker."""
        return self._look(os.WEXITED | os.WNOWAIT | os.WNOHANG)

    def wait(self) -> int:
        """See Worker."""
        code = self._look(os.WEXITED | os.WNOWAIT)
        assert code is not None, "waitid() without WNOHANG waits"
        if not self._reaped:
            self._reaped = True
            os.waitpid(self.pid, 0)
        return code

    def _look(self, flags: int) -> int | None:
        """The child stays a zombie meanwhile: a signal's handler may look while we do, and neither must find it gone."""
        if self._code is None:
            found = os.waitid(os.P_PID, self.pid, flags)
            if found is not None:
                self._code = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        return self._code

    def send_signal(self, number: int) -> None:
        """See Worker."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """See Worker."""
        self.send_signal(signal.SIGKILL)


def _live(
    run: Callable[[], int], mask: set[int | signal.Signals], not_its: Sequence[socket.socket]
) -> NoReturn:
    """The child's whole life: nothing of the parent's is to run in it, its handlers of signals least of all."""
    code = 1
    try:
        for number in _FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)
        for each in not_its:
            each.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        code = run()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


class Supervisor:
    """Has one worker after the other. clock: monotonic seconds

    start: begins one that has these two descriptors (its end of the pair, the memfd), and none of these sockets
    """

    def __init__(
        self,
        start: Callable[[int, int, Sequence[socket.socket]], Worker],
        clock: Callable[[], float],
        wait: Callable[[float], None],
    ) -> None:
        self._start = start
        self._clock = clock
        self._wait = wait
        self._memory = Memory()
        self._kept: dict[tuple[str, str], socket.socket] = {}
        self._worker: Worker | None = None
        self._served = False
        self._stopping = False
        self._handed_over = False

    def run(self) -> int:
        """Until told to stop, or a worker ends by itself with 0; the exit code."""
        for number in _FORWARDED:
            signal.signal(number, self._on_signal)
        code = self._lives()
        ignore_signals(_FORWARDED)
        return code

    def _lives(self) -> int:
        """One worker after the other; the last one's exit code."""
        at_once = 0
        while True:
            began = self._clock()
            code = self._life()
            if self._stopping or self._handed_over or not code or not self._served:
                return code if code >= 0 else 128 - code
            at_once = 0 if self._clock() - began > _WELL_S else at_once + 1
            pause_s = _BACK_OFF_S[min(at_once, len(_BACK_OFF_S)) - 1] if at_once else 0.0
            log.warning("the worker ended with %d: replaced in %g s", code, pause_s)
            self._wait(pause_s)
            if self._stopping:
                return 0

    def _on_signal(self, number: int, _: Any) -> None:
        self._stopping = self._stopping or number in (signal.SIGTERM, signal.SIGINT)
        if self._worker is not None and self._worker.poll() is None:
            self._worker.send_signal(number)

    def _life(self) -> int:
        """One worker, from its start to its end; its exit code, negative for a signal's."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._memory.read()  # its sequence goes on
        with ours:
            not_its = [ours, *self._kept.values()]
            self._worker = self._start(theirs.fileno(), self._memory.descriptor, not_its)
            theirs.close()
            if self._stopping:  # told while there was nobody to tell
                self._worker.send_signal(signal.SIGTERM)
            try:
                send_sockets(ours, [(*key, each) for key, each in self._kept.items()])
                self._keep(receive_sockets(ours, b"")[0])
                if self._hear(ours, self._worker):  # else it has ended
                    self._let_go()
            except EOFError:
                log.debug("a worker has ended without ever serving")
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
            ) as error:  # the latter: what is no list of sockets
                log.warning("a worker: %s", error)
            return self._worker.wait()

    def _hear(self, ours: socket.socket, worker: Worker) -> bytes:
        """What it says when it has handed over; b"" when it has ended, or was killed because it hung."""
        while True:
            said = self._hear_byte(ours, worker)
            if said != _OTHERS:
                return said
            ours.settimeout(None)
            self._keep(receive_sockets(ours, b"")[0])

    def _hear_byte(self, ours: socket.socket, worker: Worker) -> bytes:
        beat, limit_s = self._memory.last_beat()
        watch = Watch(self._clock(), beat)
        while limit_s:
            ours.settimeout(limit_s / 5)
            with suppress(TimeoutError):
                return ours.recv(1)
            beat, limit_s = self._memory.last_beat()
            if watch.has_been_silent(self._clock(), beat, limit_s):
                log.critical("the worker has been silent for %g s: killed", limit_s)
                worker.kill()
                break
        ours.settimeout(None)
        return ours.recv(1)

    def _let_go(self) -> None:
        """Somebody else listens: a port that he has closed must not stay open here."""
        self._handed_over = True
        for each in self._kept.values():
            each.close()
        self._kept = {}

    def _keep(self, sockets: dict[tuple[str, str], socket.socket]) -> None:
        for old in self._kept.values():
            old.close()
        self._kept = sockets
        self._served = True


# -- the worker ----------------------------------------------------------------------------------------------------------


class Link:
    """The worker's end. ``take`` sockets at the start, ``serve`` once it does, ``keep`` counters. beat: as Memory.beat"""

    def __init__(self, text: str) -> None:
        """text: of --supervised. Raises ValueError, OSError."""
        pair, memory = (int(each) for each in text.split(","))
        self._peer = socket.socket(fileno=pair)
        self._memory = Memory(memory)
        self.beat = self._memory.beat
        self.beat(0, 0.0)  # what the one before us said is over
        os.set_inheritable(pair, False)
        os.set_inheritable(memory, False)
        try:
            self._sockets, _ = receive_sockets(self._peer, b"")
        except EOFError:
            raise OSError("the supervisor has gone") from None
        self._sent: Sockets | None = None  # what the supervisor keeps; None: it is not to be told
        self._too_long = False
        self.resumes = bool(self._sockets or self._memory.read())  # there was a worker before this one

    def take(self, listener: str, place: str) -> socket.socket | None:
        """As ``handover.Inherited.take``."""
        return self._sockets.pop((listener, place), None)

    def restore(self, store: Store) -> None:
        """Go on counting where the one before us stood."""
        data = self._memory.read()
        if data:
            Counts.read(data).add_to(store)

    def serve(self, sockets: Sockets, loop: asyncio.AbstractEventLoop, on_gone: Callable[[], None]) -> None:
        """We serve. on_gone: called when the supervisor has ended."""
        for left in self._sockets.values():
            left.close()
        self._sockets.clear()
        send_sockets(self._peer, sockets)
        self._sent = sockets
        self._peer.setblocking(False)
        loop.add_reader(self._peer.fileno(), self._gone, loop, on_gone)

    def _gone(self, loop: asyncio.AbstractEventLoop, on_gone: Callable[[], None]) -> None:
        loop.remove_reader(self._peer.fileno())
        on_gone()

    def renew(self, sockets: Sockets) -> None:
        """All that is listened on from now on."""
        if self._sent is None or sockets == self._sent:
            return
        self._sent = sockets
        self._peer.settimeout(_TOLD_WITHIN_S)
        with suppress(OSError):  # the supervisor has gone, and so shall we
            self._peer.send(_OTHERS)
            send_sockets(self._peer, sockets)
        self._peer.setblocking(False)

    def handed_over(self) -> None:
        """A successor serves: this worker is not to be replaced."""
        self._sent = None
        with suppress(OSError):  # as above
            self._peer.send(_HANDED_OVER)

    def keep(self, store: Store) -> None:
        """What has been counted, for the one after us."""
        if not self._memory.write(Counts.of(store).line()) and not self._too_long:
            self._too_long = True
            log.warning("there are too many counters to be kept for a worker after this one")
