"""The compressor filter in memory: parts leave as they come, trailers follow the end, fast lanes stay, refusals.

What it decides is compared with Envoy in tests/parity/test_compressor.py.
"""

from __future__ import annotations

import zlib
from importlib import import_module
from typing import Any

import pytest

from proxy.base.errors import ConfigRefused
from proxy.ext.filters.http.compressor.choice import choose, read_accepted
from tests.support.config import TYPES, Config
from tests.support.transcript import Transcript, route

V3 = f"{TYPES}.filters.http.compressor.v3"
ROUTER = {"name": "router", "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"}}
GZIP = {"name": "g", "typed_config": {"@type": f"{TYPES}.compression.gzip.compressor.v3.Gzip"}}
ACCEPT = b"GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n"
UP_TRAILERS = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPES}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        }
    }
}
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"


def talk(**fields: Any) -> Transcript:
    typed: Config = {"@type": f"{V3}.Compressor", "compressor_library": GZIP, **fields}
    hcm = {
        "http_filters": [{"name": "compressor", "typed_config": typed}, ROUTER],
        "http_protocol_options": {"enable_trailers": True},
    }
    return Transcript(hcm=hcm, a=UP_TRAILERS)


def test_parts_leave_as_they_come() -> None:
    t = talk()
    t.client.sends(ACCEPT)
    t.upstream().sends(HEAD)
    for part in (b"first, ", b"second"):
        t.upstream().sends(b"%x\r\n%b\r\n" % (len(part), part))
        _, _, body = t.client.got.partition(b"\r\n\r\n")
        reader = zlib.decompressobj(31)
        chunks, rest = b"", body
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            chunks, rest = chunks + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        assert reader.decompress(chunks).endswith(part)
    t.upstream().sends(b"0\r\n\r\n")
    assert zlib.decompress(t.client_saw.body, 31) == b"first, second"


def test_trailers_follow_the_end_of_the_body() -> None:
    t = talk()
    t.client.sends(ACCEPT)
    t.upstream().sends(HEAD + b"3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n")
    assert zlib.decompress(t.client_saw.body, 31) == b"abc"
    assert t.client_saw.trailers == [("x-end", "1")]


def test_request_bodies_with_trailers() -> None:
    t = talk(request_direction_config={})
    t.client.sends(
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n"
    )
    request = t.upstream().request
    assert request.one("content-encoding") == "gzip"
    assert zlib.decompress(request.body, 31) == b"abc"
    assert request.trailers == [("x-end", "1")]
    t.upstream().replies()
    assert t.stats["http.front.compressor.g.gzip.request.total_uncompressed_bytes"] == 3


def test_without_request_bodies_their_fast_lane_stays() -> None:
    assert talk().hcm.chain.terminal_data is not None
    assert talk(request_direction_config={}).hcm.chain.terminal_data is None


def test_a_switch_in_the_runtime() -> None:
    flag = {"default_value": True, "runtime_key": "squeeze"}
    t = talk(response_direction_config={"common_config": {"enabled": flag}})
    for value, encoding in (("true", "gzip"), ("false", None)):
        t.overrides(squeeze=value)
        t.client.sends(ACCEPT)
        t.upstream().replies(200, b"a" * 100, [("content-type", "text/plain")])
        assert t.client_saw.one("content-encoding") == encoding


def test_a_reply_of_our_own_is_one_more_response() -> None:
    t = talk()
    t.client.sends(b"GET / HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n")
    t.upstream().resets()
    assert t.client_saw.status == 503
    assert t.client_saw.one("content-encoding") == "gzip"
    assert zlib.decompress(t.client_saw.body, 31).startswith(b"upstream connect error")


def test_a_route_s_library_compresses_also_where_the_status_is_told() -> None:
    brotli = {"name": "b", "typed_config": {"@type": f"{TYPES}.compression.brotli.compressor.v3.Brotli"}}
    override = {"@type": f"{V3}.CompressorPerRoute", "overrides": {"compressor_library": brotli}}
    typed = {
        "@type": f"{V3}.Compressor",
        "compressor_library": GZIP,
        "response_direction_config": {"status_header_enabled": True},
    }
    t = Transcript(
        {**route(), "typed_per_filter_config": {"compressor": override}},
        hcm={"http_filters": [{"name": "compressor", "typed_config": typed}, ROUTER]},
    )
    t.client.sends(ACCEPT.replace(b"gzip", b"br"))
    t.upstream().replies(200, b"a" * 100, [("content-type", "text/plain")])
    assert t.client_saw.one("content-encoding") == "br"
    assert import_module("brotli").decompress(t.client_saw.body) == b"a" * 100
    assert t.client_saw.one("x-envoy-compression-status") == "br;Compressed;OriginalLength=100"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"compressor_library": {"name": "x"}}, "typed_config: is missing"),
        (
            {"compressor_library": {"name": "x", "typed_config": ROUTER["typed_config"]}},
            "is not a compressor library",
        ),
        (
            {
                "compressor_library": {
                    "name": "x",
                    "typed_config": {"@type": f"{TYPES}.compression.qatzip.compressor.v3alpha.Qatzip"},
                }
            },
            "not supported",
        ),
    ],
)
def test_refused(fields: Config, said: str) -> None:
    with pytest.raises(ConfigRefused, match=said):
        talk(**fields)


def test_choosing() -> None:
    offers = [(b"br", False), (b"gzip", True), (b"gzip", False)]
    assert choose(b"gzip;q=0.5, br;q=0.4", offers).encoding == b"gzip"
    assert choose(b"br, gzip", offers).encoding == b"gzip"  # choose_first
    assert choose(b"*", offers).encoding == b"br"
    assert choose(b"br;q=0, *", offers).encoding == b"gzip"
    assert choose(b"", offers).encoding == b"identity"
    assert choose(b"gzip", []).encoding == b"identity"
    assert read_accepted(b"a;q=1_0, b;q=x,,c;q=.5") == [(b"c", 0.5)]
