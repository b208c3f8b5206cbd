"""envoy.config.core.v3.Http1ProtocolOptions, as far as both sides take it: trailers, spelling, absolute targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.base.spelling import Memory, ProperCase

if TYPE_CHECKING:
    from proxy.api.reader import Reader
    from proxy.codec.http1 import Http1Settings

PRESERVE_CASE: Final = "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"


@reads("envoy.config.core.v3.Http1ProtocolOptions")
def compile_spelling(reader: Reader, settings: Http1Settings) -> Http1Settings:
    """header_key_format; findings go to the reader."""
    key_format = reader.sub("header_key_format")
    return settings if key_format is None else _compile_key_format(key_format, settings)


@reads("envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat")
def _compile_key_format(reader: Reader, settings: Http1Settings) -> Http1Settings:
    if reader.sub("proper_case_words") is not None:
        settings = settings.copy()
        settings.speller = ProperCase()
        return settings
    extension = reader.sub("stateful_formatter")
    if extension is None:
        return settings
    settings = settings.copy()
    settings.memory = _compile_extension(extension)
    return settings


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_extension(reader: Reader) -> Memory | None:
    reader.text("name")  # Envoy chooses by the type alone
    config = reader.any("typed_config")
    if config is not None and config.type_name == PRESERVE_CASE:
        return _compile_preserve_case(config)
    kind = config.type_name if config is not None else "without a type"
    reader.unsupported("", f"header formatter {kind} is not supported; {PRESERVE_CASE} is")
    return None


@reads(PRESERVE_CASE)
def _compile_preserve_case(reader: Reader) -> Memory:
    proper_others = reader.enum("formatter_type_on_envoy_headers") == "PROPER_CASE"
    return Memory(reader.flag("forward_reason_phrase"), proper_others)
