"""Operators about TLS: versions, ciphers and certificates of either side. No value on a connection in plain text."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from proxy.base.stream_info import StreamInfo
from proxy.base.tls_info import TlsInfo
from proxy.base.x509 import DNS, EMAIL, IP_ADDRESS, URI, BadCertificate, Certificate
from proxy.formatter.slot import TEXT, FormatContext, Make, Operator, Slot
from proxy.formatter.syntax import Command
from proxy.formatter.timing import DEFAULT_UTC, TimeText, check_layout

Side = Callable[[StreamInfo], TlsInfo | None]
Read = Callable[[TlsInfo], str]


def downstream(stream: StreamInfo) -> TlsInfo | None:
    """The client's connection."""
    return stream.info.tls


def upstream(stream: StreamInfo) -> TlsInfo | None:
    """The last try's connection."""
    return stream.upstream_tls


def of_peer(read: Callable[[Certificate], str]) -> Read:
    """Something of the peer's certificate."""
    return lambda tls: read(tls.peer) if tls.peer is not None else ""


def of_local(read: Callable[[Certificate], str]) -> Read:
    """Something of our own certificate."""
    return lambda tls: read(tls.local) if tls.local is not None else ""


def of_chain(read: Callable[[Certificate], str]) -> Read:
    """Something of every certificate that the peer sent."""
    return lambda tls: ",".join(_of_sent(read, der) for der in tls.chain)


def of_issuer(read: Callable[[Certificate], str]) -> Read:
    """Something of the certificate after the peer's own in what it sent."""
    return lambda tls: _of_sent(read, chain[1]) if len(chain := tls.chain) > 1 else ""


def _of_sent(read: Callable[[Certificate], str], der: bytes) -> str:
    """Something of a certificate that the peer sent, which nobody may have verified: "" where it is unreadable."""
    try:
        return read(Certificate(der))
    except BadCertificate:
        return ""


def names(kind: int) -> Callable[[Certificate], str]:
    """Alternative names of a kind, comma-separated."""
    return lambda certificate: ",".join(certificate.names(kind))


def fact(side: Side, read: Read) -> Make:
    """An operator of one fact; "" is absent."""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        def get(stream: StreamInfo) -> Any:
            tls = side(stream)
            return absent if tls is None else read(tls).encode("latin-1", "replace") or absent

        return Slot(TEXT, get)

    return make


def validity(side: Side, end: bool) -> Make:
    """PEER_CERT_V_START(layout), PEER_CERT_V_END(layout)"""

    def make(command: Command, context: FormatContext, absent: Any) -> Slot:
        check_layout(command.argument)
        write = TimeText(command.argument or DEFAULT_UTC, False)

        def get(stream: StreamInfo) -> Any:
            tls = side(stream)
            if tls is None or tls.peer is None:
                return absent
            return write(tls.peer.not_after if end else tls.peer.not_before)

        return Slot(TEXT, get)

    return make


_BOTH: Final[dict[str, Read]] = {
    "TLS_CIPHER": attrgetter("cipher"),
    "TLS_GROUP": attrgetter("group"),
    "TLS_VERSION": attrgetter("version"),
    "TLS_SESSION_ID": attrgetter("session_id"),
    "PEER_SUBJECT": of_peer(attrgetter("subject")),
    "PEER_ISSUER": of_peer(attrgetter("issuer")),
    "PEER_CERT": attrgetter("pem"),
    "PEER_URI_SAN": of_peer(names(URI)),
    "PEER_DNS_SAN": of_peer(names(DNS)),
    "PEER_IP_SAN": of_peer(names(IP_ADDRESS)),
    "LOCAL_URI_SAN": of_local(names(URI)),
    "LOCAL_DNS_SAN": of_local(names(DNS)),
    "LOCAL_IP_SAN": of_local(names(IP_ADDRESS)),
}
_DOWNSTREAM: Final[dict[str, Read]] = {
    "PEER_SERIAL": of_peer(attrgetter("serial")),
    "PEER_FINGERPRINT_256": of_peer(attrgetter("fingerprint_256")),
    "PEER_FINGERPRINT_1": of_peer(attrgetter("fingerprint_1")),
    "PEER_CHAIN_FINGERPRINTS_256": of_chain(attrgetter("fingerprint_256")),
    "PEER_CHAIN_FINGERPRINTS_1": of_chain(attrgetter("fingerprint_1")),
    "PEER_CHAIN_SERIALS": of_chain(attrgetter("serial")),
    "PEER_ISSUER_FINGERPRINT_256": of_issuer(attrgetter("fingerprint_256")),
    "PEER_ISSUER_SERIAL": of_issuer(attrgetter("serial")),
    "PEER_EMAIL_SAN": of_peer(names(EMAIL)),
    "LOCAL_SUBJECT": of_local(attrgetter("subject")),
    "LOCAL_EMAIL_SAN": of_local(names(EMAIL)),
}


def tls_operators() -> dict[str, Operator]:
    """All of them, by name."""
    found: dict[str, Operator] = {}
    for name, read in _BOTH.items():
        found[f"UPSTREAM_{name}"] = Operator(fact(upstream, read))
        found[f"DOWNSTREAM_{name}"] = Operator(fact(downstream, read))
    for name, read in _DOWNSTREAM.items():
        found[f"DOWNSTREAM_{name}"] = Operator(fact(downstream, read))
    found["UPSTREAM_PEER_CERT_V_START"] = Operator(validity(upstream, False), "optional")
    found["UPSTREAM_PEER_CERT_V_END"] = Operator(validity(upstream, True), "optional")
    found["DOWNSTREAM_PEER_CERT_V_START"] = Operator(validity(downstream, False), "optional")
    found["DOWNSTREAM_PEER_CERT_V_END"] = Operator(validity(downstream, True), "optional")
    return found
