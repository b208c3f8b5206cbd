"""Keeps every span (envoy.extensions.tracers.opentelemetry.samplers.v3.AlwaysOnSamplerConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext


class AlwaysOn:
    """Whatever the parent said."""

    __slots__ = ()

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        pass

    def keeps(self, trace_id_hex: bytes, parent_sampled: bool | None) -> bool:
        """See TraceSampler.keeps."""
        return True
