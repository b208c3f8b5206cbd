from __future__ import annotations

from types import SimpleNamespace

import pytest

from proxy.base.stream_info import StreamInfo
from proxy.formatter import compile_format


def shown(text: str, stream: StreamInfo) -> str:
    return compile_format(text).format(stream)


def test_dynamic_metadata(stream: StreamInfo) -> None:
    text = "%DYNAMIC_METADATA(ns:s)%|%DYNAMIC_METADATA(ns:d)%|%DYNAMIC_METADATA(ns:d:k)%|%DYNAMIC_METADATA(ns:no:k)%|%DYNAMIC_METADATA(no)%"
    assert shown(text, stream) == "-|-|-|-|-"
    stream.metadata = {"ns": {"s": "text", "d": {"k": 3.0}}}
    assert shown(text, stream) == 'text|{"k":3}|3|-|-'


def test_of_hosts_clusters_and_routes(stream: StreamInfo) -> None:
    stream.upstream_host.cluster = SimpleNamespace(metadata={"c": {"k": True}})
    stream.route = SimpleNamespace(metadata={"r": {"k": "v"}})
    text = "%UPSTREAM_METADATA(a:b)% %CLUSTER_METADATA(c:k)% %METADATA(ROUTE:r:k)% %METADATA(VIRTUAL_HOST:x)% %METADATA(ROUTE:r:k):0%"
    assert shown(text, stream) == "v true v - "
    stream.virtual_host = SimpleNamespace(metadata={"x": {"b": 1.0, "a": 2.0}})
    assert shown("%METADATA(VIRTUAL_HOST:x)%", stream) == '{"a":2,"b":1}'


def test_of_listeners_and_filter_chains(stream: StreamInfo) -> None:
    text = "%METADATA(LISTENER:a:b)% %METADATA(LISTENER_FILTER_CHAIN:a:b)%"
    assert shown(text, stream) == "- -"
    stream.info.configured_metadata = ({"a": {"b": "one"}}, {"a": {"b": "other"}})
    assert shown(text, stream) == "one other"


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"METADATA\(FILTER_CHAIN:...\) is not supported"):
        compile_format("%METADATA(FILTER_CHAIN:a)%")
