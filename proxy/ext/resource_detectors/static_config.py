"""Attributes written in the configuration
(envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext


class StaticConfigDetector:
    """``attributes``. Names and values that are empty are dropped, as in Envoy."""

    __slots__ = ("attributes",)

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        entries: dict[str, str] = reader.entries("attributes")
        self.attributes = {name: value for name, value in sorted(entries.items()) if name and value}
