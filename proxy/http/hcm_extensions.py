"""What few connection managers have: request_id_extension, proxy_status_config, access_log_options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.http.proxy_status import compile_proxy_status

if TYPE_CHECKING:
    from proxy.http.connection_manager import ConnectionManager
    from proxy.http.context import FactoryContext
    from proxy.tracing.sampler import Sampler

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
UUID: Final = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"


@reads(HCM)
def compile_extensions(reader: Reader, hcm: ConnectionManager, context: FactoryContext) -> None:
    """Set what is configured; findings go to the reader. After forwarding and tracing."""
    request_id = reader.sub("request_id_extension")
    if request_id is not None:
        compile_request_id(request_id, hcm.tracing.sampler if hcm.tracing is not None else None)
    status = reader.sub("proxy_status_config")
    if status is not None:
        hcm.proxy_status = compile_proxy_status(status, hcm.forwarding.server_name, context.node)
    options = reader.sub("access_log_options")
    if options is not None:
        _compile_moments(options, hcm)
    _compile_old_moments(reader, hcm, options is not None)


@reads("envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension")
def compile_request_id(reader: Reader, sampler: Sampler | None = None) -> bool:
    """Whether one is configured. sampler: what decides by ids, and writes into them"""
    config = reader.any("typed_config")
    if config is not None and config.type_name == UUID:
        _compile_uuid(config, sampler)
    elif config is not None:
        words = f"the request id extension {config.type_name} is not supported; {UUID} is"
        reader.unsupported("typed_config", words)
    return config is not None


@reads(UUID)
def _compile_uuid(reader: Reader, sampler: Sampler | None) -> None:
    packs = reader.wrapped("pack_trace_reason", True)
    asks = reader.wrapped("use_request_id_for_trace_sampling", True)
    if sampler is not None:  # else nothing is decided, and nothing written into ids
        sampler.packs, sampler.asks = packs, asks


@reads(f"{HCM}.HcmAccessLogOptions")
def _compile_moments(reader: Reader, hcm: ConnectionManager) -> None:
    hcm.log_interval_s = reader.seconds("access_log_flush_interval", 0.0) or 0.0
    hcm.logs_start = reader.flag("flush_access_log_on_new_request")
    hcm.logs_tunnels = reader.flag("flush_log_on_tunnel_successfully_established")


@reads(HCM)
def _compile_old_moments(reader: Reader, hcm: ConnectionManager, has_options: bool) -> None:
    """The same fields, before access_log_options; beside it they are refused, as in Envoy."""
    if has_options:
        for field in ("access_log_flush_interval", "flush_access_log_on_new_request"):
            if reader.has(field):
                reader.fail(field, f"only one of {field} and access_log_options can be given")
        return
    interval_s = reader.seconds("access_log_flush_interval", 0.0) or 0.0
    if interval_s:
        hcm.log_interval_s = interval_s
    if reader.flag("flush_access_log_on_new_request"):
        hcm.logs_start = True
