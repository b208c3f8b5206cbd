"""What a pod says of its sidecar: flags, environment, annotations and labels, in this order of weight.

Annotations and labels come as files of Kubernetes' downward API. Nothing here asks the environment or the command line
itself; ``proxy.cli.sidecar`` hands them in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

#: annotations are this and the setting's name with dashes
PREFIX: Final = "sidecar.outrider/"
#: environment variables are this and the setting's name in capitals
VARIABLE: Final = "OUTRIDER_SIDECAR_"
_NAME_LABELS: Final = ("app.kubernetes.io/name", "service.istio.io/canonical-name", "app")
_VERSION_LABELS: Final = ("app.kubernetes.io/version", "service.istio.io/canonical-revision", "version")
_UNKNOWN: Final = "unknown"


class BadSettings(ValueError):
    """Settings that make no bootstrap. ``problems``: one line each, naming where the value comes from."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(slots=True, frozen=True)
class Settings:
    """service, version, namespace, pod: as traces and metrics call them
    ports: where connections arrive (inbound, outbound) and questions are answered (ready, metrics, admin); admin is on
    loopback only
    zipkin, otlp: URLs of a collector, "" for none; sampling: percent of traces begun here
    detect_timeout_s: how long a connection whose client says nothing is taken for HTTP's; 0 waits for ever
    tcp_ports: a list of ports that never speak HTTP: their connections are not looked at
    access_log: a line a request, on standard output
    drain_time_s, drain_listen_s, exit_on_zero: see server.drain
    tls_cert, tls_key, tls_ca: files, for TLS between sidecars, both sides with a certificate; tls_ranges: networks whose
    pods have a sidecar that knows it; tls_strict: nothing else comes in
    retries: of outbound requests that have not reached anybody
    ready_with_app: ready only while the application's readiness probes succeed (proxy.probes)
    """

    service: str = _UNKNOWN
    version: str = ""
    namespace: str = ""
    pod: str = ""
    inbound_port: int = 15006
    outbound_port: int = 15001
    ready_port: int = 15021
    metrics_port: int = 15090
    admin_port: int = 15000
    zipkin: str = ""
    otlp: str = ""
    sampling: float = 100.0
    detect_timeout_s: float = 5.0
    tcp_ports: str = ""
    access_log: bool = False
    retries: int = 2
    drain_time_s: float = 25.0
    drain_listen_s: float = 5.0
    exit_on_zero: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    tls_ranges: str = ""
    tls_strict: bool = False
    ready_with_app: bool = False
    ipv6: bool = False


HELP: Final = {
    "service": "the service's name; else of the labels app.kubernetes.io/name, app ...",
    "version": "its version; else of the labels app.kubernetes.io/version, version ...",
    "namespace": "else POD_NAMESPACE",
    "pod": "else POD_NAME",
    "inbound_port": "where captured inbound connections come",
    "outbound_port": "where captured outbound connections come",
    "ready_port": "answers /healthz/ready",
    "metrics_port": "answers /stats/prometheus",
    "admin_port": "the admin interface, on loopback",
    "zipkin": "report spans to this Zipkin collector: http://host:9411[/path]",
    "otlp": "report spans to this OpenTelemetry collector: http://host:4318[/path]",
    "sampling": "percent of traces that begin here",
    "detect_timeout_s": "seconds until a connection whose client says nothing passes as TCP",
    "tcp_ports": "ports that pass as TCP at once, comma separated: for servers that speak first",
    "access_log": "a line a request on standard output",
    "retries": "of outbound requests that reached nobody",
    "drain_time_s": "seconds to finish what runs after SIGTERM",
    "drain_listen_s": "of these: seconds in which connections are still accepted",
    "exit_on_zero": "accept after SIGTERM until nobody is connected; else EXIT_ON_ZERO_ACTIVE_CONNECTIONS",
    "tls_cert": "TLS between sidecars: file with this pod's certificate chain",
    "tls_key": "file with its key",
    "tls_ca": "file with the certificates of whom to believe",
    "tls_ranges": "networks whose pods have such a sidecar, comma separated: outbound connections there are TLS",
    "tls_strict": "nothing comes in without TLS from such a sidecar",
    "ready_with_app": "/healthz/ready says 503 while a readiness probe of the application fails",
    "ipv6": "listen on IPv6 too",
}


