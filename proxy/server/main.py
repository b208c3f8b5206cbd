"""The process: what it reads and reports before it serves, its signals, its exit code. ``run(options)`` is the whole life."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.api.load import Loaded
from proxy.base.signals import handle_signals, ignore_signals
from proxy.server.log import set_log_format, set_up_logging
from proxy.server.server import Server
from proxy.server.validate import check, load_configuration, without_collector

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from proxy.server.options import Options

log = logging.getLogger("main")


def report(loaded: Loaded) -> None:
    """Warnings of a configuration, one log line each."""
    for warning in loaded.errors.warnings:
        log.warning("%s", warning)


async def serve(options: Options, loaded: Loaded) -> int:
    """From a loaded bootstrap to the end of the process; the exit code."""
    loop = asyncio.get_running_loop()
    server = Server(options, loaded, loop)
    if options.inherits and not (server.link is not None and server.link.resumes):
        from proxy.server.handover import inherit

        server.inherited = inherit(options.handover_path, options.inherits_if_there)
    loaded.errors.settle(0)
    set_log_format(server.parts.log_format)
    report(loaded)
    loaded.errors.raise_if_any()
    handlers = {
        signal.SIGTERM: server.on_signal,
        signal.SIGINT: server.on_signal,
        signal.SIGHUP: lambda: None,  # Envoy ignores it too
        signal.SIGUSR1: server.reopen_logs,
    }
    handle_signals(loop, handlers)
    starting = loop.create_task(server.start())
    stopping = loop.create_task(server.stopped.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    try:
        if starting.done():
            starting.result()
        await server.stopped.wait()
    finally:
        starting.cancel()
        stopping.cancel()
        await server.stop()
        ignore_signals(handlers)
    return 0


def run(options: Options, change: Callable[[Message], None] | None = None) -> int:
    """Serve until told to stop. Raises ConfigRefused; other failures are logged and give exit code 1.

    change: what is done to a bootstrap that could be read before it is compiled (proxy.testing.launch)
    """
    import uvloop

    try:
        set_up_logging(options)
    except OSError as error:
        sys.stderr.write(f"outrider: --log-path cannot be opened: {error}\n")
        return 1
    with without_collector():  # until everything is made, see Server._freeze
        return _run(options, uvloop.new_event_loop, change)


def _interrupt(_number: int, _frame: object) -> None:
    """What signal.default_int_handler does."""
    raise KeyboardInterrupt


def _run(
    options: Options,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    change: Callable[[Message], None] | None,
) -> int:
    loaded = load_configuration(options)
    if loaded.errors:
        check(loaded, options)
        loaded.errors.raise_if_any()
    if change is not None:
        change(loaded.message)
    # Or the runner puts in a handler of its own, and ``serve`` ours: that one is formatted then, with its task's source.
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(serve(options, loaded))
    except OSError as error:
        log.critical("error initializing: %s", error)
        return 1
