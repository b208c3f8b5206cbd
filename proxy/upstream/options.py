"""A cluster's connection and protocol options: HttpProtocolOptions, keep-alive, transport socket."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.reader import reads
from proxy.codec.http1 import Http1Settings
from proxy.codec.http2_settings import Http2Settings
from proxy.upstream.http1_options import compile_spelling
from proxy.upstream.http2_options import compile_http2_settings

if TYPE_CHECKING:
    from proxy.api.reader import Reader

HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NO_HTTP3: Final = "HTTP/3 to upstreams is not supported; HTTP/1.1 and HTTP/2 are"
_DEFAULT_IDLE_TIMEOUT_S: Final = 3600.0
_PLAIN_HTTP1: Final = Http1Settings()


class HttpOptions(NamedTuple):
    """idle_timeout_s, max_connection_duration_s: None is no limit; max_requests_per_connection, max_stream_duration_s
    (of a try): 0 is no limit;
    http1: the codec's settings; http2: the codec's settings, None where HTTP/2 is not spoken; follows_downstream: the
    client's protocol is spoken (HTTP/1 where http2 is None); negotiates: what handshakes agree on is spoken; auto_sni, auto_san: a request's host is the server name of
    its connection, has to be in the host's certificate; sni_header: where that host stands, b"" for :authority."""

    idle_timeout_s: float | None = _DEFAULT_IDLE_TIMEOUT_S
    max_requests_per_connection: int = 0
    max_connection_duration_s: float | None = None
    max_stream_duration_s: float = 0.0
    http1: Http1Settings = _PLAIN_HTTP1
    http2: Http2Settings | None = None
    follows_downstream: bool = False
    negotiates: bool = False
    auto_sni: bool = False
    auto_san: bool = False
    sni_header: bytes = b""

    @property
    def http2_streams(self) -> int:
        """How many streams a connection that is being made counts for."""
        return self.http2.max_concurrent_streams if self.http2 is not None else 1


class TcpKeepalive(NamedTuple):
    """SO_KEEPALIVE; None leaves the value to the operating system."""

    probes: int | None = None
    time_s: int | None = None
    interval_s: int | None = None


class SocketOption(NamedTuple):
    """One setsockopt(level, name, value); bound: after bind(), not before."""

    level: int
    name: int
    value: int | bytes
    bound: bool = False


class BindConfig(NamedTuple):
    """Where connections come from. sources: (ip, port), port 0 for any; freebind: the ip need not be ours yet."""

    sources: tuple[tuple[str, int], ...] = ()
    freebind: bool = False
    options: tuple[SocketOption, ...] = ()

    def source(self, version: int) -> tuple[str, int] | None:
        """For a connection to an address of this IP version: the first of the same version, else the first of all
        (which cannot work, and says so), as in Envoy."""
        for source in self.sources:
            if (":" in source[0]) == (version == 6):
                return source
        return self.sources[0] if self.sources else None


@reads("envoy.config.cluster.v3.Cluster")
def compile_http_options(cluster: Reader) -> HttpOptions:
    """typed_extension_protocol_options, or the older fields of the cluster itself."""
    follows = cluster.enum("protocol_selection") == "USE_DOWNSTREAM_PROTOCOL"
    older = cluster.sub("common_http_protocol_options")
    trailers = _compile_http1(cluster.sub("http_protocol_options"))
    max_requests = cluster.wrapped("max_requests_per_connection", 0)
    options = _compile_common(older, max_requests)
    options = _compile_codec(cluster.sub("http_protocol_options"), options)
    older_http2 = _compile_http2(cluster.sub("http2_protocol_options"), older)
    if older_http2 is not None:
        options = options._replace(http2=older_http2, follows_downstream=follows)
    options = _compile_names(cluster.sub("upstream_http_protocol_options"), options)
    for key, entry in cluster.entries("typed_extension_protocol_options").items():
        if entry.type_name == HTTP_PROTOCOL_OPTIONS:
            options = _compile_protocol_options(entry, max_requests)
        else:
            entry.unsupported("", f'protocol options "{key}" are not supported')
    return _with_trailers(options) if trailers else options


