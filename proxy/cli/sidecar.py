"""``outrider sidecar``: serve as a pod's sidecar, with a bootstrap of our own making.

argparse, not click, as ``outrider run``: pods wait for it to start.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from proxy.sidecar.settings import HELP, BadSettings, Settings, gather

PODINFO = "/etc/podinfo"
PROBERS = "OUTRIDER_APP_PROBERS"
POD_IP = "INSTANCE_IP"


def parser() -> argparse.ArgumentParser:
    """A flag for every setting, and what comes with serving."""
    p = argparse.ArgumentParser(
        prog="outrider sidecar",
        description="Serve as a sidecar: captured connections pass through, HTTP is counted and traced.",
        epilog="What stands behind -- goes to outrider run. Each setting is also an annotation of the pod"
        " (sidecar.outrider/NAME) and an environment variable (OUTRIDER_SIDECAR_NAME).",
        allow_abbrev=False,
    )
    for field in fields(Settings):
        name, kind = "--" + field.name.replace("_", "-").removesuffix("-s"), type(field.default)
        text = (
            f"{HELP[field.name]} ({field.default})" if field.default not in ("", False) else HELP[field.name]
        )
        if kind is bool:
            p.add_argument(
                name, dest=field.name, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            p.add_argument(name, dest=field.name, type=kind, metavar=kind.__name__.upper(), help=text)
    p.add_argument("--podinfo", default=PODINFO, metavar="DIR", help=f"files of the downward API ({PODINFO})")
    p.add_argument("--print", dest="prints", action="store_true", help="print the bootstrap and end")
    return p


def settings_of(args: argparse.Namespace) -> Settings:
    """Flags, environment and the downward API's files. Raises BadSettings."""
    given = {field.name: getattr(args, field.name) for field in fields(Settings)}
    flags = {name: value for name, value in given.items() if value is not None}
    if "ipv6" not in flags and "OUTRIDER_SIDECAR_IPV6" not in os.environ:
        from proxy.cli.iptables import has_ipv6

        flags["ipv6"] = has_ipv6()
    return gather(flags, os.environ, _read(args.podinfo, "annotations"), _read(args.podinfo, "labels"))


def _read(folder: str, name: str) -> str:
    """A file that a pod may have or not."""
    try:
        return (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadSettings([f"{folder}/{name}: {error.strerror}"]) from None


def _bindable(sources: tuple[str, str]) -> tuple[str, str]:
    """Those that this host has, others as "": ::6 comes with the capture rules, and without them no source is needed."""
    import socket

    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        try:
            sock.bind((sources[1], 0))
        except OSError:
            return sources[0], ""
    return sources


def _add_probes(bootstrap: dict[str, Any], settings: Settings) -> None:
    """Probes of the application that the injection has rewritten to be asked here. Raises ValueError."""
    text = os.environ.get(PROBERS)
    holds = False
    if text:
        from proxy.probes.config import add_probes, hold_readiness, read_probers, target_of
        from proxy.sidecar.bootstrap import READINESS, READY, SOURCES

        probers, target = read_probers(text), target_of(os.environ.get(POD_IP, ""), _bindable(SOURCES))
        add_probes(bootstrap, probers, ipv6=settings.ipv6, target=target)
        holds = settings.ready_with_app and hold_readiness(bootstrap, probers, READINESS, READY, target)
    if settings.ready_with_app and not holds:
        sys.stderr.write(
            f"outrider sidecar: warning: ready-with-app has no effect: {PROBERS} has no readiness probe\n"
        )


def main(arguments: list[str]) -> int:
    """Serve, or print. Exit codes as ``outrider run``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    args = parser().parse_args(arguments[:at])
    try:
        settings = settings_of(args)
    except BadSettings as error:
        for problem in error.problems:
            sys.stderr.write(f"outrider sidecar: {problem}\n")
        return 2
    from proxy.sidecar.bootstrap import make_bootstrap

    bootstrap = make_bootstrap(settings)
    try:
        _add_probes(bootstrap, settings)
    except ValueError as error:
        sys.stderr.write(f"outrider sidecar: {PROBERS} {error}\n")
        return 2
    if args.prints:
        sys.stdout.write(json.dumps(bootstrap, indent=2) + "\n")
        return 0
    from proxy.cli.run import main as run

    drain = [
        "--drain-time-s",
        f"{settings.drain_time_s:g}",
        "--drain-listen-s",
        f"{settings.drain_listen_s:g}",
    ]
    if settings.exit_on_zero:
        drain.append("--exit-on-zero-active-connections")
    return run(["--config-yaml", json.dumps(bootstrap), *drain, *arguments[at + 1 :]])
