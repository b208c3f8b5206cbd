"""Who may ask: keeps web pages in the operator's browser away from an admin interface on loopback.

Rules:
1. On a loopback listener the Host must be an IP literal, ``localhost`` (or below it), or one of the allowed names:
   a page whose own name was re-pointed at 127.0.0.1 (DNS rebinding) carries its own name there.
2. A request that may change something (not GET or HEAD) and that a browser marks as coming from another site
   (Origin, Sec-Fetch-Site) is refused on any listener: a form on any page could otherwise POST /quitquitquit.
   Reading needs no such rule: browsers do not show our replies to other sites' scripts.

Clients that are no browsers send neither header; a missing Host (HTTP/1.0) is no browser either.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a bound address is only reachable from this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_name(value: str) -> str:
    """The name in a Host header: lower case, without port and brackets; "" when it makes no sense."""
    name, _, port = value.partition(":")
    if value.isascii() and name.replace(".", "").replace("-", "").isalnum() and (port.isdigit() or not port):
        return name.lower().rstrip(
            "."
        )  # as most are: urllib's answer without its import, which /ready would wait for
    from urllib.parse import urlsplit

    try:
        return (urlsplit("//" + value).hostname or "").rstrip(".")
    except ValueError:
        return ""


class Guard:
    """loopback: rule 1 holds; allowed_hosts: names that may stand in Host besides."""

    __slots__ = ("allowed", "loopback")

    def __init__(self, loopback: bool, allowed_hosts: Iterable[str] = ()) -> None:
        self.loopback = loopback
        self.allowed = frozenset(name.lower() for name in allowed_hosts)

    def refusal(self, method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Why a request with these (lower-case) headers is refused; "" when it may pass."""
        host = origin = site = ""
        for name, value in headers:
            if name == b"host":
                host = value.decode("latin-1")
            elif name == b"origin":
                origin = value.decode("latin-1")
            elif name == b"sec-fetch-site":
                site = value.decode("latin-1")
        if self.loopback and host and not self._is_known(host_name(host)):
            return f"Host {host!r} is not allowed on a loopback admin listener"
        if method in (b"GET", b"HEAD"):
            return ""
        if site == "cross-site" or (origin and _netloc(origin) != host.lower()):
            return "cross-site requests are not allowed"
        return ""

    def _is_known(self, name: str) -> bool:
        if name == "localhost" or name.endswith(".localhost") or name in self.allowed:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _netloc(origin: str) -> str:
    """The host and port of an Origin; "" for "null" and nonsense."""
    from urllib.parse import urlsplit

    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
