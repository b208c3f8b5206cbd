"""Network namespaces made by a test: nothing of the machine's own network is touched, and all is gone with a process.

A namespace lives as long as its holder, a sleeping process of ours. Needs root, unshare, nsenter and iproute2.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.closing import Closing

PROXY_UID = 1337
_CLONE_NEWNET = 0x40000000
#: a user that is neither root nor the proxy
APP_UID = 65534


def why_not(*commands: str) -> str:
    """Why a test that needs namespaces and these commands cannot run here, "" when it can."""
    if os.geteuid() != 0:
        return "needs root, to make network namespaces"
    absent = [name for name in ("unshare", "nsenter", "ip", *commands) if shutil.which(name) is None]
    if absent:
        return f"needs {', '.join(absent)} (make system-deps: iproute2, iptables, nftables)"
    made = subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    return "" if "iptables" not in commands else backend_missing("iptables")


def backend_missing(name: str) -> str:
    """Why rules cannot be made by "iptables", "iptables-nft", "iptables-legacy" or "nft" here: the kernel may lack it."""
    argv, rules = ([name, "-f", "-"], _NFT) if name == "nft" else ([f"{name}-restore"], _IPTABLES)
    if os.geteuid() != 0 or shutil.which(argv[0]) is None:
        return f"needs root and {argv[0]}"
    done = subprocess.run(["unshare", "-n", *argv], input=rules, capture_output=True, text=True)
    return f"{name} cannot redirect here: {done.stderr.strip()}" if done.returncode else ""


_IPTABLES = "*nat\n-A OUTPUT -p tcp -m owner --uid-owner 1 -j REDIRECT --to-ports 1\nCOMMIT\n"
_NFT = """table ip probe {
  chain output {
    type nat hook output priority -100; policy accept;
    meta l4proto tcp meta skuid 1 redirect to :1
  }
}
"""


def _enter(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def as_user(argv: Sequence[str], uid: int = PROXY_UID) -> list[str]:
    """The command run by another user and its group."""
    return ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *argv]


class Namespace(Closing):
    """One network namespace, with loopback up. A context manager."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "-n", "--kill-child", "sh", "-c", "ip link set lo up && echo up && exec sleep 1000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n", "no network namespace"
        self.pid = self._holder.pid

    def command(self, *argv: str, uid: int | None = None) -> list[str]:
        """How to run a command inside, as that user and its group."""
        enter = ["nsenter", "-t", str(self.pid), "-n", "--"]
        if uid is not None:
            return [*enter, *as_user(argv, uid)]
        return [*enter, *argv]

    def run(
        self, *argv: str, uid: int | None = None, text: str | None = None, expect: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run to its end; its exit code is checked unless ``expect`` is None."""
        done = subprocess.run(
            self.command(*argv, uid=uid), input=text, capture_output=True, text=True, timeout=30
        )
        assert expect is None or done.returncode == expect, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def popen(self, argv: Sequence[str], uid: int | None = None) -> subprocess.Popen[str]:
        """Start a command inside; its standard output is a pipe."""
        return subprocess.Popen(
            self.command(*argv, uid=uid), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def connect(self, other: Namespace, name: str, *addresses: str, peer: str = "") -> None:
        """A cable to another namespace: interface ``name`` here with the addresses, ``peer`` there, both up."""
        peer = peer or name
        cable = ["ip", "link", "add", name, "netns", str(self.pid), "type", "veth"]
        subprocess.run([*cable, "peer", "name", peer, "netns", str(other.pid)], check=True)
        for address in addresses:
            self.run("ip", "addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", name, "up")
        other.run("ip", "link", "set", peer, "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace: its new sockets and processes belong there, and stay there.

        No fork (``preexec_fn``) meanwhile: grpc, where a test has imported it, starts its threads anew after each, and would
        be in the namespace for good. See ``enter``."""
        with open("/proc/thread-self/ns/net") as before, open(f"/proc/{self.pid}/ns/net") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def enter(self) -> None:
        """This process is in the namespace from now on: for a ``preexec_fn``."""
        with open(f"/proc/{self.pid}/ns/net") as there:
            _enter(there.fileno())

    def close(self) -> None:
        """The namespace goes."""
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()
