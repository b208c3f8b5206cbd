"""envoy.filters.http.compressor beside the real Envoy: heads, bodies once decompressed, what the upstream gets, counters."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.parity.compressor_cases import CASES, CHAINS, OVERRIDDEN, TEXT, Case, answer
from tests.support.client import Client
from tests.support.config import TYPES, Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.upstream import Upstream

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

ROUTER = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
#: which differ from run to run
UNSTABLE = {"date", "x-envoy-upstream-service-time", "x-request-id"}
#: what only the bytes of a library decide: Envoy links zlib-ng's and others of other versions
OF_LIBRARIES = "total_compressed_bytes"


def decompressed(encoding: str | None, body: bytes) -> bytes:
    """Raises when it is not whole. A body that the upstream only says is encoded stays as it is."""
    if TEXT.startswith(body[: len(TEXT)]):
        return body
    if encoding == "gzip":
        reader = zlib.decompressobj(31)
        found = reader.decompress(body)
        assert reader.eof and not reader.unused_data
        return found
    if encoding == "br":
        brotli = pytest.importorskip("brotli")
        return bytes(brotli.decompress(body))
    if encoding == "zstd":
        zstd = pytest.importorskip("backports.zstd")
        return bytes(zstd.decompress(body))
    return body


def config(admin: int, ports: dict[str, int], upstream: int) -> Config:
    listeners = []
    for name, filters in CHAINS.items():
        routes = []
        for path, given in OVERRIDDEN.items():
            names = [each["name"] for each in filters]
            routes.append(
                {**route_to("up", prefix=path), "typed_per_filter_config": dict.fromkeys(names, given)}
            )
        host = virtual_host([*routes, route_to("up")])
        hcm = {"http_filters": [*filters, ROUTER], "http_protocol_options": {"enable_trailers": True}}
        listeners.append(http_listener(ports[name], [host], hcm=hcm, stat_prefix=name))
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        }
    }
    up = cluster("up", upstream, typed_extension_protocol_options=options)
    return bootstrap(admin, listeners, [up])


def fields(message: Any) -> list[tuple[str, str]]:
    return sorted((n.lower(), v) for n, v in message.headers if n.lower() not in UNSTABLE)


def ask(case: Case, port: int, upstream: Upstream) -> dict[str, Any]:
    upstream.reset()
    with Client(port) as client:
        got = client.send(case.wire).read(case.method == "HEAD")
    (sent,) = upstream.wait_for(1)
    return {
        "status": got.status,
        "head": fields(got),
        "body": decompressed(got.one("content-encoding"), got.body),
        "trailers": getattr(got, "trailers", None),
        "upstream": [pair for pair in fields(sent) if pair[0] != "x-told"],
        "upstream body": decompressed(sent.one("content-encoding"), sent.body),
    }


def seen_through(kind: type[ProxyProcess], folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    folder.mkdir()
    ports = {name: free_port() for name in CHAINS}
    upstream = Upstream(answer)
    try:
        with kind(config(free_port(), ports, upstream.port), folder=folder) as proxy:
            seen = [ask(case, ports[case.chain], upstream) for case in CASES]
            _, text = proxy.admin("/stats?filter=compressor")
    finally:
        upstream.close()
    stats = dict(line.split(": ", 1) for line in text.splitlines())
    return seen, {name: value for name, value in stats.items() if not name.endswith(OF_LIBRARIES)}


def test_compressor(tmp_path: Path) -> None:
    envoy, envoy_stats = seen_through(Envoy, tmp_path / "envoy")
    ours, our_stats = seen_through(Outrider, tmp_path / "ours")
    wrong = [
        f"{case}\n  {key}: envoy {theirs[key]!r}\n  {' ' * len(key)}   ours {mine[key]!r}"
        for case, theirs, mine in zip(CASES, envoy, ours, strict=True)
        for key in theirs
        if theirs[key] != mine[key]
    ]
    assert not wrong, "\n".join(wrong)
    encodings = {value for seen in envoy for name, value in seen["head"] if name == "content-encoding"}
    assert {"gzip", "br", "zstd"} <= encodings
    assert our_stats == envoy_stats
