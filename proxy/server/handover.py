"""Handing over to a successor: a new process gets the listening sockets and the counters of the one that runs.

Both sides speak over a unix socket, in lines of JSON; sockets come along as SCM_RIGHTS. Only a process of the same user
is answered.

    successor                          the one that runs
    {"op": "take"}            ->       {"sockets": [[listener, place], ...], "more": bool}, with as many descriptors
      ... compiles, warms ...            ... goes on serving ...
    {"op": "serve"}           ->       {"counters": ...}; accepts no more, finishes what runs
                              <-       {"counters": what has been added since}, then the end

Who is replaced in turn before its own predecessor has ended waits for that one's last counts and passes them on.

A listening socket is one and the same in both: connections that wait in its queue are accepted by whoever comes first,
and none is refused in between. A successor that fails before "serve" changes nothing.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from proxy.stats.store import Names, Values

if TYPE_CHECKING:
    import asyncio

    from proxy.stats.store import Store

log = logging.getLogger("main")

#: the kernel's SCM_MAX_FD
MOST_DESCRIPTORS: Final = 250
_TIMEOUT_S: Final = 10.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_ASKED: Final = 4096

#: (listener, place as configured, socket)
Sockets = list[tuple[str, str, socket.socket]]
Exported = tuple[int, float, list[int], dict[int, int]]


class Gives(Protocol):
    """The one that runs, as its successor's questions see it."""

    store: Store

    def listening_sockets(self) -> Sockets:
        """All that are listened on."""

    def hand_over(self) -> None:
        """The successor serves: accept no more, finish what runs, end."""


class HandoverFailed(OSError):
    """There is nobody to take over from, or it said something else."""


def _address(path: str) -> str:
    return "\0" + path[1:] if path.startswith("@") else path


# -- the one that runs ---------------------------------------------------------------------------------------------------


class Giver:
    """Waits for a successor at ``path`` ("@name" in Linux's abstract space)."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, gives: Gives) -> None:
        self._path = path
        self._loop = loop
        self._gives = gives
        self._listener: socket.socket | None = None
        self._successor: socket.socket | None = None
        self._pending = b""
        self._sent: Counts | None = None

    def start(self) -> None:
        """Raises OSError when the path cannot be had."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if not self._path.startswith("@"):
                _remove_stale(self._path)
            listener.bind(_address(self._path))
            if not self._path.startswith("@"):
                os.chmod(self._path, 0o600)
            listener.listen(1)
        except OSError as error:
            listener.close()
            raise OSError(
                error.errno, f"cannot listen for a successor at {self._path}: {error.strerror}"
            ) from None
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            came, _ = self._listener.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", came.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid != os.geteuid() or self._successor is not None:
            log.warning("a successor of user %d is not answered", uid)
            came.close()
            return
        came.settimeout(_TIMEOUT_S)  # it reads nothing but our answers, which its buffer holds
        self._successor, self._pending = came, b""
        self._loop.add_reader(came.fileno(), self._read)

    def _read(self) -> None:
        assert self._successor is not None
        try:
            data = self._successor.recv(4096)
            self._pending += data
            if len(self._pending) > _MOST_ASKED:
                raise ValueError("no question of ours")
            while b"\n" in self._pending and self._successor is not None:
                line, _, self._pending = self._pending.partition(b"\n")
                self._answer(json.loads(line).get("op"))
        except (OSError, ValueError, AttributeError):
            data = b""
        if not data:
            self._forget()

    def _answer(self, asked: object) -> None:
        assert self._successor is not None
        if asked == "take":
            send_sockets(self._successor, self._gives.listening_sockets())
        elif asked == "serve":
            self._stop_listening()
            sent = Counts.of(self._gives.store)
            try:
                self._successor.sendall(sent.line())
            except OSError:
                self.start()  # it is gone: there may be another one
                raise
            self._sent = sent
            log.info("a successor serves")
            self._gives.hand_over()

    def _forget(self) -> None:
        """The successor has gone, or failed: as if it had never come."""
        if self._successor is not None:
            self._loop.remove_reader(self._successor.fileno())
            self._successor.close()
            self._successor = None

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            if not self._path.startswith("@"):
                with suppress(FileNotFoundError):
                    os.unlink(self._path)

    @property
    def has_handed_over(self) -> bool:
        """Whether a successor serves, which waits for our last counts."""
        return self._sent is not None

    def close(self) -> None:
        """The process ends: the successor gets what has been counted since."""
        self._stop_listening()
        if self._successor is not None and self._sent is not None:
            try:
                self._successor.sendall(Counts.of(self._gives.store).since(self._sent).line())
            except OSError as error:
                log.warning("the last counts did not reach the successor: %s", error)
        self._forget()


