"""Attributes from OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME
(envoy.extensions.tracers.opentelemetry.resource_detectors.v3.EnvironmentResourceDetectorConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext


class EnvironmentDetector:
    """What the environment says (tracing/resource.py)."""

    __slots__ = ("attributes",)

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.attributes = dict(context.resource_attributes)
