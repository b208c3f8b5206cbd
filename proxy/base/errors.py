"""Errors by whose fault they are, reset reasons, response flags.

Configuration: ``ConfigError``, collected in ``Errors`` and reported all at once. A peer's bytes: ``CodecError``,
caught in one place. An upstream's failure: a ``ResetReason`` value, never an exception. Ours: let it raise.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class ConfigError:
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

    URX = 1 << 0
    LH = 1 << 1
    UH = 1 << 2
    UT = 1 << 3
    LR = 1 << 4
    UR = 1 << 5
    UF = 1 << 6
    UC = 1 << 7
    UO = 1 << 8
    NR = 1 << 9
    DI = 1 << 10
    FI = 1 << 11
    RL = 1 << 12
    UAEX = 1 << 13
    RLSE = 1 << 14
    DC = 1 << 15
    SI = 1 << 16
    IH = 1 << 17
    DPE = 1 << 18
    UMSDR = 1 << 19
    RFCF = 1 << 20
    NFCF = 1 << 21
    DT = 1 << 22
    UPE = 1 << 23
    NC = 1 << 24
    OM = 1 << 25
    DF = 1 << 26
    DO = 1 << 27
    DR = 1 << 28
    UDO = 1 << 29


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
REMOTE_REFUSED_STREAM = ResetReason(b"remote refused stream reset", ResponseFlag.UR)
LOCAL_CONNECTION_FAILURE = ResetReason(b"local connection failure", ResponseFlag.UF)
REMOTE_CONNECTION_FAILURE = ResetReason(b"remote connection failure", ResponseFlag.UF)
CONNECTION_TIMEOUT = ResetReason(b"connection timeout", ResponseFlag.UF)
CONNECTION_TERMINATION = ResetReason(b"connection termination", ResponseFlag.UC)
OVERFLOW = ResetReason(b"overflow", ResponseFlag.UO)
PROTOCOL_ERROR = ResetReason(b"protocol error", ResponseFlag.UPE)
