"""Compiles HttpConnectionManager.Tracing, its provider, and a route's own tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.base.registry import TRACERS
from proxy.tracing.propagation import Propagation
from proxy.tracing.route_tracing import RouteTracing
from proxy.tracing.runtime_rates import follow_runtime
from proxy.tracing.sampler import Rates, Sampler
from proxy.tracing.tags import compile_custom_tags
from proxy.tracing.tracer import Tracer
from proxy.tracing.tracing import DEFAULT_MAX_PATH_TAG_LENGTH, HttpTracing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.api.reader import Reader
    from proxy.formatter import Formatter
    from proxy.http.context import FactoryContext
    from proxy.runtime.runtime import Runtime
    from proxy.stats.store import Scope


def compile_tracing(
    reader: Reader | None,
    context: FactoryContext,
    direction: str,
    scope: Scope,
) -> HttpTracing | None:
    """HttpConnectionManager.Tracing; None when it is not configured (trace headers then pass untouched, as Envoy).

    direction: "INBOUND", "OUTBOUND", "UNSPECIFIED" (as inbound); scope: ``http.<stat_prefix>.``
    Errors are collected in the reader.
    """
    if reader is None:
        return None
    tracer = compile_provider(reader, context)
    contexts = context.stats.scope("tracing.context")
    propagation = Propagation(context.registry, tracer.formats if tracer is not None else (), contexts)
    sampler = Sampler(context.ids, scope.scope("tracing"), contexts)
    tracing = HttpTracing(context, tracer, sampler, propagation)
    tracing.is_egress = direction == "OUTBOUND"
    rates = Rates(
        round(reader.percent("client_sampling", 100.0) * 100) / 10_000,
        round(reader.percent("random_sampling", 100.0) * 100) / 10_000,
        round(reader.percent("overall_sampling", 100.0) * 100) / 10_000,
    )
    tracing.rates = follow_runtime(rates, context.runtime)
    tracing.verbose = reader.flag("verbose")
    tracing.max_path_tag_length = reader.wrapped("max_path_tag_length", DEFAULT_MAX_PATH_TAG_LENGTH)
    tracing.spawns = reader.wrapped("spawn_upstream_span", False)
    tracing.is_server = tracing.spawns or tracing.always_server or not tracing.is_egress
    tracing.propagates = not reader.flag("no_context_propagation")
    tracing.custom_tags = compile_custom_tags(reader.each("custom_tags"), context.environ)
    tracing.operation = compile_operation(reader, "operation", reader.text("operation"))
    tracing.upstream_operation = compile_operation(
        reader, "upstream_operation", reader.text("upstream_operation")
    )
    return tracing


def compile_route_tracing(
    reader: Reader, environ: Mapping[str, str] | None, runtime: Runtime
) -> RouteTracing:
    """envoy.config.route.v3.Tracing. Sampling that it leaves out is 100 %, as in Envoy."""
    rates = Rates(
        reader.fraction("client_sampling", 1.0),
        reader.fraction("random_sampling", 1.0),
        reader.fraction("overall_sampling", 1.0),
    )
    return RouteTracing(
        follow_runtime(rates, runtime),
        compile_custom_tags(reader.each("custom_tags"), environ),
        compile_operation(reader, "operation", reader.text("operation")),
        compile_operation(reader, "upstream_operation", reader.text("upstream_operation")),
    )


def compile_operation(reader: Reader, field: str, text: str) -> Formatter | None:
    """A span name with command operators, "" for values that are missing, as Envoy; None when unset or refused."""
    if not text:
        return None
    from proxy.formatter import compile_format  # only who formats pays for the import

    try:
        return compile_format(text, omit_empty=True)
    except ValueError as error:
        reader.fail(field, str(error))
        return None


def compile_provider(reader: Reader, context: FactoryContext) -> Tracer | None:
    """The tracer; None when there is none (Envoy then decides and counts, but makes no spans) or it was refused."""
    provider = reader.sub("provider") or context.tracing_provider
    if provider is None:
        return None
    name = provider.text("name")
    config = provider.any("typed_config")
    if config is None:
        if not provider.has("typed_config"):
            provider.fail("typed_config", context.registry.untyped("a tracer", name))
        return None
    if not context.registry.has(config.type_name, TRACERS):
        provider.unsupported("", context.registry.unknown("tracer", config.type_name, TRACERS))
        return None
    tracer: Tracer = context.registry.resolve(config.type_name)(config, context)
    return tracer
