"""``outrider validate -c FILE``: everything that is wrong with a bootstrap, at once. Exit code 1 when it is refused.

argparse, as ``outrider run`` (docs/decisions/0005): click would be a tenth of what checking a small bootstrap takes.
"""

from __future__ import annotations

import argparse
import gc
import sys
from functools import partial

from proxy.cli.findings import as_json, print_findings
from proxy.server.options import Options


def parser() -> argparse.ArgumentParser:
    """The verb's own flags."""
    p = argparse.ArgumentParser(
        prog="outrider validate",
        description="Check a bootstrap: syntax, schema, rules, and whether outrider supports what it asks for.",
        allow_abbrev=False,
        formatter_class=partial(
            argparse.HelpFormatter, width=100
        ),  # the usual one imports shutil, to ask the terminal
    )
    add = p.add_argument
    add("-c", "--config-path", metavar="FILE", help="bootstrap, YAML or JSON")
    add("--config-yaml", metavar="TEXT", help="YAML merged over the file")
    add("--allow-unknown-static-fields", action="store_true", help="unknown fields are warnings")
    add("--expand-env", action="store_true", help="replace ${NAME} and ${NAME:-default} in values")
    add("--format", choices=("text", "json"), default="text", help="json: one object on stdout")
    add("file", nargs="?", metavar="FILE", help="the same as -c FILE")
    return p


def check(args: argparse.Namespace) -> int:
    """Validate and say what was found; the exit code."""
    gc.disable()  # nothing outlives this process
    from proxy.server.validate import validate

    path = args.config_path or args.file
    options = Options(
        config_path=path,
        config_yaml=args.config_yaml,
        allow_unknown_static_fields=args.allow_unknown_static_fields,
        expand_env=args.expand_env,
    )
    errors = validate(options).errors
    name = path or "--config-yaml"
    if args.format == "json":
        sys.stdout.write(as_json(name, errors) + "\n")
        return 1 if errors else 0
    print_findings(errors, sys.stderr)
    if errors:
        return 1
    sys.stdout.write(f"configuration '{name}' OK\n")
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code: 0 well, 1 refused, 2 bad command line."""
    p = parser()
    args = p.parse_args(arguments)
    if args.config_path is not None and args.file is not None:
        p.error("name one FILE, with or without -c")
    if args.config_path is None and args.file is None and args.config_yaml is None:
        p.error("name a FILE (or -c FILE, or --config-yaml)")
    return check(args)
