"""gRPC filters in memory: HTTP/1 on both sides, so that a call's trailers are chunked ones."""

from __future__ import annotations

from typing import Any

from tests.support.config import TYPES, Config
from tests.support.transcript import Transcript

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MESSAGES = {"grpc_stats": "FilterConfig", "grpc_web": "GrpcWeb", "grpc_http1_bridge": "Config"}


def filter_config(name: str, **settings: Any) -> Config:
    """One filter of the table."""
    message = MESSAGES.get(name, "Router")
    typed = {"@type": f"{TYPES}.filters.http.{name}.v3.{message}", **settings}
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed}


def talk_through(name: str, *, listener: Config | None = None, **settings: Any) -> Transcript:
    """A transcript with the filter before the router."""
    chain = [filter_config(name, **settings), filter_config("router")]
    trailers = {"http_protocol_options": {"enable_trailers": True}}
    typed = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": trailers}
    hcm = {"http_filters": chain, "http_protocol_options": {"enable_trailers": True}}
    return Transcript(hcm=hcm, listener=listener, a={"typed_extension_protocol_options": {OPTIONS: typed}})


def post(body: bytes, *fields: str, path: str = "/a.B/C") -> bytes:
    """A request with a length."""
    head = [f"POST {path} HTTP/1.1", "host: a", *fields, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(head).encode() + body
