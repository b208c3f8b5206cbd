"""Filter chains and listener filters of a Listener (envoy.config.listener.v3) → how its connections find their chain."""

from __future__ import annotations

from typing import Any

from proxy.api.networks import compile_networks
from proxy.api.pool import new_message
from proxy.api.reader import Reader, reads
from proxy.http.context import FactoryContext
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Criteria, Overlap
from proxy.listener.disabled import Unless, compile_predicate
from proxy.listener.filter_chain import FilterChain, NoFilters
from proxy.listener.listener import Listener, NetworkFilter
from proxy.network.read_filter import ReadFilterFactory
from proxy.network.tls import TlsSide
from proxy.upstream.endpoints import compile_metadata

LISTENER = "envoy.config.listener.v3.Listener"
NETWORK_FILTERS = "envoy.filters.network."
LISTENER_FILTERS = "envoy.filters.listener."
RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
PROXY_PROTOCOL = "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
ORIGINAL_DST = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
DOWNSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_MATCHES_ALL = Criteria()


@reads(LISTENER)
def compile_chains(reader: Reader, context: FactoryContext, listener: Listener) -> list[FilterChain]:
    """Every chain, the default one included; the listener is given what chooses between them.

    A single chain that takes everything, without listener filters, is found without choosing.
    """
    for each in reader.each("listener_filters"):
        inspector = _compile_listener_filter(each, context)
        if inspector is not None:
            listener.inspectors.append(inspector)
    listener.hands_off = reader.wrapped("use_original_dst", False)
    if listener.hands_off:
        listener.inspectors.append(context.registry.resolve(ORIGINAL_DST)())
    if _uses_proxy_protocol(reader):
        plain = Reader(new_message(PROXY_PROTOCOL))
        listener.inspectors.append(context.registry.resolve(PROXY_PROTOCOL)(plain, context))
    listener.filters_timeout_s = reader.seconds("listener_filters_timeout", 15.0) or 0.0
    listener.continues_on_timeout = reader.flag("continue_on_listener_filters_timeout")
    metadata = compile_metadata(reader.sub("metadata"))
    chains: list[FilterChain] = []
    paths: dict[FilterChain, Reader] = {}
    chooses = bool(listener.inspectors)
    readers = reader.each("filter_chains")
    for each in readers:
        criteria = _compile_match(each)
        chain = _compile_chain(each, context)
        if chain is None:
            continue
        chain.criteria = criteria
        chains.append(chain)
        paths[chain] = each
        chooses = chooses or criteria != _MATCHES_ALL
        try:
            listener.chains.add(criteria, chain)
        except Overlap as error:
            if reader.has("filter_chain_matcher"):
                continue  # which is refused, and would choose between them
            where = paths[error.first].path
            each.fail(
                "filter_chain_match", f"multiple filter chains with overlapping matching rules: see {where}"
            )
    default = reader.sub("default_filter_chain")
    if default is not None:
        _pass_over_match(default)
        chain = _compile_chain(default, context)
        listener.chains.default = chain
        if chain is not None:
            chains.append(chain)
    if not readers and default is None and not is_refused_place(reader):
        reader.fail("filter_chains", "a listener needs a filter chain")
    listener.chooses = chooses or len(chains) > 1
    for chain in chains:
        if metadata or chain.metadata is not None:
            chain.metadata = (metadata, chain.metadata[1] if chain.metadata is not None else {})
    return chains


@reads("envoy.config.listener.v3.FilterChain")
def _pass_over_match(reader: Reader) -> None:
    """Of a default chain: Istio writes an empty one."""
    match = reader.message.filter_chain_match  # type: ignore[attr-defined]
    if match.ByteSize():
        reader.ignore("filter_chain_match", why="the default chain takes what no other chain matches")
    else:
        reader.sub("filter_chain_match")


@reads("envoy.config.listener.v3.Listener")
def _uses_proxy_protocol(reader: Reader) -> bool:
    """use_proxy_proto (deprecated) of the first chain, or of the default one when it is the only one, as in Envoy."""
    chains = reader.each("filter_chains")
    default = reader.sub("default_filter_chain")
    if default is not None:
        chains = [*chains, default]
    uses = bool(chains) and _wants_proxy_protocol(chains[0])
    for each in chains[1:]:
        if _wants_proxy_protocol(each) and not uses:
            each.warn("use_proxy_proto", "has no effect here: it counts in the first filter chain")
    return uses


@reads("envoy.config.listener.v3.FilterChain")
def _wants_proxy_protocol(reader: Reader) -> bool:
    return bool(reader.wrapped("use_proxy_proto", False))


@reads("envoy.config.listener.v3.Listener")
def is_refused_place(reader: Reader) -> bool:
    """Whether it was to be for datagrams, or in another network namespace: then it needs no filter chain, or may have
    the address of another listener."""
    address = reader.sub("address")
    place = address.sub("socket_address") if address is not None else None
    return place is not None and (place.is_settled("protocol") or place.has("network_namespace_filepath"))


@reads("envoy.config.listener.v3.ListenerFilter")
def _compile_listener_filter(reader: Reader, context: FactoryContext) -> Inspector | None:
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", context.registry.untyped("a filter", name))
        return None
    if not context.registry.has(config.type_name, LISTENER_FILTERS):
        reader.unsupported(
            "", context.registry.unknown("listener filter", config.type_name, LISTENER_FILTERS)
        )
        return None
    made: Inspector = context.registry.resolve(config.type_name)(config, context)
    disabled = reader.sub("filter_disabled")
    return made if disabled is None else Unless(compile_predicate(disabled), made)


