"""What a trace is: its context, when we keep one, its spans, and how finished spans leave.

Knows no socket and no clock of its own; trace header formats are in ``proxy.ext.propagators``, back ends in
``proxy.ext.tracers``.

    context.py      the ids and the decision that travel on
    propagation.py  request headers to context and back, through the propagators
    sampler.py      the decision that x-request-id carries
    span.py         one finished or running span
    span_tags.py    the standard tags of a finished span
    tags.py         custom tags
    reporter.py     bounded queue, batches, one retry
    tracer.py       what a back end offers
    tracing.py      the configuration made runnable: start, inject, finish
"""
