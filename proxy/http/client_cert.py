"""x-forwarded-client-cert: what is said of the client's certificate to the next hop, and what of others' word is kept.

forward_client_cert_details and set_current_client_cert_details of the HTTP connection manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.api.reader import Reader, reads
from proxy.base.x509 import DNS, URI

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.stream_info import StreamInfo
    from proxy.base.tls_info import TlsInfo

HCM: Final = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
NAME: Final = b"x-forwarded-client-cert"
_FORWARD_ONLY: Final = 1
_APPEND_FORWARD: Final = 2
_SANITIZE_SET: Final = 3
_ALWAYS_FORWARD_ONLY: Final = 4
_MODES: Final = {
    "FORWARD_ONLY": _FORWARD_ONLY,
    "APPEND_FORWARD": _APPEND_FORWARD,
    "SANITIZE_SET": _SANITIZE_SET,
    "ALWAYS_FORWARD_ONLY": _ALWAYS_FORWARD_ONLY,
}


class ForwardClientCert:
    """Every mode but SANITIZE, which needs nothing of this.

    wanted: of Cert, Chain, Subject, URI, DNS, those to be told beside By and Hash
    """

    __slots__ = ("mode", "wanted")

    def __init__(self, mode: int, wanted: tuple[str, ...]) -> None:
        self.mode = mode
        self.wanted = wanted

    def apply(self, stream: StreamInfo, headers: RequestHeaders) -> None:
        """Rewrite the request's header."""
        if self.mode == _ALWAYS_FORWARD_ONLY:
            return
        tls = stream.info.tls
        if tls is None or tls.peer is None:
            headers.remove(NAME)
            return
        if self.mode == _FORWARD_ONLY:
            return
        told = self._told(tls)
        if self.mode == _APPEND_FORWARD:
            before = headers.joined(NAME)
            if before and told:
                told = before + b"," + told
            told = told or before or b""
        if told:
            headers.set(NAME, told)
        else:
            headers.remove(NAME)

    def _told(self, tls: TlsInfo) -> bytes:
        """One element of the header."""
        peer = tls.peer
        if peer is None:
            return b""
        told = [f"By={name}" for name in tls.local.names(URI)] if tls.local is not None else []
        told.append(f"Hash={peer.fingerprint_256}")
        for kind in self.wanted:
            if kind == "Cert":
                told.append(f'Cert="{tls.pem}"')
            elif kind == "Chain":
                told.append(f'Chain="{tls.chain_pem}"')
            elif kind == "Subject":
                told.append(f'Subject="{peer.subject}"')  # RFC 2253 has escaped its quotes
            elif kind == "URI":
                told += [f"URI={_plain(name)}" for name in peer.names(URI) or [""]]
            else:
                told += [f"DNS={_plain(name)}" for name in peer.names(DNS)]
        return ";".join(told).encode("latin-1")


def _plain(name: str) -> str:
    """A name without what would end it or the header: a certificate's issuer may be careless."""
    return "".join(char for char in name if char > " " and char != "\x7f" and char not in ';,"=')


@reads(HCM)
def compile_client_cert(reader: Reader) -> ForwardClientCert | None:
    """None for SANITIZE, the default."""
    mode = _MODES.get(reader.enum("forward_client_cert_details"))
    reader.unsupported("forward_client_cert_matcher", "is not supported; forward_client_cert_details is")
    details = reader.sub("set_current_client_cert_details")
    wanted = _compile_details(details) if details is not None else ()
    return ForwardClientCert(mode, wanted) if mode is not None else None


@reads(f"{HCM}.SetCurrentClientCertDetails")
def _compile_details(reader: Reader) -> tuple[str, ...]:
    wanted = []
    if reader.flag("cert"):
        wanted.append("Cert")
    if reader.flag("chain"):
        wanted.append("Chain")
    if reader.wrapped("subject", False):
        wanted.append("Subject")
    if reader.flag("uri"):
        wanted.append("URI")
    if reader.flag("dns"):
        wanted.append("DNS")
    return tuple(wanted)
