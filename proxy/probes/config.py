"""Probers → a listener with a filter of app.py, and a cluster for each that is asked over HTTP.

Probers are JSON, by path: ``{"/app-health/web/livez": {"httpGet": {"path": "/", "port": 80}, "timeoutSeconds": 2}}``, with
``tcpSocket`` and ``grpc`` beside ``httpGet``, as Kubernetes writes them, ports as numbers.

They are asked where the kubelet would ask: at the pod's address, since some applications listen nowhere else. From an
address that the capture rules leave alone (capture.rules), or the sidecar would ask itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

PORT = 15020
MAX_PROBERS = 1000
#: how the paths of readiness probes end (proxy/inject/probes.py)
READINESS = "/readyz"
Config = dict[str, Any]
_TYPES = "type.googleapis.com/envoy.extensions"
_KINDS = ("httpGet", "tcpSocket", "grpc")


#: lifecycle hooks (proxy/inject/probes.py), for whose answer the kubelet waits as long as the pod may take
HOOKS = "/app-lifecycle/"
HOOK_S = 3600


@dataclass(slots=True, frozen=True)
class Target:
    """host: the address the application is asked at; source: the one it is asked from, "" for any."""

    host: str = "127.0.0.1"
    source: str = ""


LOOPBACK = Target()


def target_of(pod_ip: str, sources: tuple[str, str]) -> Target:
    """Of a pod's address, "" where it is not known. sources: for IPv4 and for IPv6. Raises BadProbers."""
    if not pod_ip:
        return LOOPBACK
    try:
        version = ip_address(pod_ip).version
    except ValueError:
        raise BadProbers(f"cannot be asked: {pod_ip!r} is no address of a pod") from None
    return Target(pod_ip, sources[0] if version == 4 else sources[1])


class BadProbers(ValueError):
    """Text that is none of the above."""


def read_probers(text: str) -> dict[str, Config]:
    """Raises BadProbers."""
    try:
        probers = json.loads(text)
    except (ValueError, RecursionError):
        raise BadProbers("is no JSON") from None
    if not isinstance(probers, dict) or len(probers) > MAX_PROBERS:
        raise BadProbers("is not an object of probers by path")
    for path, prober in probers.items():
        kinds = [kind for kind in _KINDS if isinstance(prober, dict) and isinstance(prober.get(kind), dict)]
        if len(kinds) != 1 or not path.startswith("/"):
            raise BadProbers(f"{path!r} has not one of {', '.join(_KINDS)}")
        headers = prober[kinds[0]].get("httpHeaders") or []
        if not isinstance(headers, list) or not all(isinstance(each, dict) for each in headers):
            raise BadProbers(f"{path!r}: httpHeaders is no list of names and values")
        port = prober[kinds[0]].get("port")
        if type(port) is not int or not 0 < port < 65536:
            raise BadProbers(f"{path!r}: port {port!r} is no port")
        if type(prober.get("timeoutSeconds", 1)) is not int:
            raise BadProbers(f"{path!r}: timeoutSeconds is no number")
        if path.startswith(HOOKS):
            prober.setdefault("timeoutSeconds", HOOK_S)
    return probers


def timeout_s(prober: Config) -> int:
    """Kubernetes' own default is a second."""
    return max(1, int(prober.get("timeoutSeconds", 1)))


def cluster_name(prober: Config) -> str:
    """Of what is asked over HTTP, "" for TCP: one per port and way of asking."""
    if "tcpSocket" in prober:
        return ""
    kind = "grpc" if "grpc" in prober else "https" if _is_https(prober) else "http"
    return f"app_probe_{kind}_{prober[kind if kind == 'grpc' else 'httpGet']['port']}"


def add_probes(
    bootstrap: Config,
    probers: dict[str, Config],
    port: int = PORT,
    ipv6: bool = False,
    target: Target = LOOPBACK,
) -> None:
    """Put them into a bootstrap."""
    if not probers:
        return
    resources = bootstrap.setdefault("static_resources", {})
    resources.setdefault("listeners", []).append(_listener(probers, port, ipv6, target))
    asked: dict[str, list[Config]] = {}
    for prober in probers.values():
        asked.setdefault(cluster_name(prober), []).append(prober)
    asked.pop("", None)
    resources.setdefault("clusters", []).extend(_cluster(name, each, target) for name, each in asked.items())


def hold_readiness(
    bootstrap: Config, probers: dict[str, Config], listener: str, path: str, target: Target = LOOPBACK
) -> bool:
    """Let the sidecar's own ``path`` on ``listener`` answer 503 while a readiness probe of the application fails. Their
    clusters come by ``add_probes``. Whether there is such a probe."""
    asked = {name: prober for name, prober in probers.items() if name.endswith(READINESS)}
    if asked:
        (held,) = (each for each in bootstrap["static_resources"]["listeners"] if each["name"] == listener)
        manager = held["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"].insert(0, _asks("HoldReadiness", asked, target, path=path))
    return bool(asked)


def _asks(name: str, probers: dict[str, Config], target: Target, **config: Any) -> Config:
    """A filter of app.py."""
    longest = max(timeout_s(prober) for prober in probers.values())
    typed = {
        "@type": "type.googleapis.com/outrider.filters.http.python.v1.Python",
        "filter": f"proxy.probes.app:{name}",
        "timeout": f"{longest + 1}s",
        "config": {"probers": probers, "host": target.host, "source": target.source, **config},
    }
    return {"name": "app_probes", "typed_config": typed}


def _listener(probers: dict[str, Config], port: int, ipv6: bool, target: Target) -> Config:
    nothing = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    hcm = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "app_probes",
        "route_config": {"virtual_hosts": [{"name": "none", "domains": ["*"], "routes": [nothing]}]},
        "http_filters": [
            _asks("AppProbes", probers, target),
            {"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}},
        ],
    }
    made: Config = {
        "name": "app_probes",
        "address": _address("0.0.0.0", port),
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": hcm}]}],
    }
    if ipv6:
        made["additional_addresses"] = [{"address": _address("::", port)}]
    return made


def _cluster(name: str, probers: list[Config], target: Target) -> Config:
    """The probers' own timeouts end what takes too long; the connection's is the longest of them."""
    prober = probers[0]
    handler = prober.get("grpc") or prober.get("httpGet") or {}
    made: Config = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": f"{max(map(timeout_s, probers))}s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(target.host, handler.get("port"))}}]}
            ],
        },
    }
    if target.source:
        made["upstream_bind_config"] = {"source_address": {"address": target.source, "port_value": 0}}
    if "grpc" in prober:
        options = {
            "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        made["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        }
    elif _is_https(prober):
        # as the kubelet does: the certificate is not verified
        tls = {"@type": f"{_TYPES}.transport_sockets.tls.v3.UpstreamTlsContext"}
        made["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": tls}
    return made


def _is_https(prober: Config) -> bool:
    return str(prober.get("httpGet", {}).get("scheme", "")).upper() == "HTTPS"


def _address(ip: str, port: Any) -> Config:
    return {"socket_address": {"address": ip, "port_value": port}}
