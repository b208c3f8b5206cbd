"""``outrider validate -c FILE``: everything that is wrong with a bootstrap, at once. Exit code 1 when it is refused."""

from __future__ import annotations

import sys

import click

from proxy.cli.findings import as_json, print_findings
from proxy.server.options import Options


@click.command("validate")
@click.option("-c", "--config-path", type=click.Path(), help="bootstrap, YAML or JSON")
@click.option("--config-yaml", help="YAML merged over the file")
@click.option("--allow-unknown-static-fields", is_flag=True, help="unknown fields are warnings")
@click.option("--expand-env", is_flag=True, help="replace ${NAME} and ${NAME:-default} in values")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="json: one object on stdout"
)
@click.argument("file", required=False, type=click.Path())
def command(
    config_path: str | None,
    config_yaml: str | None,
    allow_unknown_static_fields: bool,
    expand_env: bool,
    form: str,
    file: str | None,
) -> int:
    """Check a bootstrap: syntax, schema, rules, and whether outrider supports what it asks for."""
    import gc

    from proxy.server.main import validate

    gc.disable()  # nothing outlives this process
    if config_path is not None and file is not None:
        raise click.UsageError("name one FILE, with or without -c")
    path = config_path or file
    if path is None and config_yaml is None:
        raise click.UsageError("name a FILE (or -c FILE, or --config-yaml)")
    options = Options(
        config_path=path,
        config_yaml=config_yaml,
        allow_unknown_static_fields=allow_unknown_static_fields,
        expand_env=expand_env,
    )
    errors = validate(options).errors
    name = path or "--config-yaml"
    if form == "json":
        click.echo(as_json(name, errors))
        return 1 if errors else 0
    print_findings(errors, sys.stderr)
    if errors:
        return 1
    click.echo(f"configuration '{name}' OK")
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider validate", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
