"""THE table: what this proxy can be extended by. One line each; holds strings, imports nothing.

A line: Envoy's extension name, the full name of its configuration message, "module:Class". Classes are imported when
a configuration names them. Installed packages add lines through the entry-point groups named in pyproject.toml.
"""

EXTENSIONS: tuple[tuple[str, str, str], ...] = (
    (
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "proxy.ext.filters.network.http_connection_manager:HttpConnectionManagerFilter",
    ),
    (
        "envoy.filters.http.router",
        "envoy.extensions.filters.http.router.v3.Router",
        "proxy.ext.filters.http.router:Router",
    ),
    (
        "envoy.tracers.zipkin",
        "envoy.config.trace.v3.ZipkinConfig",
        "proxy.ext.tracers.zipkin:ZipkinTracer",
    ),
    (
        "outrider.propagators.w3c",
        "outrider.propagators.w3c",
        "proxy.ext.propagators.w3c:W3CTraceContext",
    ),
    (
        "outrider.propagators.b3_single",
        "outrider.propagators.b3_single",
        "proxy.ext.propagators.b3_single:B3Single",
    ),
    (
        "outrider.propagators.b3_multi",
        "outrider.propagators.b3_multi",
        "proxy.ext.propagators.b3_multi:B3Multi",
    ),
    (
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "proxy.ext.access_loggers.file:FileAccessLog",
    ),
    (
        "envoy.access_loggers.stdout",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        "proxy.ext.access_loggers.stdout:StdoutAccessLog",
    ),
    (
        "envoy.access_loggers.stderr",
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
        "proxy.ext.access_loggers.stdout:StderrAccessLog",
    ),
    (
        "envoy.load_balancing_policies.round_robin",
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        "proxy.ext.load_balancers.round_robin:RoundRobin",
    ),
    (
        "envoy.load_balancing_policies.least_request",
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "proxy.ext.load_balancers.least_request:LeastRequest",
    ),
)
