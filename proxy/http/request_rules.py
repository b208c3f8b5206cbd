"""What a connection manager does to every request's path and authority before anything looks at them.

Paths, in Envoy's order (contract/envoy.md 1.4, seen of 1.40.0): escaped slashes, normalisation (RFC 3986 section 6 as
Chromium's URL canonicaliser reads it), merged slashes; a query is never touched. Authorities: the trailing dot, then
the port. Pure; a connection manager whose configuration names none of it has no PathRules and no HostRules at all.
"""

from __future__ import annotations

import re
from typing import Final

KEEP_ESCAPED: Final = 0
REJECT: Final = 1
UNESCAPE_AND_REDIRECT: Final = 2
UNESCAPE_AND_FORWARD: Final = 3

FORWARD: Final = 0  # the verdicts of PathRules.apply; REJECT is the third
REDIRECT: Final = 2

STRIP_NO_PORT: Final = 0
STRIP_MATCHING_PORT: Final = 1
STRIP_ANY_PORT: Final = 2

#: a path that normalisation could change
_SUSPECT: Final = re.compile(rb'[%\\"<>^`{|}]|/\.')
_ESCAPED_SLASH: Final = re.compile(rb"%(?:2[fF]|5[cC])")
_SLASHES: Final = re.compile(rb"//+")
_ESCAPE: Final = re.compile(rb'%([0-9A-Fa-f]{2})|["<>^`{|}]')
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORT: Final = re.compile(rb"[0-9]{1,10}")
MOST_PORT: Final = 0xFFFFFFFF  # what Envoy's parser of numbers takes


def normalize_path(path: bytes) -> bytes | None:
    """A path (without query) with escapes of unreserved characters undone, what needs escaping escaped, backslashes
    turned and dot segments resolved; None when it holds an escaped NUL, which nothing can stand for."""
    if _SUSPECT.search(path) is None:
        return path
    if b"%00" in path:
        return None
    path = _ESCAPE.sub(_canonical, path.replace(b"\\", b"/"))
    if b"/." not in path:
        return path
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    last = len(segments) - 1
    for at, segment in enumerate(segments):
        name = segment.partition(b";")[0]  # parameters do not make it another segment
        if name == b"..":
            if kept:
                kept.pop()
        elif name != b".":
            kept.append(segment)
            continue
        if at == last:
            kept.append(b"")
    return b"/" + b"/".join(kept)


def _canonical(found: re.Match[bytes]) -> bytes:
    digits = found[1]
    if digits is None:
        return b"%%%02X" % found[0][0]
    value = int(digits, 16)  # two hex ASCII digits, matched above
    return bytes((value,)) if value in _UNRESERVED else found[0]


def _unescape_slash(found: re.Match[bytes]) -> bytes:
    return b"/" if found[0][1] == 50 else b"\\"  # "2": %2F


class PathRules:
    """normalize_path, merge_slashes and path_with_escaped_slashes_action of one connection manager."""

    __slots__ = ("escaped", "merges", "normalizes")

    def __init__(self, normalizes: bool, merges: bool, escaped: int) -> None:
        self.normalizes = normalizes
        self.merges = merges
        self.escaped = escaped

    def apply(self, target: bytes) -> tuple[bytes, int]:
        """The path (with its query) to go on with, and the verdict: FORWARD, REDIRECT or REJECT."""
        path, mark, query = target.partition(b"?")
        verdict = FORWARD
        if self.escaped != KEEP_ESCAPED and b"%" in path:
            unescaped = _ESCAPED_SLASH.sub(_unescape_slash, path)
            if unescaped != path:
                path = unescaped
                if self.escaped == REJECT:
                    return path + mark + query, REJECT
                if self.escaped == UNESCAPE_AND_REDIRECT:
                    verdict = REDIRECT
        if self.normalizes:
            normal = normalize_path(path)
            if normal is None:
                return target, REJECT
            path = normal
        if self.merges and b"//" in path:
            path = _SLASHES.sub(b"/", path)
        return path + mark + query, verdict


class HostRules:
    """strip_trailing_host_dot, strip_matching_host_port and strip_any_host_port of one connection manager."""

    __slots__ = ("ports", "strips_dot")

    def __init__(self, strips_dot: bool, ports: int) -> None:
        self.strips_dot = strips_dot
        self.ports = ports

    def apply(self, authority: bytes, local_address: str) -> bytes:
        """The authority to go on with. local_address: our end of the connection, as "ip:port"."""
        if self.strips_dot:
            authority = strip_dot(authority)
        if self.ports == STRIP_ANY_PORT:
            return strip_port(authority, -1)
        if self.ports == STRIP_MATCHING_PORT:
            port = local_address.rpartition(":")[2].encode()
            return strip_port(authority, int(port)) if _PORT.fullmatch(port) else authority
        return authority


def strip_dot(authority: bytes) -> bytes:
    """Without the dot that ends a fully qualified name, port or not."""
    dot = authority.rfind(b".")
    if dot >= 0 and authority[dot + 1 : dot + 2] in (b"", b":"):
        return authority[:dot] + authority[dot + 1 :]
    return authority


def strip_port(authority: bytes, only: int) -> bytes:
    """Without its port. only: the one port to strip, -1 for any; what is no number stays."""
    colon = authority.rfind(b":")
    if colon < 0 or authority.rfind(b"]") > colon:
        return authority
    digits = authority[colon + 1 :]
    if not _PORT.fullmatch(digits):
        return authority
    port = int(digits)  # at most ten ASCII digits, checked above
    if port > MOST_PORT or (only >= 0 and port != only):
        return authority
    return authority[:colon]