@reads(HTTP_PROTOCOL_OPTIONS)
def _compile_protocol_options(reader: Reader, max_requests: int) -> HttpOptions:
    follows = reader.sub("use_downstream_protocol_config")
    auto = reader.sub("auto_config")
    explicit = reader.sub("explicit_http_config") or follows or auto
    http2 = None
    if follows is not None:
        follows.ignore("http3_protocol_options", why="no client is spoken to in HTTP/3")
    elif explicit is not None:
        explicit.unsupported("http3_protocol_options", NO_HTTP3)
    if auto is not None:
        auto.ignore("alternate_protocols_cache_options", why="it remembers who speaks HTTP/3")
    common = reader.sub("common_http_protocol_options")
    options = _compile_common(common, max_requests)
    if explicit is not None:
        options = _compile_codec(explicit.sub("http_protocol_options"), options)
        if _compile_http1(explicit.sub("http_protocol_options")):
            options = _with_trailers(options)
        http2 = _compile_http2(explicit.sub("http2_protocol_options"), common, always=auto is not None)
    options = _compile_names(reader.sub("upstream_http_protocol_options"), options)
    follows_downstream = follows is not None and http2 is not None
    return options._replace(http2=http2, follows_downstream=follows_downstream, negotiates=auto is not None)


def _compile_http2(
    reader: Reader | None, common: Reader | None, always: bool = False
) -> Http2Settings | None:
    """Set at all, even empty, it means HTTP/2. common: the HttpProtocolOptions with the limits that both have; always:
    HTTP/2 is spoken in any case"""
    if reader is None and not always:
        return None
    most_bytes, most = _compile_limits(common, Http2Settings().max_headers_bytes)
    return compile_http2_settings(reader, most_bytes, most)


@reads("envoy.config.core.v3.UpstreamHttpProtocolOptions")
def _compile_names(reader: Reader | None, options: HttpOptions) -> HttpOptions:
    """Whose name connections have. override_auto_sni_header counts for auto_san_validation as well, as in Envoy."""
    if reader is None:
        return options
    header = reader.text("override_auto_sni_header").lower().encode()
    names, checks = reader.flag("auto_sni"), reader.flag("auto_san_validation")
    header = b"" if header == b":authority" else header
    return options._replace(auto_sni=names, auto_san=checks, sni_header=header)


@reads("envoy.config.core.v3.HttpProtocolOptions")
def _compile_limits(common: Reader | None, default_bytes: int) -> tuple[int, int]:
    """The most bytes and fields of a response's head; the bytes by default are each codec's own."""
    if common is None:
        return default_bytes, Http1Settings().max_headers_count
    kilobytes = common.wrapped("max_response_headers_kb", 0)
    return kilobytes * 1024 or default_bytes, common.wrapped(
        "max_headers_count", Http1Settings().max_headers_count
    )


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _compile_codec(reader: Reader | None, options: HttpOptions) -> HttpOptions:
    """What the codec is told besides the trailers."""
    if reader is None:
        return options
    of_clients = ("allow_absolute_url", "accept_http_10", "default_host_for_http_10")
    reader.ignore(*of_clients, why="it is about what clients ask, and this is for hosts")
    settings = compile_spelling(reader, options.http1)
    absolute = reader.flag("send_fully_qualified_url")
    chunked_length = reader.flag("allow_chunked_length")
    settings = settings.copy()
    settings.send_fully_qualified_url = absolute
    settings.allow_chunked_length = chunked_length
    return options._replace(http1=settings)


def _with_trailers(options: HttpOptions) -> HttpOptions:
    """The same, passing HTTP/1 trailers on, both ways."""
    settings = options.http1.copy()
    settings.enable_trailers = True
    return options._replace(http1=settings)


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _compile_http1(reader: Reader | None) -> bool:
    """enable_trailers; an empty message only says HTTP/1, and other fields set in it are found unread."""
    return reader is not None and reader.flag("enable_trailers")


