"""Which verb? ``outrider -c F`` without one means ``run``, so that Envoy's command lines work unchanged."""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module

#: verb → (module, one line of help)
VERBS = {
    "run": ("proxy.cli.run", "serve an Envoy bootstrap (also without the verb: outrider -c FILE)"),
    "validate": ("proxy.cli.validate", "check a bootstrap and say everything that is wrong with it"),
    "demo": ("proxy.cli.demo", "two services behind two proxies: a trace and metrics in one command"),
    "explain": ("proxy.cli.explain", "what would happen to a request, and why"),
    "test": ("proxy.cli.test", "routes and policies tested against a file of cases"),
    "diff": ("proxy.cli.diff", "what changes between two bootstraps, or a file and a running proxy"),
    "config-dump": ("proxy.cli.config_dump", "the /config_dump of a running proxy"),
    "proxy-config": ("proxy.cli.proxy_config", "what a running proxy has: clusters, routes, endpoints ..."),
    "sidecar": (
        "proxy.cli.sidecar",
        "serve as a pod's sidecar, with a bootstrap made from what the pod says",
    ),
    "request": ("proxy.cli.request", "ask a proxy of this host: for preStop hooks, probes and HEALTHCHECK"),
    "iptables": (
        "proxy.cli.iptables",
        "capture a pod's traffic: apply, clean, show and check the kernel's rules",
    ),
    "inject": ("proxy.cli.inject", "put the sidecar into Kubernetes manifests"),
    "uninject": ("proxy.cli.uninject", "take it out of them again"),
    "webhook": ("proxy.cli.webhook", "inject pods when they are created; webhook certs makes certificates"),
    "ready": ("proxy.cli.ready", "whether the proxy here is ready: for health checks of containers"),
    "version": ("proxy.cli.version", "print the version"),
}
#: see to the garbage collector themselves: it is off as the front door has left it
COLLECT_LATER = ("run", "validate")
VERSION_FLAGS = ("--version", "-V")
#: how a reader that has left, a full disk or a broken device shows when standard output is written
OUTPUT_LOST = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EIO)


def usage() -> str:
    """The verbs, one line each."""
    lines = ["usage: outrider VERB [options]", ""]
    lines += [f"  {verb:<13} {text}" for verb, (_, text) in VERBS.items()]
    lines += ["", "outrider VERB --help tells the options of a verb."]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run one verb with its arguments; the exit code, 1 when its output could not be written."""
    try:
        code = _run(arguments)
        sys.stdout.flush()  # here, where a failure can still be told
        return code
    except OSError as error:
        if error.errno not in OUTPUT_LOST:
            raise
        # what is still buffered would fail again when the interpreter ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno != errno.EPIPE:  # "outrider ... | head" is no mistake
            sys.stderr.write(f"outrider: standard output: {error.strerror}\n")
        return 1


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage() + "\n")
        return 0 if arguments else 2
    first, rest = arguments[0], arguments[1:]
    if first in VERSION_FLAGS:
        first = "version"
    elif first.startswith("-"):
        first, rest = "run", arguments
    if first not in VERBS:
        sys.stderr.write(f"outrider: {first!r} is not a verb\n\n{usage()}\n")
        return 2
    verb = import_module(VERBS[first][0])
    if first not in COLLECT_LATER:
        gc.enable()
    try:
        code: int = verb.main(rest)
    except KeyboardInterrupt:
        return 130
    return code