@reads("envoy.config.listener.v3.FilterChain")
def _compile_match(reader: Reader) -> Criteria:
    match = reader.sub("filter_chain_match")
    return _compile_criteria(match) if match is not None else _MATCHES_ALL


@reads("envoy.config.listener.v3.FilterChainMatch")
def _compile_criteria(reader: Reader) -> Criteria:
    names = [str(name).lower() for name in reader.values("server_names")]
    for name in names:
        if "*" in name.removeprefix("*."):
            reader.fail("server_names", f'partial wildcards are not supported in server_names: "{name}"')
    return Criteria(
        destination_port=reader.wrapped("destination_port", 0),
        prefix_ranges=compile_networks(reader.each("prefix_ranges")),
        server_names=tuple(names),
        transport_protocol=reader.text("transport_protocol"),
        application_protocols=tuple(str(name) for name in reader.values("application_protocols")),
        direct_source_prefix_ranges=compile_networks(reader.each("direct_source_prefix_ranges")),
        source_type=reader.enum("source_type"),
        source_prefix_ranges=compile_networks(reader.each("source_prefix_ranges")),
        source_ports=tuple(int(port) for port in reader.values("source_ports")),
    )


@reads("envoy.config.listener.v3.FilterChain")
def _compile_chain(reader: Reader, context: FactoryContext) -> FilterChain | None:
    name = reader.text("name")
    metadata = compile_metadata(reader.sub("metadata"))
    filters = reader.each("filters")
    if not filters:
        for field in ("transport_socket", "transport_socket_connect_timeout"):
            reader.ignore(field, why="a chain without filters closes connections at once")
        return _with_metadata(FilterChain(name, NoFilters(), None, reader.message), metadata)
    tls = _compile_transport_socket(reader.sub("transport_socket"), context)
    handshake_s = reader.seconds("transport_socket_connect_timeout", 0.0) or 0.0
    if tls is None:
        reader.ignore("transport_socket_connect_timeout", why="plain text has no handshake to wait for")
    built = [_compile_filter(each, context) for each in filters]
    for at, (each, one) in enumerate(zip(filters, built, strict=True)):
        if one is not None:
            _check_place(each, isinstance(one, ReadFilterFactory), at == len(built) - 1, context)
    terminal: Any = built[-1]
    if terminal is None or isinstance(terminal, ReadFilterFactory):
        return None
    hcm: Any = getattr(terminal, "hcm", None)
    if tls is not None and hcm is not None:
        settings = hcm.codec_settings.copy()
        settings.refuse_https_targets = False
        hcm.codec_settings = settings
        scope = context.stats.scope("http").scope(hcm.stat_prefix)
        tls.cx_total = scope.counter("downstream_cx_ssl_total")
        tls.cx_active = scope.gauge("downstream_cx_ssl_active")
    chain = FilterChain(name, terminal, tls, reader.message)
    chain.handshake_s = handshake_s
    chain.before = tuple(one for one in built[:-1] if isinstance(one, ReadFilterFactory))
    return _with_metadata(chain, metadata)


def _with_metadata(chain: FilterChain, metadata: dict[str, Any]) -> FilterChain:
    """metadata: its own; its listener's joins later"""
    if metadata:
        chain.metadata = ({}, metadata)
    return chain


@reads("envoy.config.listener.v3.Filter")
def _check_place(reader: Reader, reads_on: bool, is_last: bool, context: FactoryContext) -> None:
    """reads_on: it is not terminal"""
    config = reader.any("typed_config")
    if reads_on != is_last or config is None:
        return
    kind, place = (
        ("non-terminal", "is the last filter") if is_last else ("terminal", "must be the last filter")
    )
    named = f"{reader.text('name')} of type {context.registry.name(config.type_name)}"
    reader.fail("", f"{kind} filter named {named} {place} in a network filter chain")


@reads("envoy.config.core.v3.TransportSocket")
def _compile_transport_socket(reader: Reader | None, context: FactoryContext) -> TlsSide | None:
    """None for plain text."""
    if reader is None:
        return None
    name = reader.text("name")
    config = reader.any("typed_config")
    if config is not None and config.type_name == RAW_BUFFER:
        return None
    if config is None or config.type_name != DOWNSTREAM_TLS:
        kind = config.type_name if config is not None else name
        message = f"transport socket {kind} is not supported; envoy.transport_sockets.tls and raw_buffer are"
        reader.unsupported("", message)
        return None
    made = context.registry.resolve(DOWNSTREAM_TLS)(config, context.scope, context, context.init)
    side: TlsSide | None = made.side
    return side


@reads("envoy.config.listener.v3.Filter")
def _compile_filter(reader: Reader, context: FactoryContext) -> NetworkFilter | ReadFilterFactory | None:
    name = reader.text("name")  # Envoy chooses by the type alone; the name is for people
    config = reader.any("typed_config")
    if config is None:
        if reader.which("config_type") is None:
            reader.fail("typed_config", context.registry.untyped("a filter", name))
        return None
    if not context.registry.has(config.type_name, NETWORK_FILTERS):
        reader.unsupported("", context.registry.unknown("network filter", config.type_name, NETWORK_FILTERS))
        return None
    built: NetworkFilter | ReadFilterFactory = context.registry.resolve(config.type_name)(config, context)
    return built
