"""envoy.http.original_ip_detection.xff: the client's address stands in x-forwarded-for
(envoy.extensions.http.original_ip_detection.xff.v3.XffConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.networks import compile_networks
from proxy.api.reader import Reader, reads
from proxy.base.ip import Address, parse_address
from proxy.http.forwarding import Network
from proxy.http.ip_detection import Detected, IpDetector, peer_of

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.http.context import FactoryContext


class Xff(IpDetector):
    """By the number of proxies before us (trusted_hops), or by their addresses (trusted)."""

    __slots__ = ("appends", "by_address", "trusted", "trusted_hops")

    def __init__(self, config: Reader, context: FactoryContext) -> None:
        self.trusted_hops = config.number("xff_num_trusted_hops")
        self.appends = not config.wrapped("skip_xff_append", True)
        ranges = config.sub("xff_trusted_cidrs")
        self.by_address = ranges is not None
        self.trusted = _ranges(ranges) if ranges is not None else ()
        if self.by_address and self.trusted_hops:
            config.fail("xff_num_trusted_hops", "cannot be used together with xff_trusted_cidrs")

    def detect(self, stream: StreamInfo, headers: RequestHeaders) -> Detected:
        if self.by_address:
            peer = peer_of(stream)
            if peer is None or not self._is_trusted(peer):
                return Detected(None, appends=True)
        value = headers.joined(b"x-forwarded-for")
        if not value:
            return Detected(None, appends=self.appends)
        parts = value.split(b",")
        address = self._nearest(parts) if self.by_address else self._by_hops(parts)
        return Detected(address, len(parts) == 1, self.appends)

    def _by_hops(self, parts: list[bytes]) -> Address | None:
        return None if self.trusted_hops >= len(parts) else _read(parts[-1 - self.trusted_hops])

    def _nearest(self, parts: list[bytes]) -> Address | None:
        """The nearest address that is no trusted proxy's, or the farthest of all; None behind what is no address."""
        address: Address | None = None
        for part in reversed(parts):
            address = _read(part)
            if address is None or not self._is_trusted(address):
                break
        return address

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self.trusted)


def _read(part: bytes) -> Address | None:
    return parse_address(part.strip(b" \t").decode("latin-1"))


@reads("envoy.extensions.http.original_ip_detection.xff.v3.XffTrustedCidrs")
def _ranges(reader: Reader) -> tuple[Network, ...]:
    return compile_networks(reader.each("cidrs"))
