"""What is asked of envoy.filters.http.compressor: chains of filters, and requests with what the upstream replies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.client import request
from tests.support.config import TYPES, Config
from tests.support.messages import Headers
from tests.support.upstream import Request, Steps, chunked, reply

KIND = f"{TYPES}.filters.http.compressor.v3"
LIBRARIES = {
    "gzip": f"{TYPES}.compression.gzip.compressor.v3.Gzip",
    "brotli": f"{TYPES}.compression.brotli.compressor.v3.Brotli",
    "zstd": f"{TYPES}.compression.zstd.compressor.v3.Zstd",
}
TEXT = b"the quick brown fox jumps over the lazy dog. " * 40


def library(kind: str, **settings: Any) -> Config:
    return {"name": f"my_{kind}", "typed_config": {"@type": LIBRARIES[kind], **settings}}


def compressor(kind: str, name: str = "", **fields: Any) -> Config:
    typed = {"@type": f"{KIND}.Compressor", "compressor_library": library(kind), **fields}
    return {"name": name or kind, "typed_config": typed}


def response(common: Config | None = None, **fields: Any) -> Config:
    """response_direction_config."""
    return {"response_direction_config": {**({"common_config": common} if common else {}), **fields}}


def per_route(**fields: Any) -> Config:
    return {"@type": f"{KIND}.CompressorPerRoute", **fields}


TYPES_TRIED = (
    "application/ecmascript",
    "application/x-json",
    "text/js",
    "text/jscript",
    "text/x-js",
    "text/x-javascript",
    "text/x-json",
    "application/js",
    "text/json",
    "application/wasm",
    "text/markdown",
    "text/csv",
    "application/ld+json",
    "image/svg",
    "application/atom+xml",
    "font/ttf",
)
REQUESTS = {"request_direction_config": {"common_config": {"min_content_length": 100}}}
RUNTIME_OFF = {"enabled": {"default_value": False, "runtime_key": "off.key"}}

#: by name, the filters before the router
CHAINS: dict[str, list[Config]] = {
    "plain": [compressor("gzip")],
    "legacy": [
        compressor(
            "gzip",
            content_length=50,
            content_type=["text/plain", "Application/X"],
            disable_on_etag_header=True,
            remove_accept_encoding_header=True,
            runtime_enabled={"default_value": True, "runtime_key": "legacy.key"},
        )
    ],
    "response": [
        compressor("gzip", **response({"min_content_length": 0}, remove_accept_encoding_header=True))
    ],
    "three": [compressor(kind, **response()) for kind in ("brotli", "zstd", "gzip")],
    "first": [
        compressor("gzip", **response()),
        compressor("brotli", choose_first=True, **response()),
        compressor("zstd", **response()),
    ],
    "types": [
        compressor("gzip", **response({"content_type": ["text/html"]})),
        compressor("brotli", **response({"content_type_matcher": [{"prefix": "application/"}]})),
    ],
    "both_types": [
        compressor(
            "gzip",
            **response({"content_type": ["text/html"], "content_type_matcher": [{"suffix": "+json"}]}),
        )
    ],
    "etag_off": [compressor("gzip", **response(disable_on_etag_header=True))],
    "etag_weak": [compressor("gzip", **response(disable_on_etag_header=True, weaken_etag_on_compress=True))],
    "codes": [compressor("gzip", **response(uncompressible_response_codes=[206, 404]))],
    "status": [
        compressor(
            "gzip",
            **response(
                {"content_type": ["text/plain"]},
                status_header_enabled=True,
                disable_on_etag_header=True,
                uncompressible_response_codes=[404],
            ),
        ),
        compressor("brotli", **response(status_header_enabled=True)),
    ],
    "off": [compressor("gzip", **response(RUNTIME_OFF, remove_accept_encoding_header=True))],
    "requests": [compressor("gzip", **REQUESTS, **response(RUNTIME_OFF))],
    "requests_br": [compressor("brotli", request_direction_config={})],
    "only_zstd": [compressor("zstd")],
    "twice": [
        compressor("gzip", "small", **response({"min_content_length": 30})),
        compressor("gzip", "large", **response({"min_content_length": 1000})),
    ],
    "settings": [
        compressor(
            "gzip",
            compressor_library=library(
                "gzip",
                memory_level=9,
                compression_level="COMPRESSION_LEVEL_9",
                compression_strategy="FILTERED",
                window_bits=15,
                chunk_size=8192,
            ),
        ),
        compressor(
            "brotli",
            compressor_library=library(
                "brotli", quality=5, encoder_mode="TEXT", window_bits=20, input_block_bits=20
            ),
        ),
        compressor(
            "zstd",
            compressor_library=library("zstd", compression_level=6, enable_checksum=True, strategy="GREEDY"),
        ),
    ],
}
OVERRIDDEN = {
    "/disabled": per_route(disabled=True),
    "/enabled": per_route(overrides={"response_direction_config": {}}),
    "/keep": per_route(overrides={"response_direction_config": {"remove_accept_encoding_header": False}}),
    "/strip": per_route(overrides={"response_direction_config": {"remove_accept_encoding_header": True}}),
    "/zstd": per_route(overrides={"compressor_library": library("zstd")}),
    "/left": per_route(overrides={}),
}


@dataclass(slots=True, frozen=True)
class Case:
    """chain: which of the listeners; accept: accept-encoding, None for none; replied: the upstream's header fields."""

    chain: str
    accept: str | None
    replied: Headers = ()  # type: ignore[assignment]
    path: str = "/"
    method: str = "GET"
    status: int = 200
    body: bytes = TEXT
    chunks: int = 0
    trailers: bool = False
    sent: bytes = b""
    fields: Headers = field(default_factory=list)

    @property
    def wire(self) -> bytes:
        told = {
            "status": self.status,
            "fields": [list(pair) for pair in self.replied],
            "length": len(self.body),
            "chunks": self.chunks,
            "trailers": self.trailers,
        }
        fields = [("x-told", json.dumps(told)), *self.fields]
        if self.accept is not None:
            fields.append(("accept-encoding", self.accept))
        return request(self.method, self.path, fields, self.sent)


