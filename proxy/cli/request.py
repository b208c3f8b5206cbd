"""``outrider request``: one HTTP request to a proxy of this host, for preStop hooks, probes and HEALTHCHECK.

Images for production hold no shell and no curl; the proxy itself can ask.
"""

from __future__ import annotations

import http.client
import sys

import click

DEFAULT = "127.0.0.1:15000"


@click.command("request")
@click.argument("method", type=click.Choice(["GET", "POST"], case_sensitive=False))
@click.argument("path")
@click.option("--at", default=DEFAULT, show_default=True, metavar="HOST:PORT", help="whom to ask")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, 3600, min_open=True), default=5.0, show_default=True
)
def command(method: str, path: str, at: str, timeout_s: float) -> int:
    """Send a request and print the answer. Exit code 0 for an answer below 400, 1 for another or none.

    preStop: outrider request POST "/drain_listeners?inboundonly&graceful&skip_exit"; HEALTHCHECK: outrider request GET
    /healthz/ready --at 127.0.0.1:15021
    """
    host, _, port = at.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.UsageError(f"--at: {at!r} is no host:port")
    if not path.startswith("/"):
        raise click.UsageError(f"{path!r} is no path: it begins with a slash")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
    try:
        connection.request(method.upper(), path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        click.echo(f"outrider request: {at}: {error or type(error).__name__}", err=True)
        return 1
    finally:
        connection.close()
    sys.stdout.buffer.write(body)
    if answer.status >= 400:
        click.echo(f"outrider request: {answer.status} {answer.reason}", err=True)
        return 1
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider request", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code or 0