@reads("envoy.config.core.v3.HttpProtocolOptions")
def _compile_common(reader: Reader | None, max_requests: int) -> HttpOptions:
    if reader is None:
        return HttpOptions(max_requests_per_connection=max_requests)
    idle_timeout_s = reader.seconds("idle_timeout", _DEFAULT_IDLE_TIMEOUT_S)
    most_bytes, most_fields = _compile_limits(reader, Http1Settings().max_response_headers_bytes)
    settings = Http1Settings(max_response_headers_bytes=most_bytes, max_headers_count=most_fields)
    most = reader.wrapped("max_requests_per_connection", max_requests)
    duration_s = reader.seconds("max_connection_duration") or None
    stream_s = reader.seconds("max_stream_duration", 0.0) or 0.0
    if reader.enum("headers_with_underscores_action") != "ALLOW":
        reader.ignore(
            "headers_with_underscores_action", why="it is about what clients send, and this is for hosts"
        )
    return HttpOptions(idle_timeout_s or None, most, duration_s, stream_s, http1=settings)


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


@reads("envoy.config.core.v3.BindConfig")
def compile_bind_config(reader: Reader | None) -> BindConfig | None:
    """upstream_bind_config; None when it is not set."""
    if reader is None:
        return None
    sources = [_compile_source(reader.sub("source_address")), *_compile_extra_sources(reader)]
    options = tuple(option for option in map(_compile_socket_option, reader.each("socket_options")) if option)
    found = tuple(source for source in sources if source is not None)
    return BindConfig(found, reader.wrapped("freebind", False), options)


@reads("envoy.config.core.v3.BindConfig")
def _compile_extra_sources(reader: Reader) -> list[tuple[str, int] | None]:
    """extra_source_addresses or the older additional_source_addresses: one at most, of the other IP version."""
    field = "extra_source_addresses"
    extras = [_compile_extra_source(each) for each in reader.each(field)]
    older = [_compile_source(each) for each in reader.each("additional_source_addresses")]
    if extras and older:
        reader.fail("additional_source_addresses", f"and {field} cannot both be given")
    elif older:
        field, extras = "additional_source_addresses", older
    first = reader.sub("source_address")
    if extras and first is None:
        reader.fail(field, "needs a source_address before it")
    elif len(extras) > 1:
        reader.fail(field, "may hold one address: a source_address has an IP version, and there is one other")
    elif extras and first is not None and _is_same_version(extras[0], first.text("address")):
        reader.fail(field, "must be of another IP version than source_address")
    return extras


def _is_same_version(extra: tuple[str, int] | None, ip: str) -> bool:
    return extra is not None and (":" in extra[0]) == (":" in ip)


@reads("envoy.config.core.v3.ExtraSourceAddress")
def _compile_extra_source(reader: Reader) -> tuple[str, int] | None:
    return _compile_source(reader.sub("address"))


@reads("envoy.config.core.v3.SocketAddress")
def _compile_source(reader: Reader | None) -> tuple[str, int] | None:
    if reader is None:
        return None
    if reader.enum("protocol") != "TCP":
        reader.unsupported("protocol", "UDP upstreams are not supported")
    ip, port = reader.text("address"), reader.number("port_value")
    try:
        return str(ip_address(ip)), port
    except ValueError:
        reader.fail("address", f'"{ip}" is not an IP address; connections need one to come from')
        return None


@reads("envoy.config.core.v3.SocketOption")
def _compile_socket_option(reader: Reader) -> SocketOption | None:
    reader.text("description")
    reader.unsupported("type", "is not supported: upstream sockets are TCP sockets")
    reader.unsupported("ip_version", "is not supported: an option is set for both IP versions")
    state = reader.enum("state")
    value = reader.blob("buf_value") or c_int(reader.number("int_value"))
    level, name = c_int(reader.number("level")), c_int(reader.number("name"))
    if state == "STATE_LISTENING":
        reader.warn("state", "has no effect here: upstream sockets never listen")
        return None
    return SocketOption(level, name, value, state == "STATE_BOUND")


def c_int(value: int) -> int:
    """What C makes of a number of 64 bits, for setsockopt: marks may be written without a sign."""
    return (value + 2**31) % 2**32 - 2**31
