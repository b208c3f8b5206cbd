"""``outrider diff OLD NEW``: what changes between two bootstraps, or between a file and a running proxy.

Exit code as diff's: 0 the same, 1 different, 2 trouble.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.findings import print_findings

if TYPE_CHECKING:
    from google.protobuf.message import Message


def read(source: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A source as proto JSON, defaults and spellings evened out. Raises SourceError."""
    from proxy.cli.source import SourceError, load_source
    from proxy.explain.why import to_json

    loaded = load_source(source, environ=environ)
    if loaded.errors:
        print_findings(loaded.errors, sys.stderr)
        raise SourceError(f"{source}: cannot be compared")
    message: Message = loaded.message
    found: dict[str, Any] = to_json(message)
    node = found.get("node", {})
    for field in ("user_agent_name", "user_agent_build_version", "extensions", "user_agent_version"):
        node.pop(field, None)  # what a running Envoy says of itself
    if not node:
        found.pop("node", None)  # a running proxy always has one
    return found


@click.command("diff")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="only the exit code")
@click.option("--expand-env", is_flag=True, help="replace ${NAME} and ${NAME:-default} in values of a file")
@click.argument("old")
@click.argument("new")
def command(output: str, quiet: bool, expand_env: bool, old: str, new: str) -> int:
    """Compare two configurations. Each is a bootstrap, a saved /config_dump, or http://host:port of a running
    proxy's admin interface. Exit code 0 when they say the same, 1 when not, 2 when one cannot be read."""
    from proxy.explain.difference import differences, render

    environ = os.environ if expand_env else None
    changes = differences(read(old, environ), read(new, environ))
    if quiet:
        return int(bool(changes))
    if output == "json":
        fields = ("resource", "kind", "path", "old", "new")
        listed = [{field: getattr(one, field) for field in fields} for one in changes]
        click.echo(json.dumps(listed, indent=2))
    else:
        click.echo(render(changes), nl=False)
    return int(bool(changes))


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider diff", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
