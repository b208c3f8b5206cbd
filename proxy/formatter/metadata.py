"""Operators that read metadata: DYNAMIC_METADATA, CLUSTER_METADATA, UPSTREAM_METADATA, METADATA(kind:...)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from proxy.base.stream_info import StreamInfo
from proxy.formatter.slot import DYNAMIC, FormatContext, Make, Slot
from proxy.formatter.syntax import Command

Holder = Callable[[StreamInfo], Any]


def _dynamic(stream: StreamInfo) -> Any:
    return stream.metadata


def _upstream_host(stream: StreamInfo) -> Any:
    return getattr(stream.upstream_host, "metadata", None)


def _cluster(stream: StreamInfo) -> Any:
    # http.stream has the cluster as soon as it is chosen, before a host is; this room knows the record only
    cluster = getattr(stream, "cluster", None) or getattr(stream.upstream_host, "cluster", None)
    return getattr(cluster, "metadata", None)


def _route(stream: StreamInfo) -> Any:
    return getattr(stream.route, "metadata", None)


def _virtual_host(stream: StreamInfo) -> Any:
    return getattr(stream.virtual_host, "metadata", None)


def _listener(stream: StreamInfo) -> Any:
    found = stream.info.configured_metadata
    return None if found is None else found[0]


def _filter_chain(stream: StreamInfo) -> Any:
    found = stream.info.configured_metadata
    return None if found is None else found[1]


#: whose metadata: by the word that says so
HOLDERS: Final[dict[str, Holder]] = {
    "DYNAMIC": _dynamic,
    "CLUSTER": _cluster,
    "ROUTE": _route,
    "UPSTREAM_HOST": _upstream_host,
    "VIRTUAL_HOST": _virtual_host,
    "LISTENER": _listener,
    "LISTENER_FILTER_CHAIN": _filter_chain,
}


def _slot(holder: Holder, path: list[str], max_length: int | None, absent: Any) -> Slot:
    def get(stream: StreamInfo) -> Any:
        value = holder(stream)
        for key in path:
            if not isinstance(value, dict) or key not in value:
                return absent
            value = value[key]
        if value is None:
            return absent
        return value[:max_length] if isinstance(value, str) else value

    return Slot(DYNAMIC, get)


def metadata_of(kind: str) -> Make:
    """``<KIND>_METADATA(namespace:key:key...)``."""
    holder = HOLDERS[kind]

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        return _slot(holder, command.argument.split(":"), command.max_length, absent)

    return make


def metadata_operator(command: Command, context: FormatContext, absent: Any) -> Slot:
    """METADATA(kind:namespace:key...)"""
    kind, _, path = command.argument.partition(":")
    if kind not in HOLDERS:
        raise ValueError(f"METADATA({kind}:...) is not supported: only {', '.join(sorted(HOLDERS))}")
    return _slot(HOLDERS[kind], path.split(":"), command.max_length, absent)
