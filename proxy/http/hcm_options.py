"""Options of an HTTP connection manager that most configurations leave out: what is done to paths, authorities, local
replies and invalid requests. Each is None (or a flag) on the ConnectionManager where it is not configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.matchers import compile_string_matcher
from proxy.api.reader import Reader, reads
from proxy.codec.http1_options import Underscores
from proxy.http.local_replies import compile_local_replies
from proxy.http.request_rules import (
    KEEP_ESCAPED,
    REJECT,
    STRIP_ANY_PORT,
    STRIP_MATCHING_PORT,
    STRIP_NO_PORT,
    UNESCAPE_AND_FORWARD,
    UNESCAPE_AND_REDIRECT,
    HostRules,
    PathRules,
)
from proxy.upstream.http1_options import compile_spelling

if TYPE_CHECKING:
    from proxy.codec.http1 import Http1Settings
    from proxy.codec.http2_settings import Http2Settings
    from proxy.http.connection_manager import ConnectionManager
    from proxy.http.context import FactoryContext
    from proxy.stats.store import Scope

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ESCAPED: Final = {
    "IMPLEMENTATION_SPECIFIC_DEFAULT": KEEP_ESCAPED,
    "KEEP_UNCHANGED": KEEP_ESCAPED,
    "REJECT_REQUEST": REJECT,
    "UNESCAPE_AND_REDIRECT": UNESCAPE_AND_REDIRECT,
    "UNESCAPE_AND_FORWARD": UNESCAPE_AND_FORWARD,
}


@reads(HCM)
def compile_request_options(reader: Reader, hcm: ConnectionManager, context: FactoryContext) -> None:
    """Set what is configured; findings go to the reader."""
    hcm.path_rules = _compile_path(reader)
    hcm.host_rules = _compile_host(reader)
    replies = reader.sub("local_reply_config")
    if replies is not None:
        hcm.local_replies = compile_local_replies(replies, context)
    hcm.closes_on_invalid = not reader.wrapped("stream_error_on_invalid_http_message", False)
    http1 = reader.sub("http_protocol_options")
    if http1 is not None:
        _override_stream_error(http1, hcm)
    hcm.proxy_100_continue = reader.flag("proxy_100_continue")
    reader.ignore(
        "record_route_resolution_stats", why="there are no statistics of the time that finding a route takes"
    )


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _override_stream_error(reader: Reader, hcm: ConnectionManager) -> None:
    stays = reader.wrapped("override_stream_error_on_invalid_http_message", None)
    if stays is not None:
        hcm.closes_on_invalid = not stays


@reads(HCM)
def compile_codec_options(reader: Reader, settings: Http1Settings, scope: Scope) -> Http1Settings:
    """What the HTTP/1 codec is told besides its limits. scope: ``http1.``, shared by all connection managers."""
    common = reader.sub("common_http_protocol_options")
    if common is not None:
        settings = settings.copy()
        settings.underscores = _compile_underscores(common, scope)
    options = reader.sub("http_protocol_options")
    return settings if options is None else _compile_http1(options, settings)


@reads(HCM)
def compile_http2_options(reader: Reader, settings: Http2Settings, scope: Scope) -> Http2Settings:
    """The same for HTTP/2. scope: ``http2.``."""
    http2 = reader.sub("http2_protocol_options")
    if http2 is not None:
        _ignore_idle(http2)
    common = reader.sub("common_http_protocol_options")
    if common is None:
        return settings
    settings.underscores = _compile_underscores(common, scope)
    return settings


@reads("envoy.config.core.v3.Http2ProtocolOptions")
def _ignore_idle(reader: Reader) -> None:
    keepalive = reader.sub("connection_keepalive")
    if keepalive is not None:
        _ignore_idle_interval(keepalive)


@reads("envoy.config.core.v3.KeepaliveSettings")
def _ignore_idle_interval(reader: Reader) -> None:
    reader.ignore("connection_idle_interval", why="it is about opening streams, and clients open these")


@reads("envoy.config.core.v3.HttpProtocolOptions")
def _compile_underscores(reader: Reader, scope: Scope) -> Underscores | None:
    action = reader.enum("headers_with_underscores_action")
    if action == "ALLOW":
        return None
    drops = action == "DROP_HEADER"
    name = "dropped_headers_with_underscores" if drops else "requests_rejected_with_underscores_in_headers"

    def count(found: int) -> None:
        scope.counter(name).value += found  # made when it is first needed, as in Envoy

    return Underscores(drops, count)


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def _compile_http1(reader: Reader, settings: Http1Settings) -> Http1Settings:
    reader.ignore("send_fully_qualified_url", why="it is about what hosts are asked, and this is for clients")
    settings = compile_spelling(reader, settings)
    settings = settings.copy()
    settings.default_host = reader.text("default_host_for_http_10").encode()
    settings.allow_chunked_length = reader.flag("allow_chunked_length")
    settings.allow_absolute_url = reader.wrapped("allow_absolute_url", True)
    settings.ignored_upgrades = tuple(
        compile_string_matcher(each) for each in reader.each("ignore_http_11_upgrade")
    )
    return settings


@reads(HCM)
def _compile_path(reader: Reader) -> PathRules | None:
    normalizes = reader.wrapped("normalize_path", False)
    merges = reader.flag("merge_slashes")
    escaped = ESCAPED.get(reader.enum("path_with_escaped_slashes_action"), KEEP_ESCAPED)
    if normalizes or merges or escaped != KEEP_ESCAPED:
        return PathRules(normalizes, merges, escaped)
    return None


@reads(HCM)
def _compile_host(reader: Reader) -> HostRules | None:
    strips_dot = reader.flag("strip_trailing_host_dot")
    matching, anything = reader.flag("strip_matching_host_port"), reader.flag("strip_any_host_port")
    if matching and anything:
        reader.fail(
            "strip_any_host_port", "only one of strip_matching_host_port and strip_any_host_port can be set"
        )
    ports = STRIP_ANY_PORT if anything else STRIP_MATCHING_PORT if matching else STRIP_NO_PORT
    return HostRules(strips_dot, ports) if strips_dot or ports != STRIP_NO_PORT else None
