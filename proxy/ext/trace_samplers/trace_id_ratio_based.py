"""A share of all traces, by their id
(envoy.extensions.tracers.opentelemetry.samplers.v3.TraceIdRatioBasedSamplerConfig).

As in Envoy the first 8 bytes of the trace id count, little end first, modulo the fraction's denominator: proxies of
both kinds keep the same traces.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import TYPE_CHECKING, Final

from proxy.tracing.context import NO_SPAN

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext

DENOMINATORS: Final[dict[str, int]] = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}


class TraceIdRatioBased:
    """Whatever the parent said."""

    __slots__ = ("denominator", "numerator")

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        fraction = reader.sub("sampling_percentage")
        self.numerator = fraction.number("numerator") if fraction is not None else 0
        self.denominator = DENOMINATORS[fraction.enum("denominator")] if fraction is not None else 100

    def keeps(self, trace_id_hex: bytes, parent_sampled: bool | None) -> bool:
        """See TraceSampler.keeps."""
        upper = trace_id_hex[:16] if len(trace_id_hex) == 32 else NO_SPAN
        return int.from_bytes(unhexlify(upper), "little") % self.denominator < self.numerator
