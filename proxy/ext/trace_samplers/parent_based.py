"""The parent's decision, another sampler for roots
(envoy.extensions.tracers.opentelemetry.samplers.v3.ParentBasedSamplerConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.tracing.tracer import compile_sampler

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext
    from proxy.tracing.tracer import TraceSampler


class ParentBased:
    """Asks ``wrapped_sampler`` only when there is no parent, or one that left the decision to us."""

    __slots__ = ("root",)

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        wrapped = reader.sub("wrapped_sampler")
        if wrapped is None:
            reader.fail("wrapped_sampler", "is missing")
        self.root: TraceSampler | None = compile_sampler(wrapped, context) if wrapped is not None else None

    def keeps(self, trace_id_hex: bytes, parent_sampled: bool | None) -> bool:
        """See TraceSampler.keeps."""
        if parent_sampled is not None:
            return parent_sampled
        return self.root is None or self.root.keeps(trace_id_hex, None)
