"""``%...%`` command operators compiled once: access logs, header values, span tags, bodies of local replies.

Sans-IO: reads a StreamInfo and what a FormatContext gives, knows no file and no socket.

    syntax.py         the grammar            slot.py      what an operator compiles to
    operators.py      THE table              escape.py    what is written of hostile bytes
    header_values.py, grpc_status.py, timing.py, facts.py, metadata.py, coalesce.py, flags.py    the operators
    text.py           text formats           json_format.py   JSON formats
"""

from proxy.formatter.flags import format_flags
from proxy.formatter.json_format import JsonFormatter, OmitEmptyJsonFormatter, compile_json_format
from proxy.formatter.slot import FormatContext
from proxy.formatter.text import DEFAULT_FORMAT, Formatter, compile_format, compile_header_value

__all__ = [
    "DEFAULT_FORMAT",
    "FormatContext",
    "Formatter",
    "JsonFormatter",
    "OmitEmptyJsonFormatter",
    "compile_format",
    "compile_header_value",
    "compile_json_format",
    "format_flags",
]
