"""Response flags: short names (%RESPONSE_FLAGS%) and long ones (%RESPONSE_FLAGS_LONG%), in Envoy's order."""

from __future__ import annotations

from typing import Final

from proxy.base.errors import ResponseFlag
from proxy.base.stream_info import StreamInfo

#: (bit, short name, long name); the order is that of the bits
FLAGS: Final[tuple[tuple[int, str, str], ...]] = (
    (ResponseFlag.URX, "URX", "UpstreamRetryLimitExceeded"),
    (ResponseFlag.LH, "LH", "FailedLocalHealthCheck"),
    (ResponseFlag.UH, "UH", "NoHealthyUpstream"),
    (ResponseFlag.UT, "UT", "UpstreamRequestTimeout"),
    (ResponseFlag.LR, "LR", "LocalReset"),
    (ResponseFlag.UR, "UR", "UpstreamRemoteReset"),
    (ResponseFlag.UF, "UF", "UpstreamConnectionFailure"),
    (ResponseFlag.UC, "UC", "UpstreamConnectionTermination"),
    (ResponseFlag.UO, "UO", "UpstreamOverflow"),
    (ResponseFlag.NR, "NR", "NoRouteFound"),
    (ResponseFlag.DI, "DI", "DelayInjected"),
    (ResponseFlag.FI, "FI", "FaultInjected"),
    (ResponseFlag.RL, "RL", "RateLimited"),
    (ResponseFlag.UAEX, "UAEX", "UnauthorizedExternalService"),
    (ResponseFlag.RLSE, "RLSE", "RateLimitServiceError"),
    (ResponseFlag.DC, "DC", "DownstreamConnectionTermination"),
    (ResponseFlag.SI, "SI", "StreamIdleTimeout"),
    (ResponseFlag.IH, "IH", "InvalidEnvoyRequestHeaders"),
    (ResponseFlag.DPE, "DPE", "DownstreamProtocolError"),
    (ResponseFlag.UMSDR, "UMSDR", "UpstreamMaxStreamDurationReached"),
    (ResponseFlag.RFCF, "RFCF", "ResponseFromCacheFilter"),
    (ResponseFlag.NFCF, "NFCF", "NoFilterConfigFound"),
    (ResponseFlag.DT, "DT", "DurationTimeout"),
    (ResponseFlag.UPE, "UPE", "UpstreamProtocolError"),
    (ResponseFlag.NC, "NC", "NoClusterFound"),
    (ResponseFlag.OM, "OM", "OverloadManagerTerminated"),
    (ResponseFlag.DF, "DF", "DnsResolutionFailed"),
    (ResponseFlag.DO, "DO", "DropOverload"),
    (ResponseFlag.DR, "DR", "DownstreamRemoteReset"),
    (ResponseFlag.UDO, "UDO", "UnconditionalDropOverload"),
    (ResponseFlag.URX_OF_BYTES, "URX", "UpstreamRetryLimitExceeded"),
)

BY_SHORT_NAME: Final[dict[str, int]] = {
    name: sum(bit for bit, short, _ in FLAGS if short == name) for _, name, _ in FLAGS
}


class FlagNames:
    """A getter that remembers: combinations are few and made by us, so the memory is small."""

    __slots__ = ("_column", "_known")

    def __init__(self, column: int) -> None:
        self._column = column
        self._known: dict[int, bytes] = {}

    def __call__(self, stream: StreamInfo) -> bytes:
        flags = stream.flags
        if not flags:
            return b"-"
        return self._known.get(flags) or self._learn(flags)

    def _learn(self, flags: int) -> bytes:
        column = self._column
        names = ",".join(str(line[column]) for line in FLAGS if flags & line[0])
        self._known[flags] = names.encode() or b"-"
        return self._known[flags]


def format_flags(flags: int) -> str:
    """Short names joined by commas, "-" when there are none (also a span's ``response_flags`` tag)."""
    return ",".join(short for bit, short, _ in FLAGS if flags & bit) or "-"
