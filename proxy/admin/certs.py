"""/certs: the certificates of every TLS context (envoy.admin.v3.Certificates): those of listeners, then of clusters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from proxy.admin.state import AdminState, Endpoint, Reply, Request, json_reply
from proxy.base.x509 import DNS, IP_ADDRESS, URI, Certificate

#: GeneralName → field of SubjectAlternateName, in the order of printing; names of other kinds are not shown
_KINDS = {DNS: "dns", URI: "uri", IP_ADDRESS: "ip_address"}
_DAY_S = 86_400


def answer(state: AdminState, request: Request) -> Reply:
    """Of each context what it shows itself with, and what it trusts."""
    now = state.clock.wall()
    return json_reply(
        {
            "certificates": [
                {
                    "ca_cert": [details(*each, now) for each in context.roots],
                    "cert_chain": [details(*each, now) for each in context.chains],
                }
                for context in state.tls_contexts
            ]
        }
    )


def details(path: str, certificate: Certificate, now: float) -> dict[str, Any]:
    """CertificateDetails. Days that have begun do not count; of an expired one there are none."""
    days = max(0, int((certificate.not_after - now) // _DAY_S))
    return {
        "path": path,
        "serial_number": certificate.serial,
        "subject_alt_names": [
            {field: name} for kind, field in _KINDS.items() for name in certificate.names(kind)
        ],
        "days_until_expiration": str(days),
        "valid_from": _timestamp(certificate.not_before),
        "expiration_time": _timestamp(certificate.not_after),
    }


def _timestamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


ENDPOINT = Endpoint("/certs", "print certs on machine", answer)
