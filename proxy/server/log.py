"""The process's own log: Envoy's levels, component names and --log-format, on Python's logging."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.server.options import Options

TRACE = 5
OFF = 100
LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": OFF,
}
NAMES = {number: name for name, number in LEVELS.items() if name != "warn"}
#: the components that log; /logging shows them
LOGGERS = ("admin", "connection", "dns", "main", "tracing", "upstream")


class EnvoyFormatter(logging.Formatter):
    """Envoy's --log-format (spdlog patterns): date parts, %e ms, %t thread, %l level, %n logger, %v text, %g %# place."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.pattern = pattern

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback follows on lines of its own."""
        moment = time.localtime(record.created)
        level = NAMES.get(record.levelno, record.levelname.lower())
        parts = {
            "%Y": time.strftime("%Y", moment),
            "%m": time.strftime("%m", moment),
            "%d": time.strftime("%d", moment),
            "%T": time.strftime("%H:%M:%S", moment),
            "%H": time.strftime("%H", moment),
            "%M": time.strftime("%M", moment),
            "%S": time.strftime("%S", moment),
            "%e": f"{int(record.msecs):03d}",
            "%f": f"{int(record.msecs * 1000):06d}",
            "%F": f"{int(record.msecs * 1000000):09d}",
            "%t": str(os.getpid()),
            "%P": str(os.getpid()),
            "%l": level,
            "%L": level[:1].upper(),
            "%n": record.name,
            "%g": f"proxy/{record.module}.py",
            "%s": f"{record.module}.py",
            "%#": str(record.lineno),
            "%v": record.getMessage(),
            "%%": "%",
        }
        text = "".join(_expand(self.pattern, parts))
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _expand(pattern: str, parts: Mapping[str, str]) -> list[str]:
    out: list[str] = []
    at = 0
    while at < len(pattern):
        token = pattern[at : at + 2]
        if token in parts:
            out.append(parts[token])
            at += 2
        else:
            out.append(pattern[at])
            at += 1
    return out


def set_up_logging(options: Options) -> None:
    """Log to standard error, or to --log-path. Raises ValueError for a level or component that does not exist."""
    handler: logging.Handler
    if options.log_path:
        handler = logging.FileHandler(options.log_path, encoding="utf-8")
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(EnvoyFormatter(options.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_log_level(None, options.log_level)
    for pair in filter(None, options.component_log_level.split(",")):
        name, _, level = pair.partition(":")
        if name in LOGGERS:
            set_log_level(name, level)
        else:
            logging.getLogger("main").warning("--component-log-level %s has no effect here", pair)


def set_log_format(pattern: str) -> None:
    """Log by another pattern from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, EnvoyFormatter):
            handler.setFormatter(EnvoyFormatter(pattern))


def set_log_level(logger: str | None, level: str) -> None:
    """Set one component's level, or all when None. Raises ValueError for an unknown level."""
    if level not in LEVELS:
        raise ValueError(f"{level!r} is not a log level; it must be one of {', '.join(NAMES.values())}")
    for name in LOGGERS if logger is None else (logger,):
        logging.getLogger(name).setLevel(LEVELS[level])


def log_levels() -> Mapping[str, str]:
    """Components and their levels, in print order."""
    return {name: NAMES[logging.getLogger(name).getEffectiveLevel()] for name in LOGGERS}
