"""OpenTelemetry: spans as OTLP, posted to a collector in a configured cluster (envoy.config.trace.v3.OpenTelemetryConfig).

Only over HTTP: ``grpc_service`` is refused until there is a gRPC client; the encoder's body is the message that one
would frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy import __version__
from proxy.tracing.collector import Collector, compile_service
from proxy.tracing.otlp import OtlpEncoder
from proxy.tracing.reporter import Reporter
from proxy.tracing.tracer import APART, compile_sampler

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.base.headers import RequestHeaders
    from proxy.http.context import FactoryContext
    from proxy.tracing.span import Span
    from proxy.tracing.tracer import TraceSampler

NAME = "outrider"
DEFAULT_SERVICE = "unknown_service:outrider"
USER_AGENT = f"OTel-OTLP-Exporter-outrider/{__version__}".encode()
DEFAULT_CACHE = 1024
NOT_YET = "there is no gRPC client here yet; http_service is supported"


class OpenTelemetryTracer:
    """The tracer of one configuration. Those with equal settings share a reporter."""

    __slots__ = (
        *("always_server", "formats", "names_direction", "report", "reporter", "root_ids"),
        *("sampler", "shared_span_context"),
    )

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.formats: tuple[str, ...] = ("w3c",)
        self.shared_span_context = False
        self.root_ids = APART
        self.names_direction = True
        self.always_server = False
        sampler = reader.sub("sampler")
        self.sampler: TraceSampler | None = compile_sampler(sampler, context) if sampler is not None else None
        reader.unsupported("grpc_service", NOT_YET)
        reader.unsupported("exporter", "exporters are not supported yet; http_service is")
        limit = reader.wrapped("max_cache_size", DEFAULT_CACHE) or DEFAULT_CACHE
        resource = compile_resource(reader, context)
        base = {"node_id": context.node.id, "zone": context.node.zone, "component": "proxy"}
        scope = NAME if reader.wrapped("set_instrumentation_scope", True) else ""
        spans = OtlpEncoder(resource, scope, __version__, base)
        service = reader.sub("http_service")
        if service is None:
            if not reader.has("grpc_service") and not reader.has("exporter"):
                reader.fail("http_service", "is missing: there is nobody to send spans to")
            collector = Collector("", b"", b"")
        else:
            collector = compile_service(service, context, loses=True)
        key = ("opentelemetry", collector.key(), spans.head, scope, limit)
        reporter: Reporter | None = context.shared.get(key)
        if reporter is None:
            scope_of = context.stats.scope("tracing.opentelemetry")
            reporter = Reporter(OtlpReports(collector, spans), context, scope_of, limit)
            context.shared[key] = reporter
        self.reporter = reporter
        self.report = reporter.report

    def flush(self) -> None:
        """See Tracer.flush."""
        self.reporter.flush()


class OtlpReports:
    """The Encoder of a Reporter: OTLP over HTTP, in protobuf."""

    __slots__ = ("cluster", "collector", "spans", "timeout_s")

    def __init__(self, collector: Collector, spans: OtlpEncoder) -> None:
        self.collector = collector
        self.cluster = collector.cluster
        self.timeout_s = collector.timeout_s
        self.spans = spans

    def encode_spans(self, spans: list[Span]) -> list[bytes]:
        """See Encoder.encode_spans."""
        return self.spans.encode_spans(spans)

    def body(self, spans: list[bytes]) -> bytes:
        """See Encoder.body."""
        return self.spans.body(spans)

    def headers(self) -> RequestHeaders:
        """See Encoder.headers."""
        return self.collector.head((b"content-type", b"application/x-protobuf"), (b"user-agent", USER_AGENT))

    def is_accepted(self, status: int) -> bool:
        """OTLP answers 200."""
        return 200 <= status < 300


def compile_resource(reader: Reader, context: FactoryContext) -> dict[str, str]:
    """Who we are, in Envoy's order: the defaults, then each detector, a later value replacing an earlier one.

    Without a detector the environment (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME) adds what is not configured.
    """
    name = reader.text("service_name")
    resource: dict[str, str] = {}
    detectors = reader.each("resource_detectors")
    if not detectors:
        resource.update(context.resource_attributes)
    if reader.wrapped("set_telemetry_sdk_resource_attributes", True):
        resource["telemetry.sdk.language"] = "python"
        resource["telemetry.sdk.name"] = NAME
        resource["telemetry.sdk.version"] = __version__
    if not reader.wrapped("set_service_name_resource_attribute", True):
        pass
    elif name or "service.name" not in resource:
        resource["service.name"] = name or DEFAULT_SERVICE
    for detector in detectors:
        detector.text("name")
        config = detector.any("typed_config")
        if config is None:
            if not detector.has("typed_config"):
                detector.fail("typed_config", "is missing")
        elif not context.registry.has(config.type_name):
            family = "envoy.tracers.opentelemetry.resource_detectors."
            unknown = context.registry.unknown("resource detector", config.type_name, family)
            detector.unsupported("typed_config", unknown)
        else:
            resource.update(context.registry.resolve(config.type_name)(config, context).attributes)
    return resource
