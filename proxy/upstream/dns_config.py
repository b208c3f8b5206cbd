"""How a cluster finds its names' addresses: the dns_* fields of a Cluster, envoy.cluster.dns, and DNS resolvers."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from proxy.api.reader import reads
from proxy.upstream.dns import SYSTEM_RESOLVER, DnsSettings, ResolverOptions
from proxy.upstream.host import format_address

if TYPE_CHECKING:
    from proxy.api.reader import Reader

CLUSTER: Final = "envoy.config.cluster.v3.Cluster"
DNS_CLUSTER: Final = "envoy.extensions.clusters.dns.v3.DnsCluster"
_CARES: Final = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
_GETADDRINFO: Final = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
_DNS_PORT: Final = 53
_OLDER: Final = "a newer field that says how names are looked up is set"


@reads(CLUSTER)
def compile_dns_settings(cluster: Reader, default: ResolverOptions, *, logical: bool) -> DnsSettings:
    """The dns_* fields of a STRICT_DNS or LOGICAL_DNS cluster. default: the resolver of the bootstrap."""
    settings = _compile_schedule(cluster)
    return settings._replace(
        wait_for_first_answer=cluster.wrapped("wait_for_warm_on_init", True),
        logical=logical,
        resolver=_compile_cluster_resolver(cluster, default),
    )


@reads(DNS_CLUSTER)
def compile_dns_cluster(reader: Reader, cluster: Reader, default: ResolverOptions) -> DnsSettings:
    """envoy.cluster.dns: what it says goes before the cluster's own dns_* fields, which are not used, as in Envoy."""
    _ignore_cluster_fields(cluster)
    resolver = _compile_cluster_resolver(cluster, default)
    typed = reader.sub("typed_dns_resolver_config")
    return _compile_schedule(reader)._replace(
        min_ttl_s=reader.seconds("dns_min_refresh_rate", 0.0) or 0.0,
        wait_for_first_answer=_waits_for_warm(cluster),
        logical=reader.flag("all_addresses_in_single_endpoint"),
        resolver=compile_resolver(typed, resolver),
    )


@reads(CLUSTER)
def compile_default_dns_cluster(cluster: Reader, default: ResolverOptions) -> DnsSettings:
    """envoy.cluster.dns without a configuration: STRICT_DNS with every default, as in Envoy."""
    _ignore_cluster_fields(cluster)
    resolver = _compile_cluster_resolver(cluster, default)
    return DnsSettings(wait_for_first_answer=_waits_for_warm(cluster), resolver=resolver)


@reads(CLUSTER)
def ignore_dns_settings(cluster: Reader) -> None:
    """A STATIC cluster resolves no names; Envoy does not use these either."""
    cluster.ignore(
        "dns_refresh_rate",
        "dns_failure_refresh_rate",
        "dns_lookup_family",
        "respect_dns_ttl",
        "dns_jitter",
        "dns_resolvers",
        "dns_resolution_config",
        "typed_dns_resolver_config",
        "use_tcp_for_dns_lookups",
        "wait_for_warm_on_init",
        why="a STATIC cluster resolves no names",
    )


@reads(CLUSTER)
def _ignore_cluster_fields(cluster: Reader) -> None:
    for field in (
        "dns_refresh_rate",
        "dns_failure_refresh_rate",
        "dns_lookup_family",
        "respect_dns_ttl",
        "dns_jitter",
    ):
        cluster.ignore(field, why="cluster_type envoy.cluster.dns has fields of its own for it")


@reads(CLUSTER)
def _waits_for_warm(cluster: Reader) -> bool:
    wait: bool = cluster.wrapped("wait_for_warm_on_init", True)
    return wait


@reads(CLUSTER, DNS_CLUSTER)
def _compile_schedule(reader: Reader) -> DnsSettings:
    base_s, max_s = _compile_failure_refresh(reader.sub("dns_failure_refresh_rate"))
    family = reader.enum("dns_lookup_family")
    return DnsSettings(
        refresh_s=reader.seconds("dns_refresh_rate", 5.0) or 5.0,
        family="AUTO" if family == "UNSPECIFIED" else family,
        respect_ttl=reader.flag("respect_dns_ttl"),
        jitter_s=reader.seconds("dns_jitter", 0.0) or 0.0,
        failure_base_s=base_s,
        failure_max_s=max_s,
    )


@reads("envoy.config.cluster.v3.Cluster.RefreshRate", f"{DNS_CLUSTER}.RefreshRate")
def _compile_failure_refresh(reader: Reader | None) -> tuple[float | None, float]:
    if reader is None:
        return None, 0.0
    base_s = reader.seconds("base_interval", 0.0) or 0.0
    max_s = reader.seconds("max_interval", base_s * 10) or 0.0
    if max_s < base_s:
        reader.fail("max_interval", "must not be below base_interval")
    return base_s, max_s


