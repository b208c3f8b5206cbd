"""What a running proxy has, as the tables of ``istioctl proxy-config``: its column names where it has them.

Each view takes a ``Dump`` (endpoints: the JSON of /clusters) and gives rows of texts; nothing is read elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.base.x509 import BadCertificate, read_pem
from proxy.explain.dump import Dump, Json, address_text, health_text

Row = tuple[str, ...]


@dataclass(slots=True)
class View:
    """columns; rows(dump): texts in their order; resources(dump): what -o json prints."""

    columns: Row
    rows: Callable[[Dump], list[Row]]
    resources: Callable[[Dump], Any]


def table(columns: Row, rows: Sequence[Row]) -> str:
    """Left-aligned columns, five blanks between them, as istioctl."""
    every = [columns, *(tuple(map(_printable, row)) for row in rows)]
    widths = [max(len(row[at]) for row in every) for at in range(len(columns))]
    lines = [
        "     ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    ]
    return "\n".join(lines) + "\n"


def _printable(cell: str) -> str:
    """Names come from elsewhere: nothing that a terminal would obey."""
    return cell if cell.isprintable() else "".join(mark if mark.isprintable() else "?" for mark in cell)


# -- clusters ----------------------------------------------------------------------------------------------------------


def cluster_rows(dump: Dump) -> list[Row]:
    """By name. Istio's names (direction|port|subset|host) are taken apart."""
    rows: list[Row] = []
    for cluster in dump.clusters():
        kind = cluster.get("cluster_type", {}).get("name") or cluster.get("type", "STATIC")
        rows.append((*_parts_of_name(cluster.get("name", "")), kind, _istio_config(cluster)))
    return sorted(rows)


def _parts_of_name(name: str) -> tuple[str, str, str, str]:
    parts = name.split("|")
    if len(parts) != 4:
        return name, "-", "-", "-"
    direction, port, subset, host = parts
    return host or name, port or "-", subset or "-", direction or "-"


def _istio_config(resource: Json) -> str:
    """The Istio resource it came from ("name.namespace"), as istioctl shows it."""
    path = resource.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", "")
    parts = str(path).split("/")
    return f"{parts[-1]}.{parts[-3]}" if len(parts) > 3 else ""


# -- listeners ---------------------------------------------------------------------------------------------------------


def listener_rows(dump: Dump) -> list[Row]:
    """One row for each filter chain."""
    rows: list[Row] = []
    for listener in dump.listeners():
        place = listener.get("address", {})
        socket = place.get("socket_address", {})
        where = socket.get("address") or place.get("pipe", {}).get("path") or listener.get("name", "")
        port = str(socket.get("port_value", 0))
        chains = list(listener.get("filter_chains", ()))
        if "default_filter_chain" in listener:
            chains.append({**listener["default_filter_chain"], "filter_chain_match": None})
        rows += [(where, port, _chain_match(chain), _destination(chain)) for chain in chains]
    return rows


def _chain_match(chain: Json) -> str:
    if "filter_chain_match" in chain and chain["filter_chain_match"] is None:
        return "DEFAULT"
    match = chain.get("filter_chain_match") or {}
    words = []
    if "server_names" in match:
        words.append("SNI: " + ",".join(match["server_names"]))
    if "transport_protocol" in match:
        words.append("Trans: " + match["transport_protocol"])
    if "application_protocols" in match:
        words.append("App: " + ",".join(match["application_protocols"]))
    for field, label in (("prefix_ranges", "Addr"), ("source_prefix_ranges", "Src")):
        if field in match:
            words.append(f"{label}: " + ",".join(map(_range, match[field])))
    if "destination_port" in match:
        words.append(f"Port: {match['destination_port']}")
    return "; ".join(words) or "ALL"


def _range(one: Json) -> str:
    return f"{one.get('address_prefix', '')}/{one.get('prefix_len', 0)}"


def _destination(chain: Json) -> str:
    """What a chain ends in."""
    found = []
    for one in chain.get("filters", ()):
        config = one.get("typed_config", {})
        if "rds" in config:
            found.append("Route: " + config["rds"].get("route_config_name", ""))
        elif "route_config" in config:
            hosts = config["route_config"].get("virtual_hosts", ())
            matches = [match_words(route) for host in hosts for route in host.get("routes", ())]
            found.append("Inline Route: " + ", ".join(matches))
        elif "weighted_clusters" in config:
            names = (each.get("name", "") for each in config["weighted_clusters"].get("clusters", ()))
            found.append("Cluster: " + ", ".join(names))
        elif "cluster" in config:
            found.append(f"Cluster: {config['cluster']}")
    if not found:
        found = [one.get("name", "") for one in chain.get("filters", ())] or ["-"]
    return "; ".join(found)


# -- routes ------------------------------------------------------------------------------------------------------------


def route_rows(dump: Dump) -> list[Row]:
    """One row for each route, by table (those without a name last); a table's routes in their order."""
    rows: list[Row] = []
    for table_ in sorted(dump.routes(), key=lambda one: (not one.get("name"), str(one.get("name", "")))):
        for host in table_.get("virtual_hosts", ()):
            domains = ", ".join(host.get("domains", ()))
            for route in host.get("routes", ()) or [{}]:
                rows.append(
                    (
                        table_.get("name", ""),
                        host.get("name", ""),
                        domains,
                        match_words(route) if route else "-",
                        _istio_config(route),
                    )
                )
    return rows


