"""``outrider validate -c FILE``: everything that is wrong with a bootstrap, at once. Exit code 1 when it is refused.

Flags as ``outrider run`` reads them (docs/decisions/0005): click would be a tenth of what checking a small bootstrap takes.
"""

from __future__ import annotations

import gc
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from proxy.cli.findings import as_json, print_findings
from proxy.cli.flags import Flag, argument_parser, read_plain
from proxy.server.options import Options

if TYPE_CHECKING:
    import argparse


FLAGS = (
    Flag("-c", "--config-path", metavar="FILE", help="bootstrap, YAML or JSON"),
    Flag("--config-yaml", metavar="TEXT", help="YAML merged over the file"),
    Flag("--allow-unknown-static-fields", convert=None, help="unknown fields are warnings"),
    Flag("--service-node", default="", metavar="ID", help="node.id, before the bootstrap's"),
    Flag("--service-cluster", default="", metavar="NAME", help="node.cluster, before the bootstrap's"),
    Flag("--service-zone", default="", metavar="ZONE", help="node.locality.zone, before the bootstrap's"),
    Flag("--expand-env", convert=None, help="replace ${NAME} and ${NAME:-default} in values"),
    Flag(
        "--format",
        choices=("text", "json", "sarif"),
        default="text",
        help="json: one object on stdout; sarif: the same for code scanners (SARIF 2.1.0)",
    ),
)


def parser() -> argparse.ArgumentParser:
    """The verb's own flags, and the file without a flag."""
    p = argument_parser(
        FLAGS,
        "outrider validate",
        "Check a bootstrap: syntax, schema, rules, and whether outrider supports what it asks for.",
    )
    p.add_argument("file", nargs="?", metavar="FILE", help="the same as -c FILE")
    return p


def check(args: SimpleNamespace) -> int:
    """Validate and say what was found; the exit code."""
    gc.disable()  # nothing outlives this process
    from proxy.server.validate import validate

    path = args.config_path or args.file
    options = Options(
        config_path=path,
        config_yaml=args.config_yaml,
        allow_unknown_static_fields=args.allow_unknown_static_fields,
        service_node=args.service_node,
        service_cluster=args.service_cluster,
        service_zone=args.service_zone,
        expand_env=args.expand_env,
    )
    errors = validate(options).errors
    name = path or "--config-yaml"
    if args.format == "json":
        sys.stdout.write(as_json(name, errors) + "\n")
        return 1 if errors else 0
    if args.format == "sarif":
        from proxy.cli.sarif import as_sarif

        sys.stdout.write(as_sarif(errors) + "\n")
        return 1 if errors else 0
    print_findings(errors, sys.stderr)
    if errors:
        return 1
    sys.stdout.write(f"configuration '{name}' OK\n")
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code: 0 well, 1 refused, 2 bad command line."""
    plain = read_plain(FLAGS, arguments)
    if plain is not None and plain.config_path is not None:
        plain.file = None
        return check(plain)
    p = parser()
    args = SimpleNamespace(**vars(p.parse_args(arguments)))
    if args.config_path is not None and args.file is not None:
        p.error("name one FILE, with or without -c")
    if args.config_path is None and args.file is None and args.config_yaml is None:
        p.error("name a FILE (or -c FILE, or --config-yaml)")
    return check(args)
