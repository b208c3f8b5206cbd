"""What of a bootstrap is neither listeners nor clusters: mostly what concerns a C++ process or a control plane, and is
accepted with a warning that says why it has no effect here (contract/envoy.md 1.1)."""

from __future__ import annotations

from proxy.api.reader import Reader, reads
from proxy.base.registry import TRACERS, Registry

BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
INTERNAL_LISTENER = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
#: bootstrap extensions that serve something else that is refused where it is used → why they have no effect
_EXTENSIONS = {
    INTERNAL_LISTENER: "it serves internal listeners, which are refused where one is asked for",
    "istio.workload.BootstrapExtension": "it discovers metadata for Istio's own filters",
}
_RE2 = "envoy.extensions.regex_engines.v3.GoogleRE2"


@reads(BOOTSTRAP)
def compile_rest(root: Reader) -> None:
    """Everything that is accepted without an effect; findings and warnings go to the reader."""
    root.ignore("fatal_actions", why="a process that ends for a fault of ours does nothing more")
    root.ignore("memory_allocator_manager", why="memory is the Python interpreter's")
    root.ignore(
        "enable_dispatcher_stats",
        "enable_worker_cpu_affinity",
        why="there is one event loop, of another kind",
    )
    root.ignore("perf_tracing_file_path", why="there is no performance tracing")
    root.ignore("flags_path", why="hot restart, which reads it, does not exist")
    root.ignore("hds_config", why="there is no health discovery service: nothing is reported")
    root.ignore("certificate_provider_instances", why="no TLS context can refer to one")
    root.ignore(
        "xds_delegate_extension", "xds_config_tracker_extension", why="they watch xDS and change nothing"
    )
    root.ignore("node_context_params", why="it is for a control plane only")
    for extension in root.each("bootstrap_extensions"):
        _compile_extension(extension)
    _compile_regex_engine(root.sub("default_regex_engine"))
    _compile_cluster_manager(root.sub("cluster_manager"))
    deferred = root.sub("deferred_stat_options")
    if deferred is not None:
        deferred.ignore("enable_deferred_creation_stats", why="statistics are slots and made at once")


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_extension(reader: Reader) -> None:
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        return
    why = _EXTENSIONS.get(config.type_name)
    if why is None:
        reader.unsupported("", f"bootstrap extension {config.type_name or name} is not supported")
    else:
        reader.ignore("typed_config", why=why)


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_regex_engine(reader: Reader | None) -> None:
    if reader is None:
        return
    reader.text("name")
    config = reader.any("typed_config")
    if config is not None and config.type_name != _RE2:
        reader.unsupported("", "the only regex engine is envoy.regex_engines.google_re2")


@reads("envoy.config.bootstrap.v3.ClusterManager")
def _compile_cluster_manager(reader: Reader | None) -> None:
    if reader is None:
        return
    reader.ignore("enable_deferred_cluster_creation", why="clusters are made at start")
    outliers = reader.sub("outlier_detection")
    if outliers is not None:
        outliers.ignore("event_log_path", "event_service", why="ejections are not logged as events")


@reads("envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig")
def compile_log_format(reader: Reader | None, command_line: str, default: str) -> str:
    """application_log_config.log_format: the pattern to log by from now on; the command line's when there is none."""
    chosen = reader.sub("log_format") if reader is not None else None
    if reader is None or chosen is None:
        return command_line
    if command_line != default:
        reader.fail("log_format", "and --log-format cannot both be given")
    return _compile_pattern(chosen) or command_line


@reads("envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat")
def _compile_pattern(reader: Reader) -> str:
    reader.unsupported("json_format", "logging in JSON is not supported; text_format is")
    return reader.text("text_format")


@reads("envoy.config.trace.v3.Tracing.Http")
def check_idle_provider(reader: Reader, registry: Registry) -> None:
    """bootstrap.tracing that nobody uses: the tracer must exist all the same, as in Envoy."""
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        reader.fail("typed_config", registry.untyped("a tracer", name))
    elif not registry.has(config.type_name, TRACERS):
        reader.unsupported("", registry.unknown("tracer", config.type_name, TRACERS))
