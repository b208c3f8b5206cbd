"""``outrider demo``: two services behind two sidecars; a trace, metrics and logs in one command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from proxy.demo.report import Report


def wants_colour(output: str | None) -> bool:
    """--output decides; without it colours are for terminals, and never where NO_COLOR is set."""
    if output is not None:
        return output == "rich"
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def printer(output: str | None) -> Callable[[Report], None]:
    """What shows a report."""
    if wants_colour(output):
        from proxy.demo.pretty import show

        return show
    from proxy.demo.plain import render

    return lambda report: say(render(report).rstrip("\n"))


def say(line: str) -> None:
    """One line for whoever is watching, at once even through a pipe."""
    print(line, flush=True)


@click.command("demo")
@click.option("--once", is_flag=True, help="end after the report: 0 when all agrees, 1 when not")
@click.option(
    "--requests", type=click.IntRange(1, 10_000), default=20, help="requests before the report [20]"
)
@click.option("--output", type=click.Choice(["plain", "rich"]), help="by default rich on a terminal")
@click.option("--folder", type=click.Path(path_type=Path), help="for configuration and logs [a new one]")
def command(once: bool, requests: int, output: str | None, folder: Path | None) -> int:
    """Run a client, two services each behind an outrider sidecar, and a Zipkin collector; show what they did."""
    import asyncio

    from proxy.demo.run import Settings, run

    settings = Settings(show=printer(output), say=say, once=once, requests=requests, folder=folder)
    return asyncio.run(run(settings))


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider demo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
