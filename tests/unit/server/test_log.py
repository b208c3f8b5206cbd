"""The process's own log in Envoy's format."""

from __future__ import annotations

import logging

import pytest

from proxy.server.log import LOGGERS, EnvoyFormatter, log_levels, set_log_level, set_up_logging
from proxy.server.options import Options


@pytest.fixture(autouse=True)
def levels_as_before():
    root = logging.getLogger()
    kept = {name: logging.getLogger(name).level for name in LOGGERS}
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, number in kept.items():
        logging.getLogger(name).setLevel(number)


def record(text: str = "hello %d", *values: object, level: int = logging.WARNING) -> logging.LogRecord:
    made = logging.LogRecord("main", level, "/x/main.py", 42, text, values or (7,), None)
    made.created, made.msecs = 1_700_000_000.25, 250.0
    return made


def test_the_parts_of_a_line():
    assert EnvoyFormatter("[%l][%L][%n] %v %%x").format(record()) == "[warning][W][main] hello 7 %x"
    assert EnvoyFormatter("%e %f").format(record()) == "250 250000"
    assert EnvoyFormatter("%g:%#").format(record()) == "proxy/main.py:42"
    assert EnvoyFormatter("%q %").format(record()) == "%q %", "what means nothing stays"


def test_what_is_logged_is_not_a_pattern():
    assert EnvoyFormatter("%v").format(record("100%% of %s", "%v%n")) == "100% of %v%n"


def test_a_traceback_follows():
    try:
        raise ValueError("inside")
    except ValueError as error:
        made = record()
        made.exc_info = (type(error), error, error.__traceback__)
    text = EnvoyFormatter("%v").format(made)
    assert text.startswith("hello 7\nTraceback") and text.endswith("ValueError: inside")


def test_levels_of_all_and_of_components(tmp_path):
    components = "connection:debug,dns:trace,nothing:info"
    options = Options(log_level="error", component_log_level=components, log_path=str(tmp_path / "log"))
    set_up_logging(options)
    levels = log_levels()
    assert (levels["connection"], levels["dns"], levels["main"]) == ("debug", "trace", "error")
    logging.getLogger("connection").debug("seen")
    logging.getLogger("main").warning("not seen")
    text = (tmp_path / "log").read_text()
    assert "][debug][connection]" in text and "seen" in text and "not seen" not in text


def test_an_unknown_component_is_named(tmp_path):
    set_up_logging(Options(component_log_level="nothing:info", log_path=str(tmp_path / "log")))
    assert "--component-log-level nothing:info has no effect here" in (tmp_path / "log").read_text()


def test_an_unknown_level():
    with pytest.raises(ValueError, match="'loud' is not a log level"):
        set_log_level(None, "loud")
