"""``outrider run``: Envoy's command line, every flag of it, and a way to run without a file.

Flags by a table, not by click: this is the entry whose start-up time counts, in every pod (docs/decisions/0005).
"""

from __future__ import annotations

import gc
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from proxy.base.errors import ConfigRefused
from proxy.cli.findings import print_findings
from proxy.cli.flags import Flag, argument_parser, read_plain
from proxy.cli.quick import quick_bootstrap
from proxy.server.options import DEFAULTS, Options

if TYPE_CHECKING:
    import argparse
    import socket
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

#: Flags that Envoy takes and that mean nothing here: accepted with one warning. (name, takes a value)
MEANINGLESS = (
    ("--base-id-path", True),
    ("--cpuset-threads", False),
    ("--disable-extensions", True),
    ("--disable-hot-restart", False),
    ("--enable-core-dump", False),
    ("--enable-fine-grain-logging", False),
    ("--enable-mutex-tracing", False),
    ("--hot-restart-version", False),
    ("--ignore-unknown-dynamic-fields", False),
    ("--log-format-escaped", False),
    ("--log-stacktrace-single-entry", False),
    ("--skip-deprecated-logs", False),
    ("--skip-hot-restart-parent-stats", False),
    ("--socket-mode", True),
    ("--use-dynamic-base-id", False),
)
#: Envoy's; the base id comes behind it
SOCKET_PATH = "@envoy_domain_socket"
MAX_SECONDS = 2**32 - 1  # Envoy's flags are uint32
#: of the meaningless, the ones that ask for what we do anyway: no warning
QUIET = frozenset(
    ("--disable-hot-restart", "--ignore-unknown-dynamic-fields", "--skip-deprecated-logs", "--cpuset-threads")
)


def _wrong(message: str) -> Exception:
    """What argparse shows as it is."""
    import argparse

    return argparse.ArgumentTypeError(message)


def seconds(text: str) -> float:
    """A flag's time, fractions allowed. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= MAX_SECONDS:  # nor nan
        raise _wrong(f"{text!r} is no number of seconds")
    return value


def utf8(text: str) -> str:
    """A flag's text, which messages and pages will hold. Raises argparse.ArgumentTypeError."""
    try:
        text.encode()
    except UnicodeEncodeError:  # Python hands on other bytes as surrogates
        raise _wrong(f"{text!r} is not UTF-8") from None
    return text


def stats_tag(text: str) -> str:
    """``name:value``. Raises argparse.ArgumentTypeError in Envoy's words."""
    utf8(text)
    if not all(text.partition(":")):
        raise _wrong(f"misformatted stats-tag '{text}'")
    return text


