"""Errors by whose fault they are, reset reasons, response flags.

Configuration: ``ConfigError``, collected in ``Errors`` and reported all at once. A peer's bytes: ``CodecError``,
caught in one place. An upstream's failure: a ``ResetReason`` value, never an exception. Ours: let it raise.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ConfigError(NamedTuple):
    """One finding in a configuration.

    path: field path ("static_resources.listeners[0].name"), "" for the whole document
    message: one plain sentence, no trailing full stop
    file, line, column: where it stands (1-based), when known
    kind: "invalid" (Envoy refuses it too) or "unsupported" (Envoy takes it, outrider does not) or "warning"
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    kind: str = "invalid"

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}:{self.column}" if self.column is not None else f":{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigRefused(Exception):
    """A configuration cannot be run; ``findings`` holds every error found."""

    def __init__(self, findings: list[ConfigError]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings


class CodecError(Exception):
    """A peer broke its protocol. Carries the local reply and the log's words for it.

    status: HTTP status of the reply, body: its text, details: %RESPONSE_CODE_DETAILS% ("http1.codec_error")
    """

    def __init__(self, status: int, body: bytes, details: bytes) -> None:
        super().__init__(f"{status} {details.decode()}")
        self.status = status
        self.body = body
        self.details = details


class ResponseFlag:
    """Bits of StreamInfo.flags, in the order in which they are printed (contract/envoy.md 2.6).

    Envoy prints flags in the order in which they were set; here the order is fixed: URX first, because a retry limit
    is always found before the failure that then ends the request.
    """

    URX: Final = 1 << 0
    LH: Final = 1 << 1
    UH: Final = 1 << 2
    UT: Final = 1 << 3
    LR: Final = 1 << 4
    UR: Final = 1 << 5
    UF: Final = 1 << 6
    UC: Final = 1 << 7
    UO: Final = 1 << 8
    NR: Final = 1 << 9
    DI: Final = 1 << 10
    FI: Final = 1 << 11
    RL: Final = 1 << 12
    UAEX: Final = 1 << 13
    RLSE: Final = 1 << 14
    DC: Final = 1 << 15
    SI: Final = 1 << 16
    IH: Final = 1 << 17
    DPE: Final = 1 << 18
    UMSDR: Final = 1 << 19
    RFCF: Final = 1 << 20
    NFCF: Final = 1 << 21
    DT: Final = 1 << 22
    UPE: Final = 1 << 23
    NC: Final = 1 << 24
    OM: Final = 1 << 25
    DF: Final = 1 << 26
    DO: Final = 1 << 27
    DR: Final = 1 << 28
    UDO: Final = 1 << 29
    URX_OF_BYTES: Final = 1 << 30  # tcp_proxy finds the failure first, and then that it was the last attempt


class ResetReason:
    """Why an upstream try ended without a whole response. Compare with ``is``; the instances are below.

    text: as in Envoy's local reply ("reset reason: connection termination"); flag: the ResponseFlag it sets.
    """

    __slots__ = ("flag", "text")

    def __init__(self, text: bytes, flag: int) -> None:
        self.text = text
        self.flag = flag

    def __repr__(self) -> str:
        return f"ResetReason({self.text.decode()!r})"


LOCAL_RESET = ResetReason(b"local reset", ResponseFlag.LR)
REMOTE_RESET = ResetReason(b"remote reset", ResponseFlag.UR)
#: behind the host's end: it reads no more (RFC 9113 section 8.1)
REMOTE_RESET_NO_ERROR = ResetReason(b"remote reset no error", ResponseFlag.UR)
REMOTE_REFUSED_STREAM = ResetReason(b"remote refused stream reset", ResponseFlag.UR)
REMOTE_CONNECT_ERROR = ResetReason(b"remote error with CONNECT request", ResponseFlag.UR)
LOCAL_CONNECTION_FAILURE = ResetReason(b"local connection failure", ResponseFlag.UF)
REMOTE_CONNECTION_FAILURE = ResetReason(b"remote connection failure", ResponseFlag.UF)
CONNECTION_TIMEOUT = ResetReason(b"connection timeout", ResponseFlag.UF)
CONNECTION_TERMINATION = ResetReason(b"connection termination", ResponseFlag.UC)
OVERFLOW = ResetReason(b"overflow", ResponseFlag.UO)
#: no room to wait for a connection: no host has been tried
NO_ROOM = ResetReason(b"overflow", ResponseFlag.UO)
#: max_connection_pools; as if there were no host
NO_POOL = ResetReason(b"no connection pool", ResponseFlag.UH)
PROTOCOL_ERROR = ResetReason(b"protocol error", ResponseFlag.UPE)

# Why a client's stream ended before its response did (HTTP/2; an HTTP/1 client can only leave: REMOTE_RESET). The flag
# is the response's.
DOWNSTREAM_REMOTE_RESET = ResetReason(b"remote reset", ResponseFlag.DR)
DOWNSTREAM_PROTOCOL_ERROR = ResetReason(b"protocol error", ResponseFlag.DPE)
