"""``outrider proxy-config VIEW SOURCE``: what a running proxy has, Envoy's or ours, as istioctl's tables.

``outrider config-dump SOURCE`` prints the whole dump. SOURCE is http://host:port of an admin interface or a saved
/config_dump (endpoints: or a saved /clusters?format=json).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from proxy.explain.views import Row

KINDS = ("bootstrap", "clusters", "endpoints", "listeners", "routes", "secrets")
#: istioctl's other names of the views
SHORT = {
    "b": "bootstrap",
    "cluster": "clusters",
    "c": "clusters",
    "endpoint": "endpoints",
    "ep": "endpoints",
    "listener": "listeners",
    "l": "listeners",
    "route": "routes",
    "r": "routes",
    "secret": "secrets",
    "s": "secrets",
}
DEFAULT_SOURCE = "http://127.0.0.1:9901"


def show(value: Any, output: str) -> str:
    """JSON or YAML."""
    if output == "yaml":
        import yaml

        text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        return text
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def short(columns: Row, rows: Sequence[Row], wanted: Sequence[tuple[str, str]]) -> str:
    """The table, with only the rows that hold each wanted text in its column."""
    from proxy.explain.views import table

    for column, text in wanted:
        at = columns.index(column)
        rows = [row for row in rows if text in row[at]]
    return table(columns, rows)


def pick(resources: Any, name: str | None) -> Any:
    """Of a list of resources those whose name holds the text."""
    if name is None or not isinstance(resources, list):
        return resources
    return [one for one in resources if name in str(one.get("name") or one.get("cluster_name", ""))]


_output = click.option(
    "-o", "--output", type=click.Choice(["short", "json", "yaml"]), default="short", show_default=True
)


@click.command("proxy-config", context_settings={"max_content_width": 110})
@click.argument("view", type=click.Choice([*KINDS, *SHORT]), metavar="VIEW")
@click.argument("source", default=DEFAULT_SOURCE)
@_output
@click.option("--name", "--fqdn", "name", metavar="TEXT", help="only resources whose name holds it")
@click.option("--port", metavar="N", help="only of this port (clusters, listeners)")
@click.option("--address", metavar="TEXT", help="only at this address (listeners, endpoints)")
@click.option("--status", metavar="TEXT", help="only of this status (endpoints, secrets)")
@click.option("--cluster", metavar="TEXT", help="only of this cluster (endpoints)")
def command(
    view: str,
    source: str,
    output: str,
    name: str | None,
    port: str | None,
    address: str | None,
    status: str | None,
    cluster: str | None,
) -> int:
    """Show what a running proxy has: bootstrap, clusters, endpoints, listeners, routes or secrets."""
    from proxy.cli.source import MALFORMED, malformed, read_dump, read_statuses
    from proxy.explain.views import ENDPOINT_COLUMNS, VIEWS, endpoint_rows

    kind = SHORT.get(view, view)
    given = {"name": name, "port": port, "address": address, "status": status, "cluster": cluster}
    wanted = filters(kind, given, table=output == "short")
    try:
        if kind == "endpoints":
            statuses = pick(read_statuses(source), cluster or name)
            rows = endpoint_rows(statuses) if output == "short" else []
            resources, columns = statuses, ENDPOINT_COLUMNS
        else:
            dump = read_dump(source)
            chosen = VIEWS[kind]
            rows = chosen.rows(dump) if output == "short" else []
            resources, columns = pick(chosen.resources(dump), name), chosen.columns
    except MALFORMED:
        raise malformed(source) from None
    text = short(columns, rows, wanted) if output == "short" else show(resources, output)
    click.echo(text, nl=False)
    return 0


#: by view: option → column of the table
FILTERS: dict[str, dict[str, str]] = {
    "bootstrap": {},
    "clusters": {"name": "SERVICE FQDN", "port": "PORT"},
    "endpoints": {"name": "CLUSTER", "cluster": "CLUSTER", "address": "ENDPOINT", "status": "STATUS"},
    "listeners": {"address": "ADDRESSES", "port": "PORT"},
    "routes": {"name": "NAME"},
    "secrets": {"name": "RESOURCE NAME", "status": "STATUS"},
}


def filters(kind: str, given: dict[str, str | None], *, table: bool) -> list[tuple[str, str]]:
    """(column, text) of the options given. Raises click.UsageError for one that the view does not have."""
    found = []
    for option, text in given.items():
        if text is None:
            continue
        if not table and option not in ("name", "cluster"):
            raise click.UsageError(f"--{option} is for -o short")
        if option not in FILTERS[kind] and (table or option != "name"):
            raise click.UsageError(f"--{option} means nothing for {kind}")
        if table:
            found.append((FILTERS[kind][option], text))
    return found


def main(arguments: list[str]) -> int:
    """Run the verb; the exit code."""
    try:
        code: int = command.main(arguments, prog_name="outrider proxy-config", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code