def _remove_stale(path: str) -> None:
    """What one that was killed has left. Raises OSError where somebody listens there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return  # nothing of ours: binding will say so
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_TIMEOUT_S)
            probe.connect(path)
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        os.unlink(path)
        return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def send_sockets(to: socket.socket, sockets: Sockets) -> None:
    """Listening sockets with their names, in batches that the kernel takes."""
    batches = [sockets[at : at + MOST_DESCRIPTORS] for at in range(0, len(sockets), MOST_DESCRIPTORS)] or [[]]
    for at, batch in enumerate(batches):
        named = [[listener, place] for listener, place, _ in batch]
        line = json.dumps({"sockets": named, "more": at + 1 < len(batches)}).encode() + b"\n"
        socket.send_fds(to, [line], [each.fileno() for _, _, each in batch])


def receive_sockets(
    peer: socket.socket, pending: bytes
) -> tuple[dict[tuple[str, str], socket.socket], bytes]:
    """What ``send_sockets`` has sent, by (listener, place), and the bytes behind it. Raises EOFError, OSError, and
    ValueError, KeyError or TypeError for anything else. A batch's descriptors come with its first byte."""
    found: dict[tuple[str, str], socket.socket] = {}
    more = True
    while more:
        descriptors: list[int] = []
        while b"\n" not in pending:
            data, came, _, _ = socket.recv_fds(peer, 65536, MOST_DESCRIPTORS)
            descriptors += came
            if not data or len(pending) > _MOST_BYTES:
                for each in descriptors:
                    os.close(each)
                raise EOFError("the answer ends early")
            pending += data
        line, _, pending = pending.partition(b"\n")
        batch = json.loads(line)
        for (listener, place), descriptor in zip(batch["sockets"], descriptors, strict=True):
            found[listener, place] = socket.socket(fileno=descriptor)
        more = bool(batch["more"])
    return found, pending


# -- the successor -------------------------------------------------------------------------------------------------------


