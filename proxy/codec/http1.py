"""HTTP/1.1 (RFC 9112) as two codecs: ``Http1ServerCodec`` for clients' connections, ``Http1ClientCodec`` for upstreams'.

llhttp parses heads, ours is the strict machine around it: body bytes never pass through the parser, nothing that came
in goes out unless we wrote it again, and no peer's number is believed before a regular expression has.

Whose field is whose: the codecs own framing. They take ``transfer-encoding`` out of every head they read, write it
themselves (last), and keep ``content-length`` in its place. ``connection``, ``proxy-connection``, ``keep-alive``, ``te``,
``upgrade``, ``expect`` and ``trailer`` stay among the fields: the codecs read the connection's tokens for keep-alive and
upgrades, but the stream removes the fields, because it must also remove what they name. Only the server codec writes
``connection`` (close, or keep-alive to HTTP/1.0).

    http1_server   requests in, responses out       http1_client   requests out, responses in
    http1_head     one head, parsed and refused     http1_lines    its lines: new to llhttp, or known
    http1_target   absolute-form, CONNECT, authorities
    http1_weigh    framing, keep-alive, upgrade     http1_body     the chunked coding
    http1_response the server codec's writing half  http1_write    status lines and field lines
"""

from __future__ import annotations

from proxy.codec.http1_client import Http1ClientCodec
from proxy.codec.http1_server import PREFACE_HEAD, Http1ServerCodec
from proxy.codec.http1_weigh import MAX_RESPONSE_HEADERS_BYTES, Http1Settings

__all__ = [
    "MAX_RESPONSE_HEADERS_BYTES",
    "PREFACE_HEAD",
    "Http1ClientCodec",
    "Http1ServerCodec",
    "Http1Settings",
]
