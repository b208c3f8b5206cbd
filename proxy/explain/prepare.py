"""A bootstrap made ready for a rehearsal: what needs sockets, files or other processes goes, routes get their place.

Works on a copy. What decides about requests stays as it is. A note says what was left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from proxy.api.pool import BadPayload, UnknownType, new_message, unpack

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
#: under this key of their metadata routes and virtual hosts carry their place in the configuration
PLACE = "outrider.explain"
_KEPT_TYPES = ("STATIC", "STRICT_DNS", "LOGICAL_DNS")


def prepare(
    bootstrap: Message, *, internal: bool = False, runtime: str | None = None
) -> tuple[Message, list[str]]:
    """(the copy, notes).

    internal: a client whose x-forwarded-for is one address counts as internal (router_check_tool's "internal: true")
    runtime: routes with another runtime_key never match (its "runtime"); None: every one by its own fraction
    """
    notes: list[str] = []
    copy: Any = new_message(BOOTSTRAP)
    copy.CopyFrom(bootstrap)
    if copy.HasField("dynamic_resources"):
        copy.ClearField("dynamic_resources")
        notes.append("dynamic_resources is left out: what a control plane sends is not in the file")
    for listener in copy.static_resources.listeners:
        _prepare_listener(listener, internal, runtime, notes)
    for cluster in copy.static_resources.clusters:
        _prepare_cluster(cluster, notes)
    return copy, notes


def connection_managers(listener: Any) -> Iterator[tuple[Any, Any]]:
    """(the filter, its HttpConnectionManager) of a Listener's chains. What cannot be unpacked is passed over."""
    for chain in [*listener.filter_chains, *_default_chain(listener)]:
        yield from managers_of(chain)


def managers_of(chain: Any) -> Iterator[tuple[Any, Any]]:
    """The same of one FilterChain."""
    for one in chain.filters:
        if not one.HasField("typed_config"):
            continue
        try:
            config = unpack(one.typed_config)
        except (UnknownType, BadPayload):
            continue
        if config.DESCRIPTOR.full_name == HCM:
            yield one, config


def _default_chain(listener: Any) -> list[Any]:
    return [listener.default_filter_chain] if listener.HasField("default_filter_chain") else []


def _prepare_listener(listener: Any, internal: bool, runtime: str | None, notes: list[str]) -> None:
    listener.ClearField("access_log")
    for chain in [*listener.filter_chains, *_default_chain(listener)]:
        if chain.HasField("transport_socket"):
            chain.ClearField("transport_socket")
            notes.append(f"listener {listener.name}: the rehearsal's client speaks plain HTTP/1.1, not TLS")
    for holder, manager in connection_managers(listener):
        manager.ClearField("access_log")
        manager.codec_type = 0
        if internal:
            _make_internal(manager)
        if manager.HasField("rds"):
            name = manager.rds.route_config_name
            notes.append(f"listener {listener.name}: the routes {name} come by RDS and are not in the file")
            manager.route_config.name = name
        if manager.HasField("route_config"):
            mark_places(manager.route_config)
            if runtime is not None:
                _disable_others(manager.route_config, runtime)
        holder.typed_config.Pack(manager)


def _make_internal(manager: Any) -> None:
    manager.ClearField("use_remote_address")
    manager.xff_num_trusted_hops = 0
    del manager.internal_address_config.cidr_ranges[:]
    for prefix in ("0.0.0.0", "::"):
        one = manager.internal_address_config.cidr_ranges.add(address_prefix=prefix)
        one.prefix_len.value = 0


def _disable_others(table: Any, runtime: str) -> None:
    for host in table.virtual_hosts:
        for route in host.routes:
            fraction = route.match.runtime_fraction
            if route.match.HasField("runtime_fraction") and fraction.runtime_key != runtime:
                fraction.default_value.numerator = 0


def mark_places(table: Any) -> None:
    """Every virtual host and route learns where it stands."""
    for at, host in enumerate(table.virtual_hosts):
        host.metadata.filter_metadata[PLACE].update({"virtual_host": at})
        for order, route in enumerate(host.routes):
            route.metadata.filter_metadata[PLACE].update({"virtual_host": at, "route": order})


def _prepare_cluster(cluster: Any, notes: list[str]) -> None:
    for field in ("transport_socket", "transport_socket_matches", "health_checks", "outlier_detection"):
        cluster.ClearField(field)
    for field in ("http2_protocol_options", "protocol_selection"):
        cluster.ClearField(field)
    _plain_protocol(cluster)
    kind = cluster.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number[cluster.type].name
    if cluster.WhichOneof("cluster_discovery_type") == "type" and kind not in _KEPT_TYPES:
        cluster.type = 0
        cluster.ClearField("eds_cluster_config")
        if not cluster.load_assignment.endpoints:
            notes.append(f"cluster {cluster.name}: its hosts ({kind}) are not in the configuration")


def _plain_protocol(cluster: Any) -> None:
    """Hosts of a rehearsal speak HTTP/1.1; the other options of HttpProtocolOptions stay."""
    held = cluster.typed_extension_protocol_options
    if HTTP_OPTIONS not in held:
        return
    try:
        options: Any = unpack(held[HTTP_OPTIONS])
    except (UnknownType, BadPayload):
        return
    if options.WhichOneof("upstream_protocol_options") not in (None, "explicit_http_config"):
        options.ClearField(options.WhichOneof("upstream_protocol_options"))
    options.ClearField("explicit_http_config")
    options.explicit_http_config.http_protocol_options.SetInParent()
    held[HTTP_OPTIONS].Pack(options)
