"""What can be set of an injected sidecar: ONE table. docs/injection.md prints it, and a test compares the two.

A value comes from the pod's annotation, else from the same annotation of the workload, else from the command line (or
the webhook's own flags). Istio's annotation of the same meaning is understood where the last column names one. Other
annotations that begin with ``sidecar.outrider/`` are for the sidecar alone, which reads them of its pod.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from typing import Any

#: what the sidecar itself reads as well, of the pod it is in (proxy/sidecar/settings.py)
SIDECAR = "sidecar.outrider/"
#: what only the injection needs
INJECTION = "inject.outrider/"
INJECT = SIDECAR + "inject"
STATUS = SIDECAR + "status"
ISTIO_STATUS = "sidecar.istio.io/status"
PORTS = re.compile(r"^\d{1,5}(,\d{1,5})*$")
QUANTITY = re.compile(r"^\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi)?$")
SECONDS = re.compile(r"^\d{1,6}s?$")
INTERFACES = re.compile(r"^[\w.@:-]+(,[\w.@:-]+)*$")
LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")


class BadSetting(ValueError):
    """An annotation that makes no sense."""


@dataclass(slots=True, frozen=True)
class Settings:
    """The values for one pod; "" where the sidecar's own default holds."""

    inject: str = ""
    image: str = "outrider:latest"
    image_pull_policy: str = ""
    cpu: str = "100m"
    memory: str = "64Mi"
    cpu_limit: str = "2"
    memory_limit: str = "512Mi"
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    include_outbound_ranges: str = "*"
    exclude_outbound_ranges: str = ""
    exclude_interfaces: str = ""
    interception: str = "redirect"
    concurrency: str = ""
    log_level: str = ""
    zipkin: str = ""
    otlp: str = ""
    sampling: str = ""
    access_log: str = ""
    drain_time: str = ""
    native: str = "auto"
    hold_application: str = "true"
    rewrite_probes: str = "true"
    scrape: str = "true"


