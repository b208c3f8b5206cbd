"""What a trace is: its context, when we keep one, its spans, and how finished spans leave.

Knows no socket and no clock of its own; trace header formats are in ``proxy.ext.propagators``, back ends in
``proxy.ext.tracers``.

    context.py      the ids and the decision that travel on
    propagation.py  request headers to context and back, through the propagators
    sampler.py      the decision that x-request-id carries
    span.py         one finished or running span
    span_tags.py    the standard tags of a finished span
    tags.py         custom tags
    route_tracing.py  what a route says of its own
    reporter.py     bounded queue, batches, one retry
    collector.py    where reports go
    otlp.py         spans as OTLP (protobuf.py: its wire format)
    otel_context.py the span as OpenTelemetry's current span, for code in filters
    tracer.py       what a back end offers
    tracing.py      the configuration made runnable: start, inject, finish
    compile.py      from the configuration
"""
