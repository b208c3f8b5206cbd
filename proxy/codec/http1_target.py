"""Request targets that do not start with "/", and authorities (RFC 9112 section 3.2, RFC 3986 section 3.2).

The rules are those seen of Envoy 1.40.0: absolute-form takes http and https only, its authority replaces Host and
loses any userinfo; CONNECT needs host:port; ``*`` belongs to OPTIONS.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.base.errors import CodecError

_AUTHORITY: Final = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~]*")
_ABSOLUTE: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)", re.DOTALL)
_HOST_PORT: Final = re.compile(rb"([A-Za-z0-9.\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


#: Authorities found good, so that a name is looked at once. Bounded: clients choose them.
AUTHORITIES: Final[set[bytes]] = set()


def check_authority(authority: bytes) -> None:
    """Refuse a Host with characters that no authority has. Raises CodecError."""
    if not _AUTHORITY.fullmatch(authority):
        raise CodecError(400, b"Bad Request", b"http.invalid_authority")
    if len(AUTHORITIES) < 1024 and len(authority) <= 256:
        AUTHORITIES.add(authority)


def read_target(method: bytes, target: bytes) -> tuple[bytes, bytes, bytes] | None:
    """(scheme, authority, path) of an absolute-form or CONNECT target; None to keep ``*`` as it is.

    CONNECT has the path b"". Raises CodecError.
    """
    if method == b"CONNECT":
        if _host_port(target, needs_port=True) is None:
            raise CodecError(400, b"Bad Request", b"http1.invalid_url")
        return b"http", target, b""
    if target == b"*" and method == b"OPTIONS":
        return None
    parts = _ABSOLUTE.fullmatch(target)
    if parts is None:
        raise CodecError(400, b"Bad Request", b"http1.invalid_url")
    scheme, authority, path = parts[1].lower(), parts[2], parts[3]
    userinfo, _, host = authority.rpartition(b"@")
    if b"@" in userinfo or _host_port(host, needs_port=False) is None or path[:1] == b"#":
        raise CodecError(400, b"Bad Request", b"http1.invalid_url")
    if scheme != b"http" and scheme != b"https":
        raise CodecError(400, b"Bad Request", b"http1.invalid_scheme")
    return scheme, host, path or b"/"


def _host_port(text: bytes, needs_port: bool) -> bytes | None:
    """The host of ``host[:port]``, or None when it is not one."""
    parts = _HOST_PORT.fullmatch(text)
    if parts is None or (needs_port and parts[2] is None):
        return None
    if parts[2] is not None and int(parts[2]) > 65535:  # at most five ASCII digits, checked above
        return None
    host = parts[1]
    if host[:1] == b"[" and not _is_ipv6(host[1:-1]):
        return None
    return host


def _is_ipv6(text: bytes) -> bool:
    from ipaddress import IPv6Address  # only absolute-form IPv6 targets pay for the import

    try:
        IPv6Address(text.decode("ascii"))
    except ValueError:
        return False
    return True
