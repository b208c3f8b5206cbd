"""envoy.config.core.v3.SubstitutionFormatString and the default line, compiled for access logs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from proxy.api.reader import Reader, reads
from proxy.base.stream_info import StreamInfo
from proxy.formatter import DEFAULT_FORMAT, FormatContext, compile_format, compile_json_format

if TYPE_CHECKING:
    from proxy.http.context import FactoryContext


class LineFormatter(Protocol):
    """A compiled format of whatever kind."""

    def format_bytes(self, stream: StreamInfo) -> bytes:
        """The line, with its end if the format has one."""
        ...


def log_context(context: FactoryContext) -> FormatContext:
    """What formats of access logs may read besides the stream."""
    result = FormatContext(clock=context.clock, ids=context.ids, log_type="")
    if context.environ is not None:
        result.environ = context.environ
    return result


def default_format(context: FactoryContext) -> LineFormatter:
    """The line Envoy writes when no format is given."""
    return compile_format(DEFAULT_FORMAT, context=log_context(context))


@reads("envoy.config.core.v3.SubstitutionFormatString")
def compile_log_format(reader: Reader, context: FactoryContext) -> LineFormatter:
    """The format; a finding goes to the reader and the default line stands in for it."""
    omit_empty = reader.flag("omit_empty_values")
    reader.ignore("content_type", why="it is for bodies of local replies; an access log has none")
    reader.unsupported("formatters", "formatter extensions are not supported")
    options = reader.sub("json_format_options")
    if options is not None:
        options.ignore("sort_properties", why="keys are always sorted, as in Envoy")
    kind = reader.which("format")
    if kind == "json_format":
        return compile_json(reader, "json_format", reader.struct("json_format"), context, omit_empty)
    if kind == "text_format":
        return compile_text(reader, "text_format", reader.text("text_format"), context, omit_empty)
    source = reader.sub("text_format_source")
    if source is None:
        reader.fail("format", "a format must be given")
        return default_format(context)
    text = read_data_source(source, log_context(context).environ)
    return compile_text(reader, "text_format_source", text, context, omit_empty)


def compile_text(
    reader: Reader, field: str, text: str, context: FactoryContext, omit_empty: bool = False
) -> LineFormatter:
    """A text format that stands in ``field``."""
    try:
        return compile_format(text, omit_empty=omit_empty, context=log_context(context))
    except ValueError as error:
        reader.fail(field, str(error))
        return default_format(context)


def compile_json(
    reader: Reader, field: str, struct: dict[str, Any], context: FactoryContext, omit_empty: bool = False
) -> LineFormatter:
    """A JSON format that stands in ``field``."""
    try:
        return compile_json_format(struct, omit_empty=omit_empty, context=log_context(context))
    except ValueError as error:
        reader.fail(field, str(error))
        return default_format(context)


@reads("envoy.config.core.v3.DataSource")
def read_data_source(reader: Reader, environ: Mapping[str, str]) -> str:
    """The text of a data source, "" after a finding."""
    reader.unsupported("watched_directory", "is not supported: formats are read once")
    kind = reader.which("specifier")
    if kind == "inline_string":
        return reader.text("inline_string")
    if kind == "inline_bytes":
        return reader.blob("inline_bytes").decode("utf-8", "surrogateescape")
    if kind == "environment_variable":
        name = reader.text("environment_variable")
        value = environ.get(name)
        if not value:
            reader.fail("environment_variable", f"Environment variable doesn't exist: {name}")
        return value or ""
    if kind == "filename":
        path = reader.text("filename")
        try:
            with open(path, "rb") as file:
                return os.fsdecode(file.read())
        except OSError as error:
            reader.fail("filename", f"Invalid path: {path} ({error.strerror})")
        return ""
    reader.fail("specifier", "a source must be given")
    return ""
