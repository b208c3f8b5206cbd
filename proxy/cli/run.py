"""``outrider run``: Envoy's command line, every flag of it, and a way to run without a file.

argparse, not click: this is the entry whose start-up time counts, in every pod (design: 16 ms against 54).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from functools import partial

from proxy.base.errors import ConfigRefused
from proxy.cli.findings import print_findings
from proxy.cli.quick import quick_bootstrap
from proxy.server.options import DEFAULTS, Options

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


def seconds(text: str) -> float:
    """A flag's time, fractions allowed. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= MAX_SECONDS:  # nor nan
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def utf8(text: str) -> str:
    """A flag's text, which messages and pages will hold. Raises argparse.ArgumentTypeError."""
    try:
        text.encode()
    except UnicodeEncodeError:  # Python hands on other bytes as surrogates
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8") from None
    return text


def stats_tag(text: str) -> str:
    """``name:value``. Raises argparse.ArgumentTypeError in Envoy's words."""
    utf8(text)
    if not all(text.partition(":")):
        raise argparse.ArgumentTypeError(f"misformatted stats-tag '{text}'")
    return text


def parser() -> argparse.ArgumentParser:
    """Envoy's flags by Envoy's names (``envoy --help``, 1.40), and ours at the end."""
    p = argparse.ArgumentParser(
        prog="outrider run",
        description="Serve an Envoy v3 bootstrap.",
        allow_abbrev=False,
        formatter_class=partial(argparse.HelpFormatter, width=80),  # until help is written, see below
    )
    add = p.add_argument
    add("-c", "--config-path", metavar="FILE", help="bootstrap, YAML or JSON")
    add("--config-yaml", metavar="TEXT", help="YAML merged over the file")
    add(
        "--mode", choices=("serve", "validate", "init_only"), default="serve", help="validate: check and exit"
    )
    add("--concurrency", type=int, default=1, metavar="N", help="worker processes; only 1 is built")
    add("-l", "--log-level", default="info", help="trace, debug, info, warning, error, critical or off")
    add("--component-log-level", default="", metavar="A:LEVEL,B:LEVEL")
    add("--log-format", default=DEFAULTS.log_format, metavar="FORMAT", help="Envoy's (spdlog's) pattern")
    add("--log-path", metavar="FILE", help="log there and not to standard error")
    add(
        "--service-cluster",
        type=utf8,
        default="",
        metavar="NAME",
        help="node.cluster, before the bootstrap's",
    )
    add("--service-node", type=utf8, default="", metavar="ID", help="node.id, before the bootstrap's")
    add(
        "--service-zone",
        type=utf8,
        default="",
        metavar="ZONE",
        help="node.locality.zone, before the bootstrap's",
    )
    add("--drain-time-s", type=seconds, default=DEFAULTS.drain_time_s, metavar="S",
        help="how long SIGTERM waits for requests in flight (25)")  # fmt: skip
    add("--drain-listen-s", type=seconds, default=DEFAULTS.drain_listen_s, metavar="S",
        help="how long listeners still accept after SIGTERM (0)")  # fmt: skip
    add("--exit-on-zero-active-connections", dest="exit_on_zero", action="store_true",
        help="accept after SIGTERM until nobody is connected")  # fmt: skip
    add("--drain-strategy", choices=("gradual", "immediate"), default="gradual")
    add("--parent-shutdown-time-s", type=seconds, default=DEFAULTS.parent_shutdown_time_s, metavar="S")
    add("--file-flush-interval-msec", type=int, default=10_000, metavar="MS", help="access-log files")
    add("--file-flush-min-size-kb", type=int, default=64, metavar="KB", help="access-log files")
    add("--admin-address-path", metavar="FILE", help="write the admin address there")
    add("--local-address-ip-version", choices=("v4", "v6"), default="v4")
    add("--allow-unknown-static-fields", "--allow-unknown-fields", action="store_true",
        help="unknown fields are warnings")  # fmt: skip
    add("--reject-unknown-dynamic-fields", action="store_true",
        help="unknown fields refuse an update of what comes while we run")  # fmt: skip
    add("--expand-env", action="store_true",
        help="replace ${NAME} and ${NAME:-default} in values of the bootstrap")  # fmt: skip
    add("--restart-epoch", type=int, metavar="N",
        help="0: a successor may take over; more: take over from the process that runs")  # fmt: skip
    add("--base-id", type=int, default=0, metavar="N", help="which process to take over from")
    add("--socket-path", type=utf8, default=SOCKET_PATH, metavar="PATH", help="where successors ask")
    add("--skip-hot-restart-on-no-parent", action="store_true", help="nobody to take over from is no error")
    add("--supervise", action="store_true", help="replace the serving process when it dies")
    add("--supervised", default="", help=argparse.SUPPRESS)
    add(
        "--stats-tag",
        dest="stats_tag",
        type=stats_tag,
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="a tag for every stat",
    )
    for name, takes_value in MEANINGLESS:
        if takes_value:
            add(name, metavar="X", help=argparse.SUPPRESS)
        else:
            add(name, action="store_true", help=argparse.SUPPRESS)
    add("--listen", metavar="[IP:]PORT", help="no file: listen there ...")
    add("--upstream", metavar="URL", help="... and forward to http://host:port")
    add("--admin", metavar="[IP:]PORT", help="no file: the admin interface (127.0.0.1 unless an IP is given)")
    add("--zipkin", metavar="URL", help="no file: report spans to http://host:port")
    # Each flag that is added asks for a formatter, and the usual one imports shutil and asks how wide the terminal is.
    p.formatter_class = argparse.HelpFormatter
    return p


def to_options(args: argparse.Namespace) -> Options:
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


def command_line_options(args: argparse.Namespace) -> dict[str, object]:
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


def _without_file(args: argparse.Namespace) -> str | None:
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


def _warn_of_meaningless(args: argparse.Namespace) -> None:
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


def _supervise() -> int:
    """The same command again, as a child."""
    import time

    from proxy.server.supervisor import Supervisor

    return Supervisor(sys.orig_argv, time.monotonic, time.sleep).run()


def main(arguments: list[str]) -> int:
    """Serve, or validate with --mode validate. Exit codes: 0 well, 1 refused or failed, 2 bad command line."""
    args = parser().parse_args(arguments)
    problem = _without_file(args)
    if problem is not None:
        sys.stderr.write(f"outrider run: {problem}\n")
        return 2
    _warn_of_meaningless(args)
    if args.supervise and not args.supervised and args.mode == "serve":
        return _supervise()
    options = to_options(args)
    gc.disable()  # until everything is made (Server._freeze): imports make no garbage worth looking for
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
        return run(options)
    except ConfigRefused as refused:
        print_findings(refused, sys.stderr)
        return 1
    except ValueError as error:
        sys.stderr.write(f"outrider run: {error}\n")
        return 2
