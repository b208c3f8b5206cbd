"""A cluster's connection and protocol options: HttpProtocolOptions, keep-alive, transport socket, DNS."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.upstream.dns import DnsSettings

if TYPE_CHECKING:
    from proxy.api.reader import Reader

HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_RAW_BUFFER: Final = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_CARES: Final = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
HTTP2: Final = "HTTP/2 to upstreams is not supported yet; HTTP/1.1 is"
ONLY_EXPLICIT: Final = "is not supported: upstreams are spoken to in HTTP/1.1; write explicit_http_config"

_DEFAULT_IDLE_TIMEOUT_S: Final = 3600.0


@dataclass(slots=True, frozen=True)
class HttpOptions:
    """idle_timeout_s: None is no limit; max_requests_per_connection: 0 is no limit; enable_trailers: pass HTTP/1
    trailers on, both ways."""

    idle_timeout_s: float | None = _DEFAULT_IDLE_TIMEOUT_S
    max_requests_per_connection: int = 0
    enable_trailers: bool = False


@dataclass(slots=True, frozen=True)
class TcpKeepalive:
    """SO_KEEPALIVE; None leaves the value to the operating system."""

    probes: int | None = None
    time_s: int | None = None
    interval_s: int | None = None


@reads("envoy.config.cluster.v3.Cluster")
def compile_http_options(cluster: Reader) -> HttpOptions:
    """typed_extension_protocol_options, or the older fields of the cluster itself. HTTP/1 only."""
    cluster.unsupported("http2_protocol_options", HTTP2)
    older = cluster.sub("common_http_protocol_options")
    trailers = _compile_http1(cluster.sub("http_protocol_options"))
    max_requests = cluster.wrapped("max_requests_per_connection", 0)
    options = HttpOptions(max_requests_per_connection=max_requests)
    if older is not None:
        options = _compile_common(older, max_requests)
    for key, entry in cluster.entries("typed_extension_protocol_options").items():
        if entry.type_name == HTTP_PROTOCOL_OPTIONS:
            options = _compile_protocol_options(entry, max_requests)
        else:
            entry.unsupported("", f'protocol options "{key}" are not supported')
    return replace(options, enable_trailers=True) if trailers else options


@reads(HTTP_PROTOCOL_OPTIONS)
def _compile_protocol_options(reader: Reader, max_requests: int) -> HttpOptions:
    reader.unsupported("use_downstream_protocol_config", ONLY_EXPLICIT)
    reader.unsupported("auto_config", ONLY_EXPLICIT)
    explicit = reader.sub("explicit_http_config")
    if explicit is not None:
        explicit.unsupported("http2_protocol_options", HTTP2)
        explicit.unsupported("http3_protocol_options", "HTTP/3 to upstreams is not supported; HTTP/1.1 is")
    common = reader.sub("common_http_protocol_options")
    options = (
        _compile_common(common, max_requests)
        if common is not None
        else HttpOptions(max_requests_per_connection=max_requests)
    )
    trailers = explicit is not None and _compile_http1(explicit.sub("http_protocol_options"))
    return replace(options, enable_trailers=trailers)


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _compile_http1(reader: Reader | None) -> bool:
    """enable_trailers; an empty message only says HTTP/1, and other fields set in it are found unread."""
    return reader is not None and reader.flag("enable_trailers")


@reads("envoy.config.core.v3.HttpProtocolOptions")
def _compile_common(reader: Reader, max_requests: int) -> HttpOptions:
    idle_timeout_s = reader.seconds("idle_timeout", _DEFAULT_IDLE_TIMEOUT_S)
    return HttpOptions(idle_timeout_s or None, reader.wrapped("max_requests_per_connection", max_requests))


@reads("envoy.config.cluster.v3.Cluster")
def compile_keepalive(cluster: Reader) -> TcpKeepalive | None:
    """upstream_connection_options.tcp_keepalive; None when it is not wanted."""
    options = cluster.sub("upstream_connection_options")
    keepalive = options.sub("tcp_keepalive") if options is not None else None
    if keepalive is None:
        return None
    return TcpKeepalive(
        keepalive.wrapped("keepalive_probes", None),
        keepalive.wrapped("keepalive_time", None),
        keepalive.wrapped("keepalive_interval", None),
    )


@reads("envoy.config.cluster.v3.Cluster")
def check_transport_socket(cluster: Reader) -> None:
    """Plain TCP only: raw_buffer or nothing."""
    transport_socket = cluster.sub("transport_socket")
    if transport_socket is None:
        return
    transport_socket.text("name")
    config = transport_socket.any("typed_config")
    if config is None or config.type_name != _RAW_BUFFER:
        name = config.type_name if config is not None else transport_socket.text("name")
        kind = "TLS to upstreams" if name.endswith("UpstreamTlsContext") else f"transport socket {name}"
        message = f"{kind} is not supported yet; envoy.transport_sockets.raw_buffer (plain TCP) is"
        transport_socket.unsupported("", message)


@reads("envoy.config.cluster.v3.Cluster")
def compile_dns_settings(cluster: Reader) -> DnsSettings:
    """The dns_* fields of a STRICT_DNS cluster."""
    cluster.unsupported("dns_resolvers", "is not supported: the system's name servers are asked")
    cluster.unsupported("use_tcp_for_dns_lookups", "is not supported: names are asked for over UDP first")
    refresh_s = cluster.seconds("dns_refresh_rate", 5.0) or 5.0
    base_s, max_s = _compile_failure_refresh(cluster.sub("dns_failure_refresh_rate"))
    _check_resolver(cluster.sub("typed_dns_resolver_config"))
    return DnsSettings(
        refresh_s=refresh_s,
        family=cluster.enum("dns_lookup_family"),
        respect_ttl=cluster.flag("respect_dns_ttl"),
        jitter_s=cluster.seconds("dns_jitter", 0.0) or 0.0,
        failure_base_s=base_s,
        failure_max_s=max_s,
        wait_for_first_answer=cluster.wrapped("wait_for_warm_on_init", True),
    )


@reads("envoy.config.cluster.v3.Cluster")
def ignore_dns_settings(cluster: Reader) -> None:
    """A STATIC cluster resolves no names; Envoy does not use these either."""
    for field in (
        "dns_refresh_rate",
        "dns_failure_refresh_rate",
        "dns_lookup_family",
        "respect_dns_ttl",
        "dns_jitter",
        "dns_resolvers",
        "typed_dns_resolver_config",
        "use_tcp_for_dns_lookups",
        "wait_for_warm_on_init",
    ):
        cluster.ignore(field, why="a STATIC cluster resolves no names")


@reads("envoy.config.cluster.v3.Cluster.RefreshRate")
def _compile_failure_refresh(reader: Reader | None) -> tuple[float | None, float]:
    if reader is None:
        return None, 0.0
    base_s = reader.seconds("base_interval", 0.0) or 0.0
    max_s = reader.seconds("max_interval", base_s * 10) or 0.0
    if max_s < base_s:
        reader.fail("max_interval", "must not be below base_interval")
    return base_s, max_s


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _check_resolver(reader: Reader | None) -> None:
    """c-ares is what we use anyway; servers of one's own are not supported (their field stays unread)."""
    if reader is None:
        return
    reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        return
    if config.type_name != _CARES:
        reader.unsupported(
            "", f"DNS resolver {config.type_name} is not supported; envoy.network.dns_resolver.cares is"
        )
        return
    reader.warn("", "has no effect here: names are resolved by c-ares with its own limits")
    config.ignore(
        "udp_max_queries",
        "query_timeout_seconds",
        "query_tries",
        "max_udp_channel_duration",
        "reinit_channel_on_timeout",
        why="c-ares keeps its own limits",
    )
