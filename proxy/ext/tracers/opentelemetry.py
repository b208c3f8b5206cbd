"""OpenTelemetry: spans as OTLP to a collector in a configured cluster (envoy.config.trace.v3.OpenTelemetryConfig).

Over HTTP, as protobuf, or over gRPC: the same message, posted or called with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy import __version__
from proxy.http.grpc_service import compile_grpc_service
from proxy.tracing.collector import TIMEOUT_S, Collector, compile_service
from proxy.tracing.destination import GrpcDestination, HttpDestination
from proxy.tracing.otlp import OtlpEncoder
from proxy.tracing.reporter import Reporter
from proxy.tracing.tracer import APART, compile_sampler

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.http.context import FactoryContext
    from proxy.tracing.destination import Destination
    from proxy.tracing.tracer import TraceSampler

NAME = "outrider"
DETECTORS = "envoy.tracers.opentelemetry.resource_detectors."
DEFAULT_SERVICE = "unknown_service:outrider"
USER_AGENT = f"OTel-OTLP-Exporter-outrider/{__version__}".encode()
DEFAULT_CACHE = 1024
EXPORT = b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class OpenTelemetryTracer:
    """The tracer of one configuration. Those with equal settings share a reporter."""

    __slots__ = (
        *("always_server", "formats", "names_direction", "report", "reporter", "root_ids"),
        *("sampler", "shared_span_context", "tries_are_clients"),
    )

    def __init__(self, reader: Reader, context: FactoryContext) -> None:
        self.formats: tuple[str, ...] = ("w3c",)
        self.shared_span_context = False
        self.root_ids = APART
        self.names_direction = True
        self.always_server = False
        self.tries_are_clients = True
        sampler = reader.sub("sampler")
        self.sampler: TraceSampler | None = compile_sampler(sampler, context) if sampler is not None else None
        reader.unsupported("exporter", "exporters are not supported yet; http_service and grpc_service are")
        limit = reader.wrapped("max_cache_size", DEFAULT_CACHE) or DEFAULT_CACHE
        resource = compile_resource(reader, context)
        base = {"node_id": context.node.id, "zone": context.node.zone, "component": "proxy"}
        scope = NAME if reader.wrapped("set_instrumentation_scope", True) else ""
        spans = OtlpEncoder(resource, scope, __version__, base)
        destination, place = compile_destination(reader, context)
        key = ("opentelemetry", place, spans.head, scope, limit)
        reporter: Reporter | None = context.shared.get(key)
        if reporter is None:
            scope_of = context.stats.scope("tracing.opentelemetry")
            reporter = Reporter(spans, destination, context, scope_of, limit)
            context.shared[key] = reporter
        self.reporter = reporter
        self.report = reporter.report

    def flush(self) -> None:
        """See Tracer.flush."""
        self.reporter.flush()


def compile_destination(reader: Reader, context: FactoryContext) -> tuple[Destination, tuple[object, ...]]:
    """Where reports go, and a key: equal ones go to the same place in the same way."""
    http = reader.sub("http_service")
    grpc = reader.sub("grpc_service")
    if grpc is not None:
        if http is not None:
            reader.fail("grpc_service", "there can be http_service or grpc_service, not both")
            reader.settle("http_service")
        service = compile_grpc_service(grpc, context, TIMEOUT_S, loses=True)
        service.metadata = (*service.metadata, (b"user-agent", USER_AGENT))
        return GrpcDestination(service, EXPORT), ("grpc", service.key())
    if http is None:
        if not reader.has("exporter"):
            reader.fail("http_service", "is missing: there is nobody to send spans to")
        collector = Collector("", b"", b"")
    else:
        collector = compile_service(http, context, loses=True)
    fields = ((b"content-type", b"application/x-protobuf"), (b"user-agent", USER_AGENT))
    return HttpDestination(collector, *fields), ("http", collector.key())


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
        elif not context.registry.has(config.type_name, DETECTORS):
            unknown = context.registry.unknown("resource detector", config.type_name, DETECTORS)
            detector.unsupported("typed_config", unknown)
        else:
            resource.update(context.registry.resolve(config.type_name)(config, context).attributes)
    return resource
