"""``outrider inject`` and ``outrider uninject``: manifests in, manifests out, with the sidecar put in or taken out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.inject.settings import TABLE, BadSetting, given

_Command = TypeVar("_Command", bound=Callable[..., Any])
#: rows of the table that are of one pod only
_NOT_FLAGS = frozenset({"inject"})


def setting_options(command: _Command) -> _Command:
    """A flag for each row of the table; they arrive as keyword arguments, None when not given."""
    for row in reversed(TABLE):
        if row.field not in _NOT_FLAGS:
            flag = "--" + row.field.replace("_", "-")
            command = click.option(flag, row.field, metavar="TEXT", help=f"{row.help} ({row.values})")(
                command
            )
    return command


def read_settings(values: dict[str, Any]) -> Any:
    """The flags as Settings. Raises click.UsageError."""
    try:
        return given(**values)
    except BadSetting as error:
        raise click.UsageError(str(error)) from None


def read_version(text: str) -> tuple[int, int]:
    """--kubernetes-version. Raises click.UsageError."""
    from proxy.inject.pod import version

    try:
        return version(text)
    except ValueError:
        raise click.UsageError(f"--kubernetes-version: {text!r} is no version like 1.29") from None


@click.command("inject")
@click.option("-f", "--file", required=True, help="manifests, YAML or JSON; - for standard input")
@click.option("-o", "--output", type=click.Path(), help="where to write; standard output without it")
@click.option(
    "--kubernetes-version",
    default="1.33",
    show_default=True,
    help="of the cluster: native sidecars from 1.29 on",
)
@click.option("--opt-in", is_flag=True, help='only what has sidecar.outrider/inject: "true"')
@click.option("-q", "--quiet", is_flag=True, help="say only what is wrong")
@setting_options
def inject_command(
    file: str, output: str | None, kubernetes_version: str, opt_in: bool, quiet: bool, **values: Any
) -> int:
    """Put the sidecar into every pod of the manifests; everything else stays as it is.

    What is done, and what is left alone and why, is said on standard error. Exit code 1 when something is wrong with an
    annotation: that workload is left alone.
    """
    from proxy.inject.pod import Policy, inject

    policy = Policy(read_settings(values), not opt_in, read_version(kubernetes_version))
    return _run(file, output, lambda workload: inject(workload, policy), "injected", quiet)


@click.command("uninject")
@click.option("-f", "--file", required=True, help="manifests, YAML or JSON; - for standard input")
@click.option("-o", "--output", type=click.Path(), help="where to write; standard output without it")
@click.option("-q", "--quiet", is_flag=True, help="say only what is wrong")
def uninject_command(file: str, output: str | None, quiet: bool) -> int:
    """Take out what "outrider inject" put in; probes are again what they were."""
    from proxy.inject.pod import uninject

    return _run(file, output, uninject, "taken out", quiet)


def _run(file: str, output: str | None, act: Callable[[Any], Any], done: str, quiet: bool) -> int:
    from proxy.inject.manifests import BadManifest, change

    name = "standard input" if file == "-" else file
    try:
        # bytes: line ends stay as they are
        text = (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{name}: {error}") from None
    try:
        changed, outcomes = change(text, act)
    except BadManifest as error:
        raise click.ClickException(f"{name}: {error}") from None
    for outcome in outcomes:
        for warning in outcome.warnings:
            click.echo(f"{outcome.workload}: warning: {warning}", err=True)
        if outcome.failed or not quiet:
            click.echo(f"{outcome.workload} {done if outcome.changed else outcome.why}", err=True)
    if output is None:
        sys.stdout.write(changed)
    else:
        Path(output).write_bytes(changed.encode("utf-8"))
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def main(arguments: list[str]) -> int:
    """``outrider inject``; the exit code."""
    return _main(inject_command, arguments)


def main_uninject(arguments: list[str]) -> int:
    """``outrider uninject``; the exit code."""
    return _main(uninject_command, arguments)


def _main(command: click.Command, arguments: list[str]) -> int:
    try:
        code: int = command.main(arguments, prog_name=f"outrider {command.name}", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