def match_words(route: Json) -> str:
    """The path of a route's match: "/a*" is a prefix."""
    match = route.get("match", {})
    words = []
    if "prefix" in match:
        words.append(match["prefix"] + "*")
    elif "path" in match:
        words.append(match["path"])
    elif "safe_regex" in match:
        words.append("regex " + match["safe_regex"].get("regex", ""))
    elif "path_separated_prefix" in match:
        words.append("PathPrefix:" + match["path_separated_prefix"])
    else:
        words += [f"{key} {value}" for key, value in match.items() if key.startswith(("path", "connect"))]
    words += ["header " + one.get("name", "") for one in match.get("headers", ())]
    words += ["query " + one.get("name", "") for one in match.get("query_parameters", ())]
    return " ".join(words) or "ALL"


# -- endpoints ---------------------------------------------------------------------------------------------------------


def endpoint_rows(statuses: list[Json]) -> list[Row]:
    """From the cluster_statuses of /clusters?format=json. By address."""
    rows: list[Row] = []
    for cluster in statuses:
        for host in cluster.get("host_statuses", ()):
            health = host.get("health_status", {})
            outlier = "FAILED" if health.get("failed_outlier_check") else "OK"
            rows.append(
                (address_text(host.get("address", {})), health_text(health), outlier, cluster.get("name", ""))
            )
    return sorted(rows)


# -- secrets -----------------------------------------------------------------------------------------------------------


def secret_rows(dump: Dump, now: datetime | None = None) -> list[Row]:
    """Certificates by name; dates in RFC 3339."""
    moment = now or datetime.now(UTC)
    rows: list[Row] = []
    for one in dump.secrets():
        secret = one["secret"]
        chain, trusted = "tls_certificate" in secret, "validation_context" in secret
        kind = "Cert Chain" if chain else "CA" if trusted else ""
        rows.append((one["name"], kind, one["state"], *_certificate_cells(secret, moment)))
    return rows


def _certificate_cells(secret: Json, now: datetime) -> tuple[str, str, str, str]:
    """(valid, serial, not after, not before)"""
    source = secret.get("tls_certificate", {}).get("certificate_chain") or secret.get(
        "validation_context", {}
    ).get("trusted_ca", {})
    try:
        certificate = read_pem(_bytes_of(source))[0]
    except BadCertificate:
        return "false", "", "", ""
    first, last = (datetime.fromtimestamp(at, UTC) for at in (certificate.not_before, certificate.not_after))
    after, before = (f"{one:%Y-%m-%dT%H:%M:%SZ}" for one in (last, first))
    return str(first <= now <= last).lower(), certificate.serial, after, before


def _bytes_of(source: Json) -> bytes:
    """A DataSource that stands in the dump itself; files are not read."""
    if "inline_string" in source:
        return str(source["inline_string"]).encode()
    try:
        return base64.b64decode(source.get("inline_bytes", ""), validate=True)
    except (binascii.Error, ValueError):
        return b""


# -- bootstrap ---------------------------------------------------------------------------------------------------------


def bootstrap_rows(dump: Dump) -> list[Row]:
    """The facts that people look for first."""
    return list(_bootstrap_facts(dump))


def _bootstrap_facts(dump: Dump) -> Iterator[Row]:
    bootstrap = dump.bootstrap
    node = bootstrap.get("node", {})
    locality = node.get("locality", {})
    yield "node id", node.get("id", "-")
    yield "node cluster", node.get("cluster", "-")
    yield (
        "locality",
        "/".join(locality.get(key, "") for key in ("region", "zone", "sub_zone")).rstrip("/") or "-",
    )
    version = node.get("user_agent_build_version", {}).get("version", {})
    if version:
        numbers = (str(version.get(key, 0)) for key in ("major_number", "minor_number", "patch"))
        yield "version", f"{node.get('user_agent_name', '')} {'.'.join(numbers)}".strip()
    yield "admin", address_text(bootstrap.get("admin", {}).get("address", {}))
    yield "listeners", str(len(dump.listeners()))
    yield "clusters", str(len(dump.clusters()))
    yield (
        "routes",
        str(
            sum(len(host.get("routes", ())) for one in dump.routes() for host in one.get("virtual_hosts", ()))
        ),
    )
    yield "xDS", "yes" if bootstrap.get("dynamic_resources") else "no"


CLUSTERS = View(
    ("SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"), cluster_rows, Dump.clusters
)
LISTENERS = View(("ADDRESSES", "PORT", "MATCH", "DESTINATION"), listener_rows, Dump.listeners)
ROUTES = View(("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"), route_rows, Dump.routes)
SECRETS = View(
    ("RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"),
    secret_rows,
    Dump.secrets,
)
BOOTSTRAP = View(("FACT", "VALUE"), bootstrap_rows, lambda dump: dump.bootstrap)
ENDPOINT_COLUMNS: Row = ("ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER")
VIEWS = {
    "bootstrap": BOOTSTRAP,
    "clusters": CLUSTERS,
    "listeners": LISTENERS,
    "routes": ROUTES,
    "secrets": SECRETS,
}