class Inherited:
    """What the process before us has given. ``take`` what is wanted, ``serve``, and ``close`` the rest."""

    def __init__(self, path: str) -> None:
        """Raises HandoverFailed."""
        self._peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._peer.settimeout(_TIMEOUT_S)
        self._pending = b""
        self._sockets: dict[tuple[str, str], socket.socket] = {}
        try:
            self._peer.connect(_address(path))
            self._ask("take")
            self._sockets, self._pending = receive_sockets(self._peer, b"")
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            self.close()
            raise HandoverFailed(f"nothing can be taken over at {path}: {error}") from None

    def _ask(self, what: str) -> None:
        self._peer.sendall(json.dumps({"op": what}).encode() + b"\n")

    def take(self, listener: str, place: str) -> socket.socket | None:
        """The listening socket of a place; of another listener's name if that one is gone. None: bind anew."""
        found = self._sockets.pop((listener, place), None)
        if found is None:
            key = next((key for key in self._sockets if key[1] == place), None)
            found = self._sockets.pop(key) if key is not None else None
        return found

    def serve(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        """We serve: the other one may end. Its counters are ours from now on; they are lost if it has died."""
        for left in self._sockets.values():
            left.close()
        self._sockets.clear()
        try:
            self._ask("serve")
            while b"\n" not in self._pending and len(self._pending) < _MOST_BYTES:
                data = self._peer.recv(65536)
                if not data:
                    raise ValueError("the answer ends early")
                self._pending += data
            self._add(store)
        except TimeoutError:
            log.warning("the process before has not answered yet")
        except (OSError, ValueError) as error:
            log.warning("the process before did not hand over: %s", error)
            self._peer.close()
            return
        self._peer.setblocking(False)
        loop.add_reader(self._peer.fileno(), self._listen, store, loop)

    def _listen(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        try:
            data = self._peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._pending += data
        try:
            while b"\n" in self._pending:
                self._add(store)
        except ValueError as error:
            log.warning("the process before: %s", error)
            data = b""
        if not data or len(self._pending) > _MOST_BYTES:
            loop.remove_reader(self._peer.fileno())
            self._peer.close()

    @property
    def is_over(self) -> bool:
        """The process before has told its last counts, or has died."""
        return self._peer.fileno() < 0

    def _add(self, store: Store) -> None:
        line, _, self._pending = self._pending.partition(b"\n")
        Counts.read(line).add_to(store)

    def close(self) -> None:
        """Give everything back that was not taken."""
        for left in self._sockets.values():
            left.close()
        self._sockets.clear()
        self._peer.close()


def inherit(path: str, if_there: bool) -> Inherited | None:
    """From whoever serves at ``path``. Raises HandoverFailed where there is nobody, unless it is only asked ``if_there``."""
    try:
        return Inherited(path)
    except HandoverFailed as error:
        if not if_there:
            raise
        log.warning("%s", error)
    return None


# -- what has been counted -----------------------------------------------------------------------------------------------


class Counts:
    """Counters and histograms by name: all that only ever grows."""

    def __init__(self, counters: dict[str, int], histograms: dict[str, tuple[str, Exported]]) -> None:
        self.counters = counters
        self.histograms = histograms

    @classmethod
    def of(cls, store: Store) -> Counts:
        """As they are now."""
        store.fold()
        names, values = store.names(), store.values()
        kept = zip(names.histograms, values.histograms, strict=True)
        return cls(
            dict(zip(names.counters, values.counters, strict=True)),
            {name: (unit, _copy(exported)) for (name, unit), exported in kept},
        )

    @classmethod
    def read(cls, line: bytes) -> Counts:
        """From ``line``'s JSON. Raises ValueError for what is none."""
        try:
            given = json.loads(line)["counters"]
            histograms = {
                str(name): (str(unit), (int(count), float(total), list(map(int, buckets)), _bins(bins)))
                for name, (unit, (count, total, buckets, bins)) in given["histograms"].items()
            }
            return cls({str(name): int(count) for name, count in given["counters"].items()}, histograms)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no counters: {error}") from None

    def line(self) -> bytes:
        """As JSON."""
        return (
            json.dumps({"counters": {"counters": self.counters, "histograms": self.histograms}}).encode()
            + b"\n"
        )

    def since(self, before: Counts) -> Counts:
        """What has been added after ``before``; a counter that was reset counts from zero."""
        counters = {}
        for name, count in self.counters.items():
            old = before.counters.get(name, 0)
            counters[name] = count - old if count >= old else count
        histograms = {}
        for name, (unit, exported) in self.histograms.items():
            known = before.histograms.get(name)
            histograms[name] = (unit, _minus(exported, known[1]) if known is not None else exported)
        return Counts(counters, histograms)

    def add_to(self, store: Store) -> None:
        """Count all this in another store too. Histograms whose buckets are other ones there begin anew."""
        names = Names(list(self.counters), [], [], [])
        store.add(names, Values(list(self.counters.values()), [], [], []))
        for name, (unit, exported) in self.histograms.items():
            try:
                store.histogram(name, unit).add(exported)
            except ValueError:
                log.warning("histogram %s has other buckets now and begins anew", name)


def _copy(exported: Exported) -> Exported:
    count, total, buckets, bins = exported
    return count, total, list(buckets), dict(bins)


def _bins(given: dict[str, int]) -> dict[int, int]:
    return {int(name): int(count) for name, count in given.items()}


def _minus(now: Exported, before: Exported) -> Exported:
    if now[0] < before[0] or len(now[2]) != len(before[2] or now[2]):
        return now
    buckets = [a - b for a, b in zip(now[2], before[2] or [0] * len(now[2]), strict=True)]
    bins = {name: count - before[3].get(name, 0) for name, count in now[3].items()}
    return now[0] - before[0], now[1] - before[1], buckets, bins
