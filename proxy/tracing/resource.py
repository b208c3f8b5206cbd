"""Who we are to a trace back end, from the environment: OpenTelemetry's Resource (OTEL_SERVICE_NAME, ...)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SERVICE_NAME: Final = "OTEL_SERVICE_NAME"
ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"


def resource_attributes(environ: Mapping[str, str]) -> dict[str, str]:
    """The resource attributes the environment names, merged by OpenTelemetry's rules; {} when it names none.

    environ: the process's environment (the SDK reads that one by itself). Importing the SDK takes some 40 ms, so it
    is imported only when there is something to read.
    """
    if not environ.get(SERVICE_NAME) and not environ.get(ATTRIBUTES):
        return {}
    from opentelemetry.sdk.resources import OTELResourceDetector

    attributes = OTELResourceDetector().detect().attributes
    return {key: str(value) for key, value in attributes.items()}
