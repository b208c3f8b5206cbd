"""The supervisor, with a worker of three lines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from proxy.server.supervisor import Forked, Supervisor

#: says that it serves (nothing), then either dies or waits
WORKER = """
import socket, sys, time
from proxy.server.handover import receive_sockets, send_sockets
pair = socket.socket(fileno=int(sys.argv[-1].partition(",")[0]))
receive_sockets(pair, b"")
send_sockets(pair, [])
{then}
"""


@pytest.fixture(autouse=True)
def _signals():
    """The supervisor takes the process's signals for itself."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    kept |= {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def starting(script: str):
    """Workers that are interpreters of their own."""

    def start(pair: int, memory: int, not_its) -> subprocess.Popen[bytes]:
        descriptors = (pair, memory)
        argv = [sys.executable, "-c", script, "{},{}".format(*descriptors)]
        return subprocess.Popen(argv, pass_fds=descriptors)

    return start


def supervisor(then: str, wait) -> Supervisor:
    return Supervisor(starting(WORKER.format(then=then)), lambda: 0.0, wait)


def test_told_to_end_between_two_workers():
    """Nobody is there to be told: neither is another one begun."""
    paused = []

    def wait(seconds: float) -> None:
        paused.append(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    assert supervisor("sys.exit(3)", wait).run() == 0
    assert paused == [0.0]


def test_told_to_end_while_a_worker_is_being_made(monkeypatch):
    """The signal comes before there is a worker to hand it to, and must not be lost."""
    made = supervisor("time.sleep(60)", lambda seconds: None)
    read = made._memory.read

    def read_and_be_told() -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return read()

    monkeypatch.setattr(made._memory, "read", read_and_be_told)
    assert made.run() == 128 + signal.SIGTERM


def test_a_child_is_in_a_group_of_its_own():
    """Ctrl-C in a terminal goes to all of a group: the worker would get it twice, and end at once."""
    assert Forked(lambda: int(os.getpgrp() != os.getpid())).wait() == 0


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (lambda: 0, 0),
        (lambda: 3, 3),
        (lambda: sys.exit(4), 4),
        (lambda: sys.exit("no"), 1),
        (lambda: 1 // 0, 1),
    ],
)
def test_how_a_child_ends(run, code):
    child = Forked(run)
    assert child.wait() == child.poll() == code
    child.kill()  # one that has ended: nothing happens


def test_a_signal_that_comes_while_the_end_of_a_child_is_looked_at(monkeypatch):
    """Its handler looks as well."""
    child = Forked(lambda: 3)
    for name in ("waitpid", "waitid"):
        looks = getattr(os, name)

        def interrupted(*given, looks=looks, name=name):
            found = looks(*given)
            monkeypatch.setattr(os, name, looks)
            assert child.poll() in (None, 3)
            child.send_signal(signal.SIGTERM)
            return found

        monkeypatch.setattr(os, name, interrupted)
    assert child.wait() == child.wait() == child.poll() == 3


def test_what_a_child_must_not_hold():
    """Or the end of who holds the other end is not seen."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = Forked(lambda: len(theirs.recv(1)), [ours])
        theirs.close()
        assert child.poll() is None
        ours.close()
        assert child.wait() == 0


def test_what_a_child_does_at_a_signal_is_its_own():
    """Not what its parent does; one that came before it could know of it is not lost."""
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(9))
    child = Forked(lambda: time.sleep(60) or 0)
    assert child.poll() is None
    child.send_signal(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


#: beats, serves (nothing), and then beats no more; the one after it finds that, and ends in peace
SILENT = """
import socket, sys, time
from proxy.server.handover import receive_sockets, send_sockets
from proxy.server.supervisor import Memory
pair, memory = sys.argv[-1].split(",")
memory = Memory(int(memory))
last, _ = memory.last_beat()
pair = socket.socket(fileno=int(pair))
receive_sockets(pair, b"")
memory.beat(1, 0.0 if last else 0.2)
send_sockets(pair, [])
for number in (2, 3):
    time.sleep(0.05)
    memory.beat(number, 0.0 if last else 0.2)
time.sleep(0 if last else 60)
"""


def test_one_that_is_silent_is_killed_and_replaced(caplog):
    paused = []
    made = Supervisor(starting(SILENT), time.monotonic, paused.append)
    began = time.monotonic()
    assert made.run() == 0
    assert time.monotonic() - began < 50
    assert paused == [0.0]
    assert "the worker has been silent for 0.2 s: killed" in caplog.text
    assert "the worker ended with -9: replaced in 0 s" in caplog.text