@reads(CLUSTER)
def _compile_cluster_resolver(cluster: Reader, default: ResolverOptions) -> ResolverOptions:
    """typed_dns_resolver_config, or the older dns_resolution_config, or the oldest two fields; in this order."""
    typed = cluster.sub("typed_dns_resolver_config")
    if typed is not None:
        cluster.ignore("dns_resolution_config", "dns_resolvers", "use_tcp_for_dns_lookups", why=_OLDER)
        return compile_resolver(typed, default)
    older = cluster.sub("dns_resolution_config")
    if older is not None:
        cluster.ignore("dns_resolvers", "use_tcp_for_dns_lookups", why=_OLDER)
        return _compile_resolution(older)
    servers = _compile_servers(cluster.each("dns_resolvers"))
    tcp = cluster.flag("use_tcp_for_dns_lookups")
    return ResolverOptions(servers, tcp) if servers or tcp else default


@reads("envoy.config.bootstrap.v3.Bootstrap")
def compile_bootstrap_resolver(bootstrap: Reader) -> ResolverOptions:
    """How clusters look names up that say nothing of it."""
    typed = bootstrap.sub("typed_dns_resolver_config")
    if typed is not None:
        bootstrap.ignore("dns_resolution_config", "use_tcp_for_dns_lookups", why=_OLDER)
        return compile_resolver(typed)
    older = bootstrap.sub("dns_resolution_config")
    if older is not None:
        bootstrap.ignore("use_tcp_for_dns_lookups", why=_OLDER)
        return _compile_resolution(older)
    return ResolverOptions(tcp=True) if bootstrap.flag("use_tcp_for_dns_lookups") else SYSTEM_RESOLVER


@reads("envoy.config.core.v3.DnsResolutionConfig")
def _compile_resolution(reader: Reader) -> ResolverOptions:
    tcp, search = _compile_flags(reader.sub("dns_resolver_options"))
    return ResolverOptions(_compile_servers(reader.each("resolvers")), tcp, search)


@reads("envoy.config.core.v3.TypedExtensionConfig")
def compile_resolver(reader: Reader | None, default: ResolverOptions = SYSTEM_RESOLVER) -> ResolverOptions:
    """typed_dns_resolver_config of a cluster or of the bootstrap: c-ares, which is what we use anyway."""
    if reader is None:
        return default
    reader.text("name")
    config = reader.any("typed_config")
    if config is None:
        return default
    if config.type_name == _CARES:
        return _compile_cares(config)
    if config.type_name == _GETADDRINFO:
        config.warn("", "names are looked up by c-ares: hosts file and name servers, but no other NSS module")
        config.ignore("num_retries", "num_resolver_threads", why="c-ares has no threads to try again in")
        return SYSTEM_RESOLVER
    message = f"DNS resolver {config.type_name} is not supported; envoy.network.dns_resolver.cares is"
    reader.unsupported("", message)
    return default


@reads(_CARES)
def _compile_cares(config: Reader) -> ResolverOptions:
    config.unsupported(
        "use_resolvers_as_fallback", "is not supported: the resolvers are asked always, or none"
    )
    config.unsupported("filter_unroutable_families", "is not supported; dns_lookup_family is")
    config.unsupported("edns0_max_payload_size", "is not supported: c-ares' own size is used")
    config.ignore(
        "udp_max_queries",
        "max_udp_channel_duration",
        "reinit_channel_on_timeout",
        why="sockets to name servers are not kept from one refresh to the next",
    )
    config.ignore("qcache_max_ttl", why="answers are not kept: each refresh asks the name server")
    tcp, search = _compile_flags(config.sub("dns_resolver_options"))
    return ResolverOptions(
        _compile_servers(config.each("resolvers")),
        tcp,
        search,
        config.wrapped("query_timeout_seconds", None),
        config.wrapped("query_tries", None),
        config.flag("rotate_nameservers"),
    )


@reads("envoy.config.core.v3.DnsResolverOptions")
def _compile_flags(reader: Reader | None) -> tuple[bool, bool]:
    """Whether to ask over TCP, whether to try the search domains."""
    if reader is None:
        return False, True
    return reader.flag("use_tcp_for_dns_lookups"), not reader.flag("no_default_search_domain")


def _compile_servers(addresses: list[Reader]) -> tuple[str, ...]:
    """Addresses of name servers as "ip:port"."""
    return tuple(server for server in map(_compile_server, addresses) if server)


@reads("envoy.config.core.v3.Address")
def _compile_server(reader: Reader) -> str:
    place = reader.sub("socket_address")
    if place is None:
        reader.fail("", "a name server has a socket_address")
        return ""
    place.enum("protocol")  # a name server answers both; use_tcp_for_dns_lookups decides
    ip, port = place.text("address"), place.number("port_value") or _DNS_PORT
    try:
        return format_address(str(ip_address(ip)), port)
    except ValueError:
        place.fail("address", f'"{ip}" is not an IP address; name servers need one')
        return ""