def gather(
    flags: Mapping[str, object], environ: Mapping[str, str], annotations: str = "", labels: str = ""
) -> Settings:
    """The settings; ``flags`` holds those that were given, by field name. Raises BadSettings with all that is wrong."""
    problems: list[str] = []
    noted = parse_downward(annotations)
    labelled = parse_downward(labels)
    known = {field.name: type(field.default) for field in fields(Settings)}
    found: dict[str, object] = {
        "service": _first(labelled, _NAME_LABELS) or _UNKNOWN,
        "version": _first(labelled, _VERSION_LABELS),
        "namespace": environ.get("POD_NAMESPACE", ""),
        "pod": environ.get("POD_NAME", ""),
        "exit_on_zero": environ.get("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "").lower() == "true",
    }
    for name, kind in known.items():
        key, variable = (
            PREFIX + name.replace("_", "-").removesuffix("-s"),
            VARIABLE + name.upper().removesuffix("_S"),
        )
        for where, texts in ((f"annotation {key}", noted.get(key)), (variable, environ.get(variable))):
            if texts is not None:
                try:
                    found[name] = _convert(texts, kind)
                except ValueError:
                    problems.append(f"{where}: {texts!r} is not {_WORDS[kind]}")
    for key in noted:
        name = key.removeprefix(PREFIX).replace("-", "_")
        if (
            key.startswith(PREFIX)
            and name not in known
            and f"{name}_s" not in known
            and name not in _OF_INJECTION
        ):
            problems.append(f"annotation {key} is not known")
    settings = Settings(**{**found, **flags})  # type: ignore[arg-type]
    if "drain_listen_s" not in {**found, **flags}:  # part of the drain time, however short
        settings = replace(
            settings, drain_listen_s=min(settings.drain_listen_s, settings.drain_time_s * 0.75)
        )
    problems += _problems(settings)
    if problems:
        raise BadSettings(problems)
    return settings


#: annotations of the same prefix that are for who injects the sidecar
_OF_INJECTION: Final = frozenset(("inject", "image", "status"))
_WORDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _convert(text: str, kind: type) -> object:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    if kind is float:
        return float(text.removesuffix("s"))
    return kind(text)


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def parse_downward(text: str) -> dict[str, str]:
    """A file of the downward API: a line ``key="value"`` each, escaped like a Go string. Lines it cannot read are
    nobody's."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, quoted = line.partition("=")
        if quoted[:1] == '"' and quoted[-1:] == '"' and len(quoted) > 1:
            found[key] = _unquote(quoted[1:-1])
    return found


def _unquote(text: str) -> str:
    if "\\" not in text:
        return text
    return (
        text.encode("latin-1", "backslashreplace")
        .decode("unicode_escape")
        .encode("utf-16", "surrogatepass")
        .decode("utf-16")
    )


def _problems(settings: Settings) -> list[str]:
    found: list[str] = []
    ports = {
        name: getattr(settings, name)
        for name in ("inbound_port", "outbound_port", "ready_port", "metrics_port", "admin_port")
    }
    found += [f"{name} {port} is not a port" for name, port in ports.items() if not 0 < port <= 65535]
    twice = {port for port in ports.values() if list(ports.values()).count(port) > 1}
    found += [
        f"port {port} cannot be of {' and '.join(n for n, p in ports.items() if p == port)}"
        for port in sorted(twice)
    ]
    if not 0.0 <= settings.sampling <= 100.0:
        found.append(f"sampling {settings.sampling:g} is not a percentage")
    for name in ("detect_timeout_s", "drain_time_s", "drain_listen_s", "retries"):
        if not 0 <= getattr(settings, name) < 2**32:
            found.append(f"{name} {getattr(settings, name):g} is not possible")
    found += _tls_problems(settings)
    found += [
        f"tcp_ports: {each!r} is not a port" for each in items(settings.tcp_ports) if not _is_port(each)
    ]
    if settings.zipkin and settings.otlp:
        found.append("zipkin and otlp: spans are reported to one collector")
    found += [
        f"{name}: {why}" for name in ("zipkin", "otlp") for why in _url_problems(getattr(settings, name))
    ]
    return found


def _tls_problems(settings: Settings) -> list[str]:
    found: list[str] = []
    files = (settings.tls_cert, settings.tls_key, settings.tls_ca)
    if any(files) and not all(files):
        found.append("tls_cert, tls_key and tls_ca go together")
    if (settings.tls_ranges or settings.tls_strict) and not all(files):
        found.append("tls_ranges and tls_strict need tls_cert, tls_key and tls_ca")
    for text in items(settings.tls_ranges):
        try:
            ip_network(text, strict=False)
        except ValueError:
            found.append(f"tls_ranges: {text!r} is not a network")
    return found


def items(text: str) -> list[str]:
    """Of a comma separated list; empty ones do not count."""
    return [item for item in (each.strip() for each in text.split(",")) if item]


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) <= 65535


def _url_problems(text: str) -> list[str]:
    if not text:
        return []
    try:
        parts = urlsplit(text)
        fine = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    return [] if fine else [f"{text!r} is not a URL such as http://collector:9411"]