def _word(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text.lower() not in allowed:
            raise BadSetting(f"is none of {', '.join(allowed)}")
        return text.lower()

    return check


def _matches(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.match(text):
            raise BadSetting(f"is not {what}")
        return text

    return check


def _ports(text: str) -> str:
    text = text.replace(" ", "")
    if text and not PORTS.match(text):
        raise BadSetting("is not a list of ports like 80,443")
    for port in filter(None, text.split(",")):
        if not 0 < int(port) < 65536:
            raise BadSetting(f"{port} is no port")
    return text


def _all_or_ports(text: str) -> str:
    return text if text == "*" else _ports(text)


def _ranges(text: str) -> str:
    text = text.replace(" ", "")
    for each in filter(None, text.split(",")):
        try:
            ip_network(each, strict=False)
        except ValueError:
            raise BadSetting(f"{each} is not a network like 10.0.0.0/8") from None
    return text


def _all_or_ranges(text: str) -> str:
    return text if text == "*" else _ranges(text)


def _interception(text: str) -> str:
    if text.lower() == "tproxy":
        raise BadSetting(
            "is tproxy, for which the sidecar itself would need NET_ADMIN; redirect and none are supported"
        )
    return _word("redirect", "none", "cni")(text)


def _sampling(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise BadSetting("is not a percentage between 0 and 100")
    return text


def _endpoint(text: str) -> str:
    if not re.match(r"^http://[^/\s]+(/\S*)?$", text):
        raise BadSetting("is no URL like http://collector:9411")
    return text


def _not_empty(text: str) -> str:
    if not text.strip() or re.search(r"\s", text):
        raise BadSetting("is not the name of an image")
    return text


@dataclass(slots=True, frozen=True)
class Setting:
    """One row. field: of Settings; check: gives the value, or raises BadSetting; istio: its annotation, "" for none."""

    field: str
    annotation: str
    values: str
    help: str
    check: Callable[[str], str]
    istio: str = ""


BOOLEAN = _word("true", "false")
_TRAFFIC = "traffic.sidecar.istio.io/"
_ISTIO = "sidecar.istio.io/"
_QUANTITY = _matches(QUANTITY, "a quantity like 100m or 128Mi")

TABLE: tuple[Setting, ...] = (
    Setting(
        "inject",
        INJECT,
        "true, false",
        "whether the pod is injected; a label of this name does the same",
        BOOLEAN,
    ),
    Setting(
        "image", SIDECAR + "image", "image", "the image of both containers", _not_empty, _ISTIO + "proxyImage"
    ),
    Setting(
        "image_pull_policy",
        INJECTION + "image-pull-policy",
        "Always, IfNotPresent, Never",
        "how the image is pulled",
        lambda text: {"always": "Always", "ifnotpresent": "IfNotPresent", "never": "Never"}[
            _word("always", "ifnotpresent", "never")(text)
        ],
    ),
    Setting("cpu", INJECTION + "cpu", "quantity", "requested CPU", _QUANTITY, _ISTIO + "proxyCPU"),
    Setting(
        "memory", INJECTION + "memory", "quantity", "requested memory", _QUANTITY, _ISTIO + "proxyMemory"
    ),
    Setting(
        "cpu_limit", INJECTION + "cpu-limit", "quantity", "limit of CPU", _QUANTITY, _ISTIO + "proxyCPULimit"
    ),
    Setting(
        "memory_limit",
        INJECTION + "memory-limit",
        "quantity",
        "limit of memory",
        _QUANTITY,
        _ISTIO + "proxyMemoryLimit",
    ),
    Setting(
        "include_inbound_ports",
        INJECTION + "include-inbound-ports",
        "* or ports",
        "ports whose inbound connections are captured",
        _all_or_ports,
        _TRAFFIC + "includeInboundPorts",
    ),
    Setting(
        "exclude_inbound_ports",
        INJECTION + "exclude-inbound-ports",
        "ports",
        "inbound ports left alone, with * above",
        _ports,
        _TRAFFIC + "excludeInboundPorts",
    ),
    Setting(
        "include_outbound_ports",
        INJECTION + "include-outbound-ports",
        "ports",
        "outbound ports captured whatever the network",
        _ports,
        _TRAFFIC + "includeOutboundPorts",
    ),
    Setting(
        "exclude_outbound_ports",
        INJECTION + "exclude-outbound-ports",
        "ports",
        "outbound ports left alone",
        _ports,
        _TRAFFIC + "excludeOutboundPorts",
    ),
    Setting(
        "include_outbound_ranges",
        INJECTION + "include-outbound-ranges",
        "* or networks",
        "networks to which connections are captured",
        _all_or_ranges,
        _TRAFFIC + "includeOutboundIPRanges",
    ),
    Setting(
        "exclude_outbound_ranges",
        INJECTION + "exclude-outbound-ranges",
        "networks",
        "networks left alone",
        _ranges,
        _TRAFFIC + "excludeOutboundIPRanges",
    ),
    Setting(
        "exclude_interfaces",
        INJECTION + "exclude-interfaces",
        "interfaces",
        "network interfaces left alone",
        _matches(INTERFACES, "a list of interfaces like eth1,eth2"),
        _TRAFFIC + "excludeInterfaces",
    ),
    Setting(
        "interception",
        INJECTION + "interception",
        "redirect, cni, none",
        "redirect: an init container makes the rules; cni: a plugin of the node does; none: nobody",
        _interception,
        _ISTIO + "interceptionMode",
    ),
    Setting(
        "concurrency",
        INJECTION + "concurrency",
        "number",
        "the sidecar's --concurrency",
        _matches(re.compile(r"^\d{1,3}$"), "a small number"),
    ),
    Setting(
        "log_level",
        INJECTION + "log-level",
        ", ".join(LOG_LEVELS),
        "of the sidecar",
        _word(*LOG_LEVELS),
        _ISTIO + "logLevel",
    ),
    Setting("zipkin", SIDECAR + "zipkin", "http://host:9411", "spans go to this Zipkin or Jaeger", _endpoint),
    Setting(
        "otlp", SIDECAR + "otlp", "http://host:4318", "spans go to this OpenTelemetry collector", _endpoint
    ),
    Setting("sampling", SIDECAR + "sampling", "0 to 100", "percentage of traces that begin here", _sampling),
    Setting(
        "access_log", SIDECAR + "access-log", "true, false", "a line a request on standard output", BOOLEAN
    ),
    Setting(
        "drain_time",
        SIDECAR + "drain-time",
        "seconds",
        "how long requests may finish when the pod ends",
        _matches(SECONDS, "a number of seconds"),
    ),
    Setting(
        "native",
        INJECTION + "native-sidecar",
        "auto, true, false",
        "an init container that goes on running; auto: from Kubernetes 1.29 on",
        _word("auto", "true", "false"),
        _ISTIO + "nativeSidecar",
    ),
    Setting(
        "hold_application",
        INJECTION + "hold-application",
        "true, false",
        "classic sidecars: the application starts when the sidecar is ready (native ones: always)",
        BOOLEAN,
    ),
    Setting(
        "rewrite_probes",
        INJECTION + "rewrite-probes",
        "true, false",
        "probes of the application go through the sidecar",
        BOOLEAN,
        _ISTIO + "rewriteAppHTTPProbers",
    ),
    Setting(
        "scrape",
        INJECTION + "scrape",
        "true, false",
        "prometheus.io annotations, unless the pod has them",
        BOOLEAN,
    ),
)
BY_FIELD = {row.field: row for row in TABLE}


def known_annotations() -> set[str]:
    """Every annotation of ours."""
    return {row.annotation for row in TABLE} | {STATUS}


def merge(defaults: Settings, *annotations: Mapping[str, Any]) -> Settings:
    """annotations: the most specific first. Raises BadSetting with the annotation's name."""
    found: dict[str, str] = {}
    for row in TABLE:
        named = _find(row, annotations)
        if named is not None:
            name, text = named
            found[row.field] = checked(row, name, text)
    return replace(defaults, **found)


def _find(row: Setting, annotations: tuple[Mapping[str, Any], ...]) -> tuple[str, str] | None:
    for each in annotations:
        for name in (row.annotation, row.istio):
            if name and name in each:
                return name, str(each[name])
    return None


def checked(row: Setting, name: str, text: str) -> str:
    """The text as the row's value; name: where it comes from. Raises BadSetting."""
    try:
        return row.check(text.strip())
    except BadSetting as error:
        raise BadSetting(f'{name}: "{text}" {error}') from None


def given(**values: str | None) -> Settings:
    """Defaults from a command line; None: not given. Raises BadSetting."""
    found: dict[str, str] = {}
    for field, text in values.items():
        if text is not None:
            found[field] = checked(BY_FIELD[field], "--" + field.replace("_", "-"), text)
    return replace(Settings(), **found)


def unknown(annotations: Mapping[str, Any]) -> Iterator[str]:
    """Annotations under the injection's prefix that are none."""
    known = known_annotations()
    for name in annotations:
        if isinstance(name, str) and name.startswith(INJECTION) and name not in known:
            yield name


def table() -> str:
    """The table, for docs/injection.md."""
    defaults = {each.name: each.default for each in fields(Settings)}
    lines = [
        "| annotation | values | default | what it does | Istio's, understood too |",
        "|---|---|---|---|---|",
    ]
    for row in TABLE:
        default = defaults[row.field]
        istio = f"`{row.istio}`" if row.istio else ""
        lines.append(
            f"| `{row.annotation}` | {row.values} | {f'`{default}`' if default else ''} | {row.help} | {istio} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
