"""Whether a connection in plain text begins with HTTP, and which: for the application protocols of filter chains."""

from __future__ import annotations

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LONGEST_LINE = 8192
_METHODS = frozenset(
    b"GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PURGE MKCOL COPY MOVE PROPFIND PROPPATCH SEARCH "
    b"LOCK UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE "
    b"MKCALENDAR LINK UNLINK SOURCE".split()
)


def read_http_start(data: bytes) -> str | None:
    """ "http/1.0", "http/1.1", "h2c", "" for what is no HTTP, None while more is needed."""
    if data[: len(_PREFACE)] == _PREFACE[: len(data)]:
        return "h2c" if len(data) >= len(_PREFACE) else None
    end = data.find(b"\n")
    line = data if end < 0 else data[:end].rstrip(b"\r")
    method, blank, _ = line.partition(b" ")
    if (blank and method not in _METHODS) or (not blank and not any(m.startswith(method) for m in _METHODS)):
        return ""
    if end < 0:
        return None if len(data) < _LONGEST_LINE else ""
    version = line.rpartition(b" ")[2]
    return {b"HTTP/1.1": "http/1.1", b"HTTP/1.0": "http/1.0"}.get(version, "")
