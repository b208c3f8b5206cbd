"""x-forwarded-client-cert; the five modes over real handshakes: tests/integration/test_tls.py."""

from __future__ import annotations

import ssl

from proxy.base.headers import RequestHeaders
from proxy.base.stream_info import ConnectionInfo, StreamInfo
from proxy.base.tls_info import TlsInfo
from proxy.base.x509 import Certificate
from proxy.http.client_cert import NAME, ForwardClientCert
from tests.support.certs import Authority

FORGED = "spiffe://a;By=x,Hash=1"


def test_names_cannot_forge() -> None:
    """Elements stand between commas, what they say between semicolons."""
    pair = Authority().signs("client", uri=(FORGED,), dns=("a.example",))
    tls = TlsInfo("TLSv1.3", "", "", None)
    tls.peer = Certificate(ssl.PEM_cert_to_DER_cert(pair.certificate))
    info = ConnectionInfo(1, "192.0.2.1:1", "192.0.2.2:2", 0.0)
    info.tls = tls
    headers = RequestHeaders(b"GET", b"/", b"a")
    ForwardClientCert(3, ("URI", "DNS")).apply(StreamInfo(info, 0.0, 0.0), headers)
    told = headers.get(NAME)
    assert told == f"Hash={tls.peer.fingerprint_256};URI=spiffe://aByxHash1;DNS=a.example".encode()