#: Envoy's flags by Envoy's names (``envoy --help``, 1.40), and ours at the end
FLAGS = (
    Flag("-c", "--config-path", metavar="FILE", help="bootstrap, YAML or JSON"),
    Flag("--config-yaml", metavar="TEXT", help="YAML merged over the file"),
    Flag(
        "--mode",
        choices=("serve", "validate", "init_only"),
        default="serve",
        help="validate: check and exit",
    ),
    Flag("--concurrency", convert=int, default=1, metavar="N", help="worker processes; only 1 is built"),
    Flag("-l", "--log-level", default="info", help="trace, debug, info, warning, error, critical or off"),
    Flag("--component-log-level", default="", metavar="A:LEVEL,B:LEVEL"),
    Flag("--log-format", default=DEFAULTS.log_format, metavar="FORMAT", help="Envoy's (spdlog's) pattern"),
    Flag("--log-path", metavar="FILE", help="log there and not to standard error"),
    Flag(
        "--service-cluster",
        convert=utf8,
        default="",
        metavar="NAME",
        help="node.cluster, before the bootstrap's",
    ),
    Flag("--service-node", convert=utf8, default="", metavar="ID", help="node.id, before the bootstrap's"),
    Flag(
        "--service-zone",
        convert=utf8,
        default="",
        metavar="ZONE",
        help="node.locality.zone, before the bootstrap's",
    ),
    Flag(
        "--drain-time-s",
        convert=seconds,
        default=DEFAULTS.drain_time_s,
        metavar="S",
        help="how long SIGTERM waits for requests in flight (25)",
    ),
    Flag(
        "--drain-listen-s",
        convert=seconds,
        default=DEFAULTS.drain_listen_s,
        metavar="S",
        help="how long listeners still accept after SIGTERM (0)",
    ),
    Flag(
        "--exit-on-zero-active-connections",
        dest="exit_on_zero",
        convert=None,
        help="accept after SIGTERM until nobody is connected",
    ),
    Flag("--drain-strategy", choices=("gradual", "immediate"), default="gradual"),
    Flag("--parent-shutdown-time-s", convert=seconds, default=DEFAULTS.parent_shutdown_time_s, metavar="S"),
    Flag("--file-flush-interval-msec", convert=int, default=10_000, metavar="MS", help="access-log files"),
    Flag("--file-flush-min-size-kb", convert=int, default=64, metavar="KB", help="access-log files"),
    Flag("--admin-address-path", metavar="FILE", help="write the admin address there"),
    Flag("--local-address-ip-version", choices=("v4", "v6"), default="v4"),
    Flag(
        "--allow-unknown-static-fields",
        "--allow-unknown-fields",
        convert=None,
        help="unknown fields are warnings",
    ),
    Flag(
        "--reject-unknown-dynamic-fields",
        convert=None,
        help="unknown fields refuse an update of what comes while we run",
    ),
    Flag(
        "--expand-env",
        convert=None,
        help="replace ${NAME} and ${NAME:-default} in values of the bootstrap",
    ),
    Flag(
        "--restart-epoch",
        convert=int,
        metavar="N",
        help="0: a successor may take over; more: take over from the process that runs",
    ),
    Flag("--base-id", convert=int, default=0, metavar="N", help="which process to take over from"),
    Flag("--socket-path", convert=utf8, default=SOCKET_PATH, metavar="PATH", help="where successors ask"),
    Flag("--skip-hot-restart-on-no-parent", convert=None, help="nobody to take over from is no error"),
    Flag("--supervise", convert=None, help="replace the serving process when it dies"),
    Flag("--supervised", default="", help=None),
    Flag(
        "--stats-tag",
        convert=stats_tag,
        repeats=True,
        metavar="NAME:VALUE",
        help="a tag for every stat",
    ),
    *(Flag(name, convert=str if takes else None, metavar="X", help=None) for name, takes in MEANINGLESS),
    Flag("--listen", metavar="[IP:]PORT", help="no file: listen there ..."),
    Flag("--upstream", metavar="URL", help="... and forward to http://host:port"),
    Flag(
        "--admin", metavar="[IP:]PORT", help="no file: the admin interface (127.0.0.1 unless an IP is given)"
    ),
    Flag("--zipkin", metavar="URL", help="no file: report spans to http://host:port"),
)


def parser() -> argparse.ArgumentParser:
    """For help, for what is wrong, and for what is written in another way than most do."""
    return argument_parser(FLAGS, "outrider run", "Serve an Envoy v3 bootstrap.")


def read_flags(arguments: list[str]) -> SimpleNamespace:
    """The values of all flags. Exits with 2 and a message as argparse does."""
    plain = read_plain(FLAGS, arguments)
    return plain if plain is not None else SimpleNamespace(**vars(parser().parse_args(arguments)))


def to_options(args: SimpleNamespace) -> Options:
    """The parsed flags as ``server.options.Options``."""
    return Options(
        config_path=args.config_path,
        config_yaml=args.config_yaml,
        mode=args.mode,
        concurrency=args.concurrency,
        log_level=args.log_level,
        component_log_level=args.component_log_level,
        log_format=args.log_format,
        log_path=args.log_path,
        service_cluster=args.service_cluster,
        service_node=args.service_node,
        service_zone=args.service_zone,
        drain_time_s=args.drain_time_s,
        drain_listen_s=args.drain_listen_s,
        exit_on_zero=args.exit_on_zero,
        drain_strategy=args.drain_strategy,
        parent_shutdown_time_s=args.parent_shutdown_time_s,
        file_flush_interval_ms=args.file_flush_interval_msec,
        file_flush_min_size_kb=args.file_flush_min_size_kb,
        admin_address_path=args.admin_address_path,
        local_address_ip_version=args.local_address_ip_version,
        allow_unknown_static_fields=args.allow_unknown_static_fields,
        expand_env=args.expand_env,
        reject_unknown_dynamic_fields=args.reject_unknown_dynamic_fields,
        restart_epoch=args.restart_epoch or 0,
        base_id=args.base_id,
        handover_path=f"{args.socket_path}_{args.base_id}" if args.restart_epoch is not None else "",
        inherits=bool(args.restart_epoch),
        inherits_if_there=args.skip_hot_restart_on_no_parent,
        supervised=args.supervised,
        stats_tags=args.stats_tag,
        command_line=command_line_options(args),
    )


