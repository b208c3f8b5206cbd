"""Is traffic captured? Connections to addresses nobody has, which can only be answered by who captures them."""

from __future__ import annotations

import errno
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from proxy.capture.options import ANYTHING, of_family, split
from proxy.capture.restore import group_number
from proxy.network.original_dst import original_destination

if TYPE_CHECKING:
    from proxy.capture.options import CaptureOptions

#: from the ranges for documentation (RFC 5737, RFC 3849): never anyone's
NOWHERE: Final = {4: "192.0.2.1", 6: "2001:db8::1"}
LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
#: the kernel's own refusal before a packet was made: no rule has been asked
_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(slots=True, frozen=True)
class Result:
    """captured: True, False, or None where it could not be tried. text: for people."""

    captured: bool | None
    text: str


def probe(options: CaptureOptions, version: int, port: int, timeout_s: float) -> list[Result]:
    """Try both ways. port: where the probes seem to go; a listener is put in the proxy's place where it does not run."""
    return [
        _outbound(options, version, port, timeout_s),
        _inbound(options, version, port, timeout_s),
    ]


def _outbound(options: CaptureOptions, version: int, port: int, timeout_s: float) -> Result:
    where = f"outbound IPv{version}"
    target = _target(options, version)
    port = port if target else int((split(options.outbound_ports) or ["0"])[0])
    target = target or (NOWHERE[version] if port else None)
    if target is None:
        return Result(None, f"{where}: nothing is to be captured")
    if str(os.geteuid()) in split(options.proxy_uid) or str(os.getegid()) in split(options.proxy_gid):
        return Result(
            None, f"{where}: not tried, because this user is the proxy's own, which is never captured"
        )
    left_alone = _left_alone(options, target)
    if left_alone:
        return Result(None, f"{where}: not tried, because {left_alone}")
    return _try(where, (target, port), version, options.proxy_port, timeout_s)


def _left_alone(options: CaptureOptions, target: str) -> str:
    """Why a connection of ours to ``target`` would rightly not be captured; "" where it is to be."""
    group = str(os.getegid())
    excluded = group in map(group_number, split(options.groups_exclude))
    if excluded or (options.groups != ANYTHING and group not in map(group_number, split(options.groups))):
        return f"connections of this group ({group}) are not to be captured"
    for name in split(options.exclude_interfaces):
        there = interface_to(target)
        if there == name or (name.endswith("+") and there.startswith(name[:-1])):
            return f"it would leave by {there}, which is not to be captured"
    return ""


def interface_to(target: str) -> str:
    """By which interface this host would connect to an address, "" where nobody can say."""
    try:
        done = subprocess.run(["ip", "-o", "route", "get", target], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    words = done.stdout.split()
    return words[words.index("dev") + 1] if "dev" in words[:-1] else ""


def _inbound(options: CaptureOptions, version: int, port: int, timeout_s: float) -> Result:
    """The proxy to its own pod: what the rules send to the inbound side. From outside only another machine can try."""
    where = f"inbound IPv{version}"
    uid = next(iter(split(options.proxy_uid)), "")
    own = own_address(version)
    if own is None:
        return Result(None, f"{where}: not tried, because there is no address of this host to connect to")
    if str(os.geteuid()) != uid and (os.geteuid() != 0 or not uid):
        return Result(None, f"{where}: not tried, which only root or the proxy's own user (uid {uid}) can do")
    with _as_user(int(uid)):
        return _try(where, (own, port), version, options.inbound_port, timeout_s)


def _target(options: CaptureOptions, version: int) -> str | None:
    """An address that is to be captured; None where none is, whatever the port."""
    if options.outbound_ranges == ANYTHING:
        return NOWHERE[version]
    excluded = of_family(options.outbound_exclude, version)
    for network in of_family(options.outbound_ranges, version):
        last = network[-2] if network.num_addresses > 2 else network[-1]
        if not any(last in other for other in excluded) and not last.is_loopback:
            return str(last)
    return None


def _try(where: str, target: tuple[str, int], version: int, port: int, timeout_s: float) -> Result:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    there = f"{target[0]} port {target[1]}"
    with socket.socket(family) as listener, socket.socket(family) as client:
        plays = _listen(listener, version, port)
        client.setblocking(False)
        failed = client.connect_ex(target)
        if failed in _NO_ROUTE:
            return Result(None, f"{where}: not tried, there is no route to {there}: {os.strerror(failed)}")
        if not plays:
            return _answered(where, there, client, port, timeout_s)
        if not select.select([listener], [], [], timeout_s)[0]:
            return Result(False, f"{where}: a connection to {there} did not come to port {port}")
        with listener.accept()[0] as accepted:
            found = original_destination(accepted)
        if found != target:
            return Result(False, f"{where}: the connection came, but its destination is known as {found}")
        return Result(True, f"{where}: a connection to {there} came to port {port}")


def _answered(where: str, there: str, client: socket.socket, port: int, timeout_s: float) -> Result:
    """The proxy runs: who else could take a connection to an address nobody has?"""
    if select.select([], [client], [], timeout_s)[1]:
        failed = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not failed:
            return Result(True, f"{where}: a connection to {there} was taken by who listens on port {port}")
        return Result(False, f"{where}: a connection to {there} failed: {os.strerror(failed)}")
    return Result(False, f"{where}: a connection to {there} was taken by nobody")


def _listen(listener: socket.socket, version: int, port: int) -> bool:
    """Whether we stand in the proxy's place; False: somebody is there."""
    try:
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK[version], port))
        listener.listen(1)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def own_address(version: int) -> str | None:
    """An address of this host that others know; no packet is sent to find it."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((NOWHERE[version], 9))
        except OSError:
            return None
        found = str(sock.getsockname()[0])
    return None if found.startswith("fe80") else found


@contextmanager
def _as_user(uid: int) -> Iterator[None]:
    """Sockets made inside belong to that user, as the kernel's owner match sees it."""
    before = os.geteuid()
    if before == uid:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)
