"""A configuration tried out: read and compiled, nothing served, nothing kept but the findings."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxy.access_log.log_file import close_all
from proxy.api.load import Loaded, load_bootstrap
from proxy.base.clock import Clock
from proxy.network.dispatcher import Dispatcher
from proxy.network.dns import AiodnsResolver
from proxy.server.bootstrap import compile_bootstrap
from proxy.stats.dry import DryStore

if TYPE_CHECKING:
    from proxy.server.options import Options


def load_configuration(options: Options) -> Loaded:
    """The bootstrap that the command line names."""
    return load_bootstrap(
        options.config_path,
        options.config_yaml,
        allow_unknown_fields=options.allow_unknown_static_fields,
        environ=os.environ if options.expand_env else None,
    )


def validate(options: Options) -> Loaded:
    """Read and compile, serve nothing. The findings are in the result's ``errors``."""
    with without_collector():
        loaded = load_configuration(options)
        check(loaded, options)
    return loaded


@contextmanager
def without_collector() -> Iterator[None]:
    """What a configuration makes stays: looking through it again and again doubles the time of a large one.

    A caller that ends afterwards keeps the collector off itself (``outrider validate``): the first look is dear, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check(loaded: Loaded, options: Options) -> None:
    """Compile, and keep nothing but the findings. What could not be read is left out, and the rest looked at."""
    known = len(loaded.errors.findings)
    loop = asyncio.new_event_loop()
    store = DryStore()
    dispatcher = Dispatcher(loop, Clock(), store.counter("server.envoy_bug_failures"))
    try:
        parts = compile_bootstrap(loaded, options, dispatcher, store, os.environ, AiodnsResolver())
        close_all(parts.context)
    except Exception:
        if not known:  # compile functions may rely on the rules of the API, which are broken then
            raise
    finally:
        dispatcher.close()
        loop.close()
    loaded.errors.settle(known)
