"""``outrider config-dump SOURCE``: the whole /config_dump of a running proxy (Envoy's or ours), or of a saved file."""

from __future__ import annotations

import click

from proxy.cli.proxy_config import DEFAULT_SOURCE, show


@click.command("config-dump")
@click.argument("source", default=DEFAULT_SOURCE)
@click.option(
    "-o", "--output", type=click.Choice(["short", "json", "yaml"]), default="json", show_default=True
)
def command(source: str, output: str) -> int:
    """Print a /config_dump: all of it, or (-o short) how much there is of what."""
    from proxy.cli.source import MALFORMED, as_dump, malformed, raw_dump
    from proxy.explain.views import BOOTSTRAP, table

    value = raw_dump(source)
    dump = as_dump(value, source)
    if output != "short":
        click.echo(show(value, output), nl=False)
        return 0
    try:
        rows = BOOTSTRAP.rows(dump)
    except MALFORMED:
        raise malformed(source) from None
    click.echo(table(BOOTSTRAP.columns, rows), nl=False)
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider config-dump", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