def answer(got: Request) -> Steps:
    """The upstream: does as the request says."""
    told = json.loads(got.one("x-told") or "{}")
    fields = [(name, value) for name, value in told["fields"]]
    body = (TEXT * 40)[: told["length"]]
    if got.method == "HEAD":
        head = reply(told["status"], body, fields).data  # type: ignore[union-attr]
        return [type(reply())(head.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")]
    if told["chunks"]:
        size = len(body) // told["chunks"]
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        return [chunked(parts, fields, [("x-end", "1")] if told["trailers"] else None)]
    return [reply(told["status"], body, fields)]


PLAIN = [("content-type", "text/plain; charset=utf-8")]
HTML = [("content-type", "text/html")]
JSON = [("content-type", "application/problem+json")]


def accepts(chain: str, *values: str | None, **more: Any) -> list[Case]:
    return [Case(chain, value, PLAIN, **more) for value in values]


def with_fields(
    chain: str, *pairs: Sequence[tuple[str, str]], accept: str = "gzip", **more: Any
) -> list[Case]:
    return [Case(chain, accept, [*given], **more) for given in pairs]


CASES: list[Case] = [
    # negotiation
    *accepts(
        "plain", None, "", "gzip", "GZIP", "deflate", "identity", "*", "gzip;q=0", "gzip;q=0,*", "*;q=0,gzip"
    ),
    *accepts(
        "plain",
        "gzip;q=x",
        "gzip;q=",
        "gzip;Q=0.5",
        "gzip; q = 0.5",
        "gzip;x=1",
        "deflate,,gzip",
        "identity;q=0",
    ),
    *accepts(
        "plain", "gzip;q=0.5,identity", "identity;q=0.5,gzip", "gzip,identity", "identity,gzip", "*,identity"
    ),
    *accepts("plain", "*;q=0.5,*;q=0.5", "gzip;q=-1", "br", "gzip;q=1e-3", "gzip;q=nan", "gzip;q=1_0"),
    *accepts("three", "gzip", "br", "zstd", "*", "gzip,br,zstd", "zstd,br", "br;q=0.1,zstd;q=0.5,gzip;q=0.2"),
    *accepts("three", "identity,br", "br,identity", "*;q=0.5,br;q=0", "br;q=0,*", "deflate", "*,identity"),
    *accepts(
        "first",
        "gzip,br,zstd",
        "br,gzip",
        "gzip,zstd",
        "gzip;q=1,br;q=0.9",
        "*",
        "identity,br",
        "br,identity",
    ),
    # lengths
    *[Case("plain", "gzip", PLAIN, body=TEXT[:size]) for size in (0, 1, 29, 30, 31)],
    *[Case("legacy", "gzip", PLAIN, body=TEXT[:size]) for size in (49, 50)],
    *[Case("response", "gzip", PLAIN, body=TEXT[:size]) for size in (29, 30)],
    *[Case("twice", "gzip", PLAIN, body=TEXT[:size]) for size in (29, 999, 1000)],
    Case("plain", "gzip", PLAIN, chunks=1, body=TEXT[:10]),
    Case("plain", "gzip", PLAIN, chunks=4),
    Case("three", "br", PLAIN, chunks=4, trailers=True),
    Case("three", "zstd", PLAIN, chunks=4, trailers=True),
    Case("three", "gzip", PLAIN, chunks=4, trailers=True),
    Case("plain", "gzip", PLAIN, body=TEXT * 40),
    Case("plain", "gzip", PLAIN, method="HEAD"),
    Case("plain", None, PLAIN, method="HEAD"),
    Case("plain", "gzip", PLAIN, status=204),
    Case("plain", "gzip", PLAIN, status=304),
    # content types
    *with_fields("plain", [], HTML, JSON, [("content-type", "TEXT/Plain")], [("content-type", "image/png")]),
    *with_fields(
        "plain",
        [("content-type", "")],
        [("content-type", " text/css ;a")],
        [("content-type", "application/json")],
    ),
    *with_fields("plain", [("content-type", "application/javascript")], [("content-type", "image/svg+xml")]),
    *with_fields(
        "plain", [("content-type", "application/grpc")], [("content-type", "application/xhtml+xml")]
    ),
    *with_fields("plain", [("content-type", "text/xml")], [("content-type", "application/xml")]),
    *with_fields(
        "plain", [("content-type", "application/x-javascript")], [("content-type", "text/javascript")]
    ),
    *with_fields("plain", [("content-type", "application/vnd.a")], [("content-type", "text/ecmascript")]),
    *with_fields("plain", *[[("content-type", kind)] for kind in TYPES_TRIED]),
    *accepts("only_zstd", "*,identity", "*;q=0.5,*;q=0.5", "identity,*", "zstd,*"),
    *with_fields("legacy", HTML, [("content-type", "application/x")]),
    *with_fields("types", HTML, PLAIN, JSON, [], accept="gzip,br"),
    *with_fields("types", HTML, JSON, accept="*"),
    *with_fields("both_types", HTML, PLAIN, JSON, []),
    # headers of the response
    *[
        Case("plain", accept, [*PLAIN, pair])
        for accept in ("gzip", "br")
        for pair in [
            ("cache-control", "max-age=1, No-Transform"),
            ("cache-control", "private"),
            ("content-encoding", "br"),
            ("content-encoding", ""),
            ("vary", "Accept-Encoding"),
            ("vary", "cookie, accept-encoding"),
            ("vary", "cookie"),
            ("vary", "*"),
            ("vary", ""),
        ]
    ],
    Case("plain", "gzip", [*PLAIN, ("vary", "cookie"), ("vary", "accept-encoding")]),
    Case("plain", "gzip", [*PLAIN, ("cache-control", "a"), ("cache-control", "no-transform")]),
    *[
        Case(chain, "gzip", [*PLAIN, ("etag", etag)])
        for chain in ("plain", "etag_off", "etag_weak", "legacy")
        for etag in ('"abc"', 'W/"abc"', 'w/"abc"', "ab", "a", '""', "")
    ],
    Case("etag_weak", "br", [*PLAIN, ("etag", '"abc"')]),
    # codes
    *[
        Case(chain, "gzip", PLAIN, status=status)
        for chain in ("plain", "codes")
        for status in (206, 404, 500)
    ],
    # the header that tells why
    *with_fields(
        "status",
        PLAIN,
        HTML,
        [],
        [*PLAIN, ("etag", '"abc"')],
        [("content-type", "image/png")],
        accept="gzip,br",
    ),
    *with_fields("status", PLAIN, HTML, accept="br"),
    *with_fields("status", PLAIN, accept="deflate"),
    *with_fields("status", PLAIN, [*HTML, ("etag", '"a"')], accept="gzip", body=TEXT[:10]),
    *with_fields("status", [*PLAIN, ("etag", '"a"')], accept="gzip", status=404),
    *with_fields("status", [*HTML], accept="gzip", status=404, body=TEXT[:10]),
    *with_fields("status", [*PLAIN], [*PLAIN, ("content-encoding", "br")], accept="gzip", status=206),
    *with_fields("status", [*PLAIN, ("x-envoy-compression-status", "upstream")], accept="gzip"),
    *with_fields("status", PLAIN, accept="gzip", chunks=2),
    *accepts("status", None),
    *with_fields("status", [*HTML, ("etag", '"a"')], HTML, accept="gzip", status=404),
    *with_fields("status", HTML, PLAIN, [("content-type", "image/png")], accept="gzip", status=204),
    *with_fields("status", PLAIN, [("content-type", "image/png")], accept="gzip", method="HEAD"),
    *with_fields("status", [("content-type", "image/png")], accept="deflate"),
    *with_fields("status", [("content-type", "image/png"), ("cache-control", "no-transform")], accept="gzip"),
    *with_fields(
        "status", [("content-type", "image/png"), ("content-encoding", "x")], accept="gzip", status=404
    ),
    *with_fields("status", [*PLAIN, ("content-encoding", "x"), ("etag", "x")], accept="gzip", status=404),
    Case("status", None, [("content-type", "image/png")]),
    *[Case("status", "gzip,zstd", PLAIN, path=path) for path in OVERRIDDEN],
    *with_fields("status", PLAIN, accept="gzip", method="HEAD", body=TEXT[:10]),
    *[Case("plain", accept, PLAIN, path="/zstd") for accept in ("gzip,zstd", "*", "br", "identity")],
    *[
        Case("three", accept, PLAIN, path=path)
        for path in OVERRIDDEN
        for accept in ("gzip", "zstd", "br", "*")
    ],
    # accept-encoding towards the upstream
    *accepts("response", "gzip", "br", None),
    *accepts("legacy", "gzip"),
    *accepts("off", "gzip"),
    # per route
    *[Case("plain", "gzip", PLAIN, path=path) for path in OVERRIDDEN],
    *[Case("plain", "zstd", PLAIN, path=path) for path in OVERRIDDEN],
    *[Case("off", "gzip", PLAIN, path=path) for path in OVERRIDDEN],
    *[Case("off", "zstd", PLAIN, path=path) for path in OVERRIDDEN],
    *[Case("response", "gzip", PLAIN, path=path) for path in OVERRIDDEN],
    # settings of the libraries
    *accepts("settings", "gzip", "br", "zstd"),
    # request bodies
    *[
        Case(chain, "gzip", PLAIN, method="POST", sent=sent, fields=given)
        for chain in ("requests", "requests_br", "plain")
        for sent in (b"", TEXT[:99], TEXT[:100], TEXT)
        for given in (PLAIN, [])
    ],
    *[
        Case("requests", None, PLAIN, method="POST", sent=TEXT, fields=given)
        for given in (JSON, [*PLAIN, ("content-encoding", "x")], [*PLAIN, ("content-encoding", "")])
    ],
]
