"""Clients whose chains are not what lets them in: pins without roots, ACCEPT_UNTRUSTED; for us and for Envoy."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path
from typing import Any

import pytest

from proxy.network.openssl import reach
from tests.integration.test_tls import (
    CA,
    CLIENT,
    OTHER_CA,
    SERVER,
    Connection,
    client_context,
    downstream_tls,
    running,
    secured,
)
from tests.support.certs import Pair
from tests.support.config import Config, file_log, http_listener, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.wait import until
from tests.unit.ext.transport_sockets.test_tls_untrusted import ACCEPTS, NEEDS, pinned

pytestmark = pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")

OLD = CA.signs("old", uri=("spiffe://mesh/old",), days=(-3, -1))
STRANGER = OTHER_CA.signs("stranger", uri=("spiffe://mesh/stranger",), organization_name='Acme, "Inc"')
OTHER = OTHER_CA.signs("other", uri=("spiffe://elsewhere/other",))
CLIENTS = {"none": None, "client": CLIENT, "old": OLD, "stranger": STRANGER, "other": OTHER}
ROOTS: Config = {"trusted_ca": {"inline_string": CA.pem}}
NAMES: Config = {
    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}}]
}
#: a listener's validation, what else it has, and how it finds each of CLIENTS: "-" closed, "V" and "P" served, with a
#: certificate that it has verified or not, "N" served without one
DOORS: dict[str, tuple[Config, Config, str]] = {
    "pin": (pinned(STRANGER), {}, "---V-"),
    "pin-required": (pinned(STRANGER, by_key=True), NEEDS, "---V-"),
    "pin-of-an-old-one": ({**pinned(OLD), **pinned(OTHER, by_key=True)}, {}, "--V-V"),
    "names": ({**ROOTS, **NAMES}, {}, "-V---"),
    "accepts": (ACCEPTS, {}, "NPPPP"),
    "accepts-roots": ({**ROOTS, **ACCEPTS}, {}, "NVPPP"),
    "accepts-required": ({**ROOTS, **ACCEPTS, **NAMES}, NEEDS, "-VPPP"),
    "accepts-pin": ({**pinned(STRANGER), **ACCEPTS}, {}, "NPPVP"),
}
#: what each counts of the clients that it does not find good, once for each
COUNTS = {
    "pin": {"fail_verify_cert_hash": 3, "fail_verify_no_cert": 1},
    "pin-required": {"fail_verify_cert_hash": 3, "fail_verify_no_cert": 1},
    "pin-of-an-old-one": {"fail_verify_cert_hash": 2, "fail_verify_no_cert": 1},
    "names": {"fail_verify_error": 3, "fail_verify_no_cert": 1},
    "accepts": {},
    "accepts-roots": {"fail_verify_error": 3},
    "accepts-required": {"fail_verify_error": 3, "fail_verify_no_cert": 1},
    "accepts-pin": {"fail_verify_cert_hash": 3},
}


def door(port: int, name: str, folder: Path) -> Config:
    validation, more, _ = DOORS[name]
    matches = {
        "V": {"validated": True},
        "P": {"presented": True, "validated": False},
        "N": {"presented": False},
    }
    routes = [
        {
            "match": {"prefix": "/", "tls_context": match},
            "direct_response": {"status": 200, "body": {"inline_string": letter}},
            "response_headers_to_add": [
                {"header": {"key": "xfcc", "value": "%REQ(X-FORWARDED-CLIENT-CERT)%"}},
                {"header": {"key": "peer", "value": "%DOWNSTREAM_PEER_URI_SAN%"}},
                {"header": {"key": "chain", "value": "%DOWNSTREAM_PEER_CHAIN_SERIALS%"}},
            ],
        }
        for letter, match in matches.items()
    ]
    hcm = {
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"uri": True, "subject": True},
    }
    listener = http_listener(port, [virtual_host(routes)], hcm=hcm) | {"name": name}
    listener["access_log"] = [file_log(str(folder / name), "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n")]
    return secured(listener, downstream_tls(SERVER, common={"validation_context": validation}, **more))


def visit(port: int, context: ssl.SSLContext, session: Any = None) -> tuple[str, str, str, Any]:
    """(letter, xfcc, the name in our log, the session): ("-", "", "", None) where it is closed"""
    connection = Connection(port, context)
    try:
        http.client.HTTPConnection.connect(connection)
        connection.sock = context.wrap_socket(
            connection.sock, server_hostname="front.example", session=session
        )
        connection.request("GET", "/")
        response = connection.getresponse()
        letter = response.read().decode()
        assert connection.sock.session_reused is (session is not None)
        return (
            letter,
            response.headers.get("xfcc", ""),
            response.headers.get("peer", ""),
            connection.sock.session,
        )
    except OSError:
        return "-", "", "", None
    finally:
        connection.close()


def test_who_is_let_in_and_what_is_told(kind: type[Outrider] | type[Envoy], tmp_path: Path) -> None:
    ports = {name: free_port() for name in DOORS}
    contexts = {
        name: client_context() if pair is None else client_context(pair, tmp_path)
        for name, pair in CLIENTS.items()
    }
    with running([door(port, name, tmp_path) for name, port in ports.items()], [], kind) as proxy:
        for name, port in ports.items():
            found = {who: visit(port, context) for who, context in contexts.items()}
            assert "".join(each[0] for each in found.values()) == DOORS[name][2], name
            for who, (letter, xfcc, peer, session) in found.items():
                pair: Pair | None = CLIENTS[who]
                if letter in "VP":
                    uri = f"spiffe://{'elsewhere' if who == 'other' else 'mesh'}/{who}"
                    uri = "spiffe://mesh/ns/a/sa/client" if who == "client" else uri
                    assert pair is not None and peer == uri
                    assert pinned(pair)["verify_certificate_hash"][0] in xfcc and xfcc.endswith(f"URI={uri}")
                    if who == "stranger":
                        assert r'Subject="CN=stranger,O=Acme\, \"Inc\""' in xfcc
                    again = visit(port, contexts[who], session)
                    assert again[:3] == ("P", xfcc, peer), "who resumes has not been verified"
            scope = f"listener.127.0.0.1_{port}.ssl.fail_verify_"
            until(lambda s=scope, n=name: counts(proxy, s) == COUNTS[n], name)  # type: ignore[misc]
        lines = (tmp_path / "pin").read_text().splitlines()
    error = "TLS_error:|{}:SSL_routines:OPENSSL_internal:{}:TLS_error_end"
    no_certificate = "PEER_DID_NOT_RETURN_A_CERTIFICATE:peer_did_not_provide_required_client_certificate"
    assert lines[:2] == [
        error.format(268435648, no_certificate),
        error.format(268435581, "CERTIFICATE_VERIFY_FAILED:verify_cert_failed:_cert_hash_and_spki"),
    ]


def counts(proxy: Outrider | Envoy, scope: str) -> dict[str, int]:
    found = proxy.stats()
    return {
        f"fail_verify_{name[len(scope) :]}": n for name, n in found.items() if name.startswith(scope) and n
    }