def command_line_options(args: SimpleNamespace) -> dict[str, object]:
    """As /server_info shows them (envoy.admin.v3.CommandLineOptions in JSON)."""
    return {
        "base_id": str(args.base_id),
        "concurrency": 1,
        "config_path": args.config_path or "",
        "config_yaml": args.config_yaml or "",
        "allow_unknown_static_fields": args.allow_unknown_static_fields,
        "reject_unknown_dynamic_fields": args.reject_unknown_dynamic_fields,
        "admin_address_path": args.admin_address_path or "",
        "local_address_ip_version": args.local_address_ip_version,
        "log_level": args.log_level,
        "component_log_level": args.component_log_level,
        "log_format": args.log_format,
        "log_path": args.log_path or "",
        "service_cluster": args.service_cluster,
        "service_node": args.service_node,
        "service_zone": args.service_zone,
        "file_flush_interval": f"{args.file_flush_interval_msec / 1000:g}s",
        "drain_time": f"{args.drain_time_s:g}s",
        "parent_shutdown_time": f"{args.parent_shutdown_time_s:g}s",
        "mode": args.mode.title().replace("_", ""),
        "drain_strategy": args.drain_strategy.title(),
        "restart_epoch": args.restart_epoch or 0,
        "stats_tag": list(args.stats_tag),
    }


def _without_file(args: SimpleNamespace) -> str | None:
    """What is wrong with --listen and --upstream; otherwise puts their bootstrap in the place of a file."""
    given = [name for name in ("listen", "upstream", "admin", "zipkin") if getattr(args, name) is not None]
    if not given:
        return (
            None
            if args.config_path or args.config_yaml
            else "one of -c FILE, --config-yaml or --listen is needed"
        )
    if args.config_path:
        return f"--{given[0]} cannot be combined with -c"
    if args.listen is None or args.upstream is None:
        return "--listen and --upstream go together"
    try:
        bootstrap = quick_bootstrap(args.listen, args.upstream, args.admin, args.zipkin)
    except ValueError as error:
        return str(error)
    args.config_yaml = args.config_yaml or json.dumps(bootstrap)
    return None


def _warn_of_meaningless(args: SimpleNamespace) -> None:
    given = [
        name
        for name, _ in MEANINGLESS
        if name not in QUIET and getattr(args, name[2:].replace("-", "_")) not in (None, False)
    ]
    if args.concurrency not in (0, 1):
        given.append("--concurrency")
    for name in ("base_id", "drain_strategy", "parent_shutdown_time_s"):
        if name == "base_id" and args.restart_epoch is not None:
            continue
        if getattr(args, name) != getattr(DEFAULTS, name):
            given.append("--" + name.replace("_", "-"))
    if given:
        sys.stderr.write(f"outrider: warning: no effect here: {', '.join(given)}\n")


def _supervise(arguments: list[str], change: Callable[[Message], None] | None) -> int:
    """The same command again, in children. They find imported here what most of them need."""
    import time

    import uvloop  # noqa: F401

    import proxy.admin.server
    import proxy.ext.filters.http.router
    import proxy.ext.filters.network.http_connection_manager
    import proxy.ext.load_balancers.round_robin
    import proxy.server.main  # noqa: F401
    from proxy.server.supervisor import Forked, Supervisor

    def start(pair: int, memory: int, not_its: Sequence[socket.socket]) -> Forked:
        return Forked(lambda: main([*arguments, "--supervised", f"{pair},{memory}"], change), not_its)

    gc.freeze()  # else the collector would write into all the memory that children share with us
    gc.enable()
    return Supervisor(start, time.monotonic, time.sleep).run()


def main(arguments: list[str], change: Callable[[Message], None] | None = None) -> int:
    """Serve, or validate with --mode validate. Exit codes: 0 well, 1 refused or failed, 2 bad command line.

    change: as ``proxy.server.main.run`` takes it
    """
    args = read_flags(arguments)
    problem = _without_file(args)
    if problem is not None:
        sys.stderr.write(f"outrider run: {problem}\n")
        return 2
    _warn_of_meaningless(args)
    if args.supervise and not args.supervised and args.mode == "serve":
        return _supervise(arguments, change)
    options = to_options(args)
    gc.disable()  # until everything is made (Server._freeze); off already where the front door was taken
    if options.mode != "serve":
        from proxy.server.validate import validate

        loaded = validate(options)
        print_findings(loaded.errors, sys.stderr)
        if loaded.errors:
            return 1
        sys.stdout.write(f"configuration '{options.config_path or ''}' OK\n")
        return 0
    from proxy.server.main import run

    try:
        return run(options, change)
    except ConfigRefused as refused:
        print_findings(refused, sys.stderr)
        return 1
    except ValueError as error:
        sys.stderr.write(f"outrider run: {error}\n")
        return 2
