"""``outrider explain -c FILE GET http://host/path``: what would happen to this request, and why."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from proxy.base.errors import ConfigRefused
from proxy.cli.findings import print_findings

if TYPE_CHECKING:
    from proxy.explain.engine import Ask, Engine


def header(text: str) -> tuple[str, str]:
    """ "name: value" as a pair. Raises click.BadParameter."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is not of the form 'name: value'")
    if any(mark in text for mark in "\r\n\0"):
        raise click.BadParameter(f"{text!r} has a line break in it")
    return name.strip(), value.strip()


def to_ask(method: str, url: str, headers: tuple[str, ...], data: str, random: float) -> Ask:
    """The request that a client would send for a URL. Raises click.BadParameter."""
    from proxy.explain.engine import Ask

    try:
        parts = urlsplit(url)
    except ValueError as error:  # "http://[::1/"
        raise click.BadParameter(f"{url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise click.BadParameter(f"{url!r} is not of the form http://host/path")
    path = url[len(parts.scheme) + 3 + len(parts.netloc) :].partition("#")[0] or "/"
    path = path if path.startswith("/") else "/" + path
    if not method:
        raise click.BadParameter("the method is empty")
    if any(mark <= " " or mark == "\x7f" for mark in method + parts.netloc + path):
        raise click.BadParameter("method and URL hold no blanks or control characters")
    pairs = [header(one) for one in headers]
    authority = parts.netloc.rpartition("@")[2]
    for name, value in pairs:
        if name.lower() == "host":
            authority = value
    pairs = [pair for pair in pairs if pair[0].lower() != "host"]
    if parts.scheme == "https" and not any(name.lower() == "x-forwarded-proto" for name, _ in pairs):
        pairs.append(("x-forwarded-proto", "https"))
    return Ask(path, authority, method, pairs, data.encode(), random)


def place(text: str, port: int) -> tuple[str, int]:
    """ "ip", "ip:port" or "[ip]:port" as (ip, port). Raises click.BadParameter."""
    host, colon, last = text.rpartition(":")
    if not colon or (":" in host.strip("[]") and not host.startswith("[")):
        host, last = text, str(port)
    try:
        number = int(last) if last.isascii() and last.isdigit() else -1
        if not 0 <= number <= 65535:
            raise ValueError
        return str(ip_address(host.strip("[]"))), number
    except ValueError:
        raise click.BadParameter(f"{text!r} is not of the form IP or IP:PORT") from None


def choose_listener(engine: Engine, name: str | None, url: str) -> Any:
    """By name; else by the URL's port, when a listener has it; else the only one. Raises click.UsageError."""
    from proxy.explain.entrance import http_chains

    listeners = [one for one in engine.listeners if http_chains(one)]
    known = ", ".join(f"{one.name} ({one.places[0].text})" for one in listeners) or "none"
    if name is not None:
        for one in listeners:
            if one.name == name:
                return one
        raise click.UsageError(f"there is no HTTP listener {name!r}; there are: {known}")
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise click.UsageError(f"{url!r} has no valid port") from None
    of_port = [one for one in listeners if one.address[1] == port]
    chosen = of_port or listeners
    if len(chosen) != 1:
        raise click.UsageError(f"name the listener with --listener; there are: {known}")
    return chosen[0]


@click.command("explain", context_settings={"max_content_width": 110})
@click.option("-c", "--config-path", metavar="FILE", help="bootstrap, or a saved /config_dump")
@click.option("--admin", metavar="URL", help="a running proxy's admin interface, http://host:port")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="may be repeated")
@click.option("-d", "--data", default="", metavar="TEXT", help="the request's body")
@click.option("--listener", metavar="NAME", help="by default the one with the URL's port, or the only one")
@click.option("--source", metavar="IP[:PORT]", help="the client's address; 127.0.0.1:40000 without it")
@click.option(
    "--destination", metavar="IP[:PORT]", help="what it connects to; without it the listener's address"
)
@click.option("--alpn", default="h2,http/1.1", show_default=True, metavar="NAMES",
              help="what a client of https:// offers")  # fmt: skip
@click.option("--random", type=click.FloatRange(0.0, 1.0, max_open=True), default=0.0, show_default=True,
              help="what fractions and weights draw")  # fmt: skip
@click.option("--expand-env", is_flag=True, help="replace ${NAME} and ${NAME:-default} in values of a file")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("method")
@click.argument("url")
def command(
    config_path: str | None,
    admin: str | None,
    headers: tuple[str, ...],
    data: str,
    listener: str | None,
    source: str | None,
    destination: str | None,
    alpn: str,
    random: float,
    expand_env: bool,
    output: str,
    method: str,
    url: str,
) -> int:
    """Say what would happen to a request: listener, virtual host, route (and why not the ones before it), cluster,
    rewrites, timeouts, headers. Nothing is sent anywhere; the engine that serves runs in memory."""
    from proxy.cli.source import load_source, read_statuses
    from proxy.explain.engine import Engine
    from proxy.explain.entrance import Client, host_name
    from proxy.explain.report import explain, with_live_hosts
    from proxy.explain.text import render

    if (config_path is None) == (admin is None):
        raise click.UsageError("name either -c FILE or --admin URL")
    ask = to_ask(method, url, headers, data, random)
    try:
        engine = Engine(
            load_source(
                config_path or admin or "", follow_runtime=True, environ=os.environ if expand_env else None
            ),
            os.environ,
        )
    except ConfigRefused as refused:
        print_findings(refused, sys.stderr)
        return 1
    client = Client(
        place(source, 40000) if source else Client().source,
        place(destination, urlsplit(url).port or (443 if url.startswith("https:") else 80))
        if destination
        else None,
        url.startswith("https:"),
        host_name(ask.authority),
        tuple(name.strip() for name in alpn.split(",") if name.strip()),
    )
    chosen = choose_listener(engine, listener, url)
    shown = explain(engine, engine.ask(chosen, ask, client))
    if admin is not None:
        with_live_hosts(shown, read_statuses(admin))
    if output == "json":
        import json

        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(render(shown).encode("utf-8", "backslashreplace").decode(), nl=False)
    return 0


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider explain", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
