"""Every extension in the place of every other kind: refused there, by its type, and nothing falls over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.extensions import EXTENSIONS
from proxy.server.options import Options
from proxy.server.validate import validate
from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host

HTTP = "envoy.filters.http."
ROUTER = {
    "name": "r",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def _with_hcm(**hcm: object) -> Config:
    return bootstrap(
        9901, [http_listener(10000, [virtual_host([route_to("up")])], hcm=hcm)], [cluster("up", 80)]
    )


def _in_chain(extension: Config) -> Config:
    made = _with_hcm()
    made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"].insert(0, extension)
    return made


def _for_listener(extension: Config) -> Config:
    made = _with_hcm()
    made["static_resources"]["listeners"][0]["listener_filters"] = [extension]
    return made


def _per_route(extension: Config) -> Config:
    route = route_to("up", match={"prefix": "/"})
    route["typed_per_filter_config"] = {"r": extension["typed_config"]}
    return bootstrap(9901, [http_listener(10000, [virtual_host([route])])], [cluster("up", 80)])


def _balances(extension: Config) -> Config:
    policy = {"policies": [{"typed_extension_config": extension}]}
    return bootstrap(9901, [], [cluster("up", 80, load_balancing_policy=policy)])


def _opentelemetry(**fields: object) -> Config:
    typed = {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": {"uri": "http://a/v1/traces", "cluster": "up", "timeout": "1s"}},
        **fields,
    }
    return _with_hcm(tracing={"provider": {"name": "o", "typed_config": typed}})


def _compressor(extension: Config) -> Config:
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": extension,
    }
    return _with_hcm(http_filters=[{"name": "c", "typed_config": typed}, ROUTER])


#: where an extension stands → how the names of those begin that may
PLACES: dict[str, tuple[str, Callable[[Config], Config]]] = {
    "network filter": ("filters.network.", _in_chain),
    "listener filter": ("filters.listener.", _for_listener),
    "HTTP filter": ("filters.http.", lambda extension: _with_hcm(http_filters=[extension, ROUTER])),
    "last HTTP filter": ("filters.http.", lambda extension: _with_hcm(http_filters=[extension])),
    "per route": ("filters.http.", _per_route),
    "access log": ("access_loggers.", lambda extension: _with_hcm(access_log=[extension])),
    "tracer": ("tracers.", lambda extension: _with_hcm(tracing={"provider": extension})),
    "sampler": ("tracers.opentelemetry.samplers.", lambda extension: _opentelemetry(sampler=extension)),
    "detector": (
        "tracers.opentelemetry.resource_detectors.",
        lambda extension: _opentelemetry(resource_detectors=[extension]),
    ),
    "IP detection": (
        "http.original_ip_detection.",
        lambda extension: _with_hcm(original_ip_detection_extensions=[extension]),
    ),
    "stats sink": ("stat_sinks.", lambda extension: {**_with_hcm(), "stats_sinks": [extension]}),
    "load balancer": ("load_balancing_policies.", _balances),
    "compressor library": ("compression.", _compressor),
    "transport socket": (
        "transport_sockets.",
        lambda extension: bootstrap(9901, [], [cluster("up", 80, transport_socket=extension)]),
    ),
}
KINDS = {message: name.partition(".")[2] for name, message, _ in EXTENSIONS if message.count(".") > 2}
#: one of each kind, whose names differ in their last part
MESSAGES = sorted({name.rpartition(".")[0]: message for message, name in KINDS.items()}.values())


def found(path: Path) -> str:
    return "\n".join(map(str, validate(Options(config_path=str(path))).errors.findings))


SOCKET = {"socket_address": {"address": "127.0.0.1", "port_value": 8125}}
#: what a message must have
NEEDS: dict[str, Config] = {
    "DogStatsdSink": {"address": SOCKET},
    "StatsdSink": {"address": SOCKET},
    "FileAccessLog": {"path": "/dev/null"},
    "Compressor": {
        "compressor_library": {
            "name": "g",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"
            },
        }
    },
    "CompressorPerRoute": {"disabled": True},
    "ConnectionLimit": {"stat_prefix": "x", "max_connections": 1},
    "HttpConnectionManager": {"stat_prefix": "x", "route_config": {}, "http_filters": [ROUTER]},
    "TcpProxy": {"stat_prefix": "x", "cluster": "up"},
    "CustomHeaderConfig": {"header_name": "x"},
}


def typed(message: str) -> Config:
    fields = NEEDS.get(message.rpartition(".")[2], {})
    return {"name": "x", "typed_config": {"@type": f"type.googleapis.com/{message}", **fields}}


@pytest.mark.parametrize("place", PLACES)
def test_only_its_own_kind_may_stand_there(place: str, tmp_path: Path) -> None:
    family, config = PLACES[place]
    path = tmp_path / "envoy.json"
    for message in MESSAGES:
        path.write_text(json.dumps(config(typed(message))))
        errors = found(path)
        rest = KINDS[message].removeprefix(family)
        if not KINDS[message].startswith(family) or ("." in rest and family != "compression."):
            assert message in errors, f"{message} is taken as {place}: {errors}"


def test_a_routes_configuration_is_no_filter(tmp_path: Path) -> None:
    message = "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute"
    path = tmp_path / "envoy.json"
    extension = {"name": "x", "typed_config": {"@type": f"type.googleapis.com/{message}", "disabled": True}}
    path.write_text(json.dumps(_with_hcm(http_filters=[extension, ROUTER])))
    assert f"{message} configures a filter for a route; it is no filter" in found(path)
