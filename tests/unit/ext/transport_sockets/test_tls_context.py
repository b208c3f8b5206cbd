"""DownstreamTlsContext and UpstreamTlsContext: what is honoured, what is refused."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from google.protobuf import json_format

from proxy.api.pool import message_class
from proxy.api.reader import Reader, unread
from proxy.base.clock import Clock
from proxy.base.init import InitManager
from proxy.ext.transport_sockets import common_tls, peer_validation, tls_params
from proxy.ext.transport_sockets.tls import DownstreamTls, UpstreamTls
from proxy.network.openssl import reach
from proxy.runtime.runtime import Runtime
from proxy.stats.store import Store
from proxy.upstream.context import UpstreamContext
from tests.support.certs import Authority
from tests.support.tls_memory import shake

CA = Authority()
PAIR = CA.signs("a", dns=("a.example",))
OLD = CA.signs("old", days=(-3, -1))
NOW = PAIR.parsed.not_valid_before_utc.timestamp() + 86400
ROOTS = {"trusted_ca": {"inline_string": CA.pem}}


def read(
    kind: type[DownstreamTls] | type[UpstreamTls], common: dict[str, Any], stats: Store, **more: Any
) -> tuple[DownstreamTls | UpstreamTls, Reader]:
    """What is made of it in the scope "x", and the reader with its findings."""
    name = f"envoy.extensions.transport_sockets.tls.v3.{kind.__name__}Context"
    message = message_class(name)()
    json_format.ParseDict({"common_tls_context": common, **more}, message)
    reader = Reader(message)
    context = UpstreamContext(
        clock=Clock(wall=lambda: NOW),
        timers=cast(Any, None),
        ids=cast(Any, None),
        stats=Store(),
        registry=cast(Any, None),
        connector=cast(Any, None),
        resolver=cast(Any, None),
        runtime=Runtime(),
        environ={"CERT": PAIR.certificate},
    )
    return kind(reader, stats.scope("x"), context, InitManager("x")), reader


def findings(kind: type[DownstreamTls] | type[UpstreamTls], common: dict[str, Any], **more: Any) -> list[str]:
    """Paths of what refuses the context, unread fields included, then of warnings with a "?"."""
    _, reader = read(kind, common, Store(), **more)
    for finding in unread(reader):
        reader.errors.add(finding)
    return [each.path for each in reader.errors.findings] + [
        f"{each.path}?" for each in reader.errors.warnings
    ]


def revoked() -> str:
    """An empty list of revoked certificates, PEM."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(CA._name)
    builder = builder.last_update(datetime(2026, 1, 1)).next_update(datetime(2036, 1, 1))
    return builder.sign(CA._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


CRL = revoked()


def serving(**more: Any) -> dict[str, Any]:
    return {"tls_certificates": [PAIR.config()], **more}


@pytest.mark.parametrize(
    ("common", "more"),
    [
        (serving(), {}),
        (serving(alpn_protocols=["h2", "http/1.1"]), {"disable_stateless_session_resumption": True}),
        (serving(validation_context=ROOTS), {"require_client_certificate": True}),
        (
            serving(
                tls_params={"cipher_suites": ["[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]"]}
            ),
            {},
        ),
        (
            {"tls_certificates": [{**PAIR.config(), "certificate_chain": {"environment_variable": "CERT"}}]},
            {},
        ),
        (serving(), {"prefer_client_ciphers": True}),
        (serving(tls_params={"ecdh_curves": []}), {}),
    ],
)
def test_accepted_of_servers(common: dict[str, Any], more: dict[str, Any]) -> None:
    assert findings(DownstreamTls, common, **more) == []


@pytest.mark.parametrize(
    "cipher",
    [
        "NULL-SHA",
        "ADH-AES128-SHA",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-CCM",
        "@SECLEVEL=0",
        "ALL:@SECLEVEL=0",
        "!aNULL",
        "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-ECDSA-AES128-GCM-SHA256",
        "[ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305",
    ],
)
def test_ciphers_that_openssl_would_take(cipher: str) -> None:
    """Envoy refuses each: without a certificate, without a cipher, over a finite field, or no name at all."""
    params = {"cipher_suites": ["ECDHE-ECDSA-AES128-GCM-SHA256", cipher]}
    assert findings(DownstreamTls, serving(tls_params=params)) == [f"{COMMON}.tls_params.cipher_suites"]


@pytest.mark.parametrize("name", ["ALL", "HIGH"])
def test_a_name_of_many_ciphers(name: str) -> None:
    made, _ = read(UpstreamTls, serving(tls_params={"cipher_suites": [name]}), Store())
    assert made.side is not None
    offered = made.side.context.get_ciphers()
    assert len(offered) > 10
    assert {each["auth"] for each in offered} <= {"auth-rsa", "auth-ecdsa", "auth-psk", "auth-any"}
    assert not {"kx-dhe", "kx-dhe-psk"} & {each["kea"] for each in offered}


@pytest.mark.parametrize("names", [["P-256:"], [":P-256"], ["P-256", ""]])
def test_a_curve_without_a_name(names: list[str]) -> None:
    params = {"ecdh_curves": names}
    assert findings(DownstreamTls, serving(tls_params=params)) == [f"{COMMON}.tls_params.ecdh_curves"]


CURVES = ["X25519", "prime256v1", "P-384:secp521r1"]
SIGNATURES = ["ecdsa_secp256r1_sha256", "PSS+SHA384", "rsa_pkcs1_sha512", "ed25519", "ecdsa_sha1", "RSA+SHA1"]
NEW = {"ecdh_curves": CURVES, "signature_algorithms": SIGNATURES}


@pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")
@pytest.mark.parametrize("kind", [DownstreamTls, UpstreamTls])
def test_curves_and_signature_algorithms(kind: type[DownstreamTls] | type[UpstreamTls]) -> None:
    assert findings(kind, serving(tls_params=NEW)) == []


@pytest.mark.parametrize(("version", "group"), [((3, 4), "P-256"), ((3, 5), "X25519")])
def test_one_group_where_openssl_cannot_be_told(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], group: str
) -> None:
    """Or clients could ask for fields of 8,192 bits."""
    openssl = reach()
    if openssl is None:
        pytest.skip("this Python's OpenSSL does not tell what was agreed on")
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_INFO", (*version, 0, 0, 0))
    monkeypatch.setattr(tls_params, "reach", lambda: None)
    made, _ = read(DownstreamTls, serving(), Store())
    assert made.side is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=CA.pem)
    ends = made.side.begin(there, back, ""), client.wrap_bio(back, there)
    shake(*ends)
    assert openssl.group(ends[0]) == group


@pytest.mark.parametrize("field", ["ecdh_curves", "signature_algorithms"])
def test_where_openssl_cannot_be_told(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setattr(tls_params, "reach", lambda: None)
    assert findings(DownstreamTls, serving()) == []
    assert findings(DownstreamTls, serving(tls_params={field: NEW[field]})) == [
        f"{COMMON}.tls_params.{field}"
    ]


@pytest.mark.skipif(reach() is None, reason="this Python's OpenSSL cannot be told")
def test_the_depth_of_clients_chains() -> None:
    """Of hosts' chains Envoy asks nothing by it."""
    deep = {"validation_context": {**ROOTS, "max_verify_depth": 100}}
    assert findings(DownstreamTls, serving(**deep)) == []
    assert findings(UpstreamTls, deep) == [f"{COMMON}.validation_context.max_verify_depth?"]


def test_chains_where_openssl_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No names of roots are shown there, suppressed or not."""
    for module in (common_tls, peer_validation):
        monkeypatch.setattr(module, "reach", lambda: None)
    path = f"{COMMON}.validation_context"
    assert findings(DownstreamTls, serving(validation_context={**ROOTS, "max_verify_depth": 2})) == [
        f"{path}.max_verify_depth"
    ]
    silent = {**ROOTS, "suppress_client_ca_list": True, "allow_expired_certificate": True}
    assert findings(DownstreamTls, serving(validation_context=silent)) == []


@pytest.mark.parametrize("kind", [DownstreamTls, UpstreamTls])
def test_flags_of_chains(kind: type[DownstreamTls] | type[UpstreamTls]) -> None:
    for allowed in (True, False):
        validation = {**ROOTS, "allow_expired_certificate": allowed}
        made, _ = read(kind, serving(validation_context=validation), Store())
        assert made.side is not None
        flags = made.side.context.verify_flags
        assert bool(flags & 0x200000) is allowed
        assert flags & ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        assert not flags & ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


COMMON = "common_tls_context"


@pytest.mark.parametrize(
    ("common", "more", "path"),
    [
        ({}, {}, COMMON),
        (serving(), {"require_client_certificate": True}, "require_client_certificate"),
        (
            serving(tls_params={"tls_minimum_protocol_version": "TLSv1_0"}),
            {},
            f"{COMMON}.tls_params.tls_minimum_protocol_version",
        ),
        (serving(tls_params={"cipher_suites": ["NONE-SUCH"]}), {}, f"{COMMON}.tls_params.cipher_suites"),
        (serving(tls_params={"ecdh_curves": ["X448"]}), {}, f"{COMMON}.tls_params.ecdh_curves"),
        (
            serving(tls_params={"ecdh_curves": ["P-256", "X25519:P-256"]}),
            {},
            f"{COMMON}.tls_params.ecdh_curves",
        ),
        (
            serving(tls_params={"signature_algorithms": ["ed448"]}),
            {},
            f"{COMMON}.tls_params.signature_algorithms",
        ),
        (
            serving(tls_params={"signature_algorithms": ["PSS+SHA256", "RSA-PSS+SHA256"]}),
            {},
            f"{COMMON}.tls_params.signature_algorithms",
        ),
        (
            serving(tls_params={"signature_algorithms": ["rsa_pkcs1_sha256_legacy"]}),
            {},
            f"{COMMON}.tls_params.signature_algorithms",
        ),
        (
            serving(tls_certificate_sds_secret_configs=[{"name": "x"}]),
            {},
            f"{COMMON}.tls_certificate_sds_secret_configs[0].name",
        ),
        (
            serving(validation_context={**ROOTS, "max_verify_depth": 101}),
            {},
            f"{COMMON}.validation_context.max_verify_depth",
        ),
        (
            serving(),
            {"session_ticket_keys": {"keys": [{"inline_string": "x" * 16}]}},
            "session_ticket_keys.keys[0]",
        ),
        ({"tls_certificates": [OLD.config()]}, {}, f"{COMMON}.tls_certificates[0].certificate_chain?"),
    ],
)
def test_refused_of_servers(common: dict[str, Any], more: dict[str, Any], path: str) -> None:
    assert findings(DownstreamTls, common, **more) == [path]


@pytest.mark.parametrize(
    ("common", "more", "path"),
    [
        (
            {"validation_context": {"crl": {"inline_string": "x"}, **ROOTS}},
            {},
            f"{COMMON}.validation_context.crl",
        ),
        (
            {"validation_context": {"trusted_ca": {"inline_string": "x"}}},
            {},
            f"{COMMON}.validation_context.trusted_ca",
        ),
        (
            {"validation_context": {"allow_expired_certificate": True}},
            {},
            f"{COMMON}.validation_context.allow_expired_certificate",
        ),
        (
            {"validation_context": {"system_root_certs": {}}},
            {},
            f"{COMMON}.validation_context.system_root_certs",
        ),
        (
            {"validation_context": {"crl": {"inline_string": CRL}}},
            {},
            f"{COMMON}.validation_context.crl",
        ),
        (
            {"validation_context": {"crl": {"inline_string": CRL.replace("M", "N")}, **ROOTS}},
            {},
            f"{COMMON}.validation_context.crl",
        ),
        ({"alpn_protocols": ["h2," + "x" * 256]}, {}, f"{COMMON}.alpn_protocols"),
        ({"alpn_protocols": ["h2", ""]}, {}, f"{COMMON}.alpn_protocols?"),
        ({}, {"auto_sni_san_validation": True}, "auto_sni_san_validation"),
        ({"validation_context": {}}, {"auto_sni_san_validation": True}, "auto_sni_san_validation"),
        (
            {"validation_context": {"verify_certificate_hash": ["00" * 32]}},
            {"auto_sni_san_validation": True},
            "auto_sni_san_validation",
        ),
        ({"tls_certificates": [PAIR.config(), PAIR.config()]}, {}, COMMON),
        (
            {
                "validation_context": {
                    "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a"}}]
                }
            },
            {},
            f"{COMMON}.validation_context",
        ),
    ],
)
def test_refused_of_clients(common: dict[str, Any], more: dict[str, Any], path: str) -> None:
    assert findings(UpstreamTls, common, **more) == [path]


@pytest.mark.parametrize(
    ("pin", "is_one"),
    [
        *(("A" * 43 + "=", True), ("eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHg=", True)),
        *(("A" * 44, False), ("!" * 44, False), ("A" * 42 + "B=", False)),
    ],
)
def test_pins_of_public_keys_as_envoy_judges_them(pin: str, is_one: bool) -> None:
    common = {"validation_context": {**ROOTS, "verify_certificate_spki": [pin]}}
    refused = [f"{COMMON}.validation_context.verify_certificate_spki"]
    assert findings(UpstreamTls, common) == ([] if is_one else refused)


@pytest.mark.parametrize("kind", [DownstreamTls, UpstreamTls])
@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({}, ""),
        ({"local_address_range": [{"address_prefix": "127.0.0.1"}]}, "local_address_range"),
        ({"remote_address_range": [{"address_prefix": "127.0.0.1"}]}, "remote_address_range"),
        ({"path": "/nowhere/at/all"}, "path"),
        ({"path": ""}, "path"),
    ],
)
def test_the_file_of_keys(
    tmp_path: Path, kind: type[DownstreamTls] | type[UpstreamTls], more: dict[str, Any], field: str
) -> None:
    log = {"path": str(tmp_path / "keys"), **more}
    assert findings(kind, serving(key_log=log)) == ([f"{COMMON}.key_log.{field}"] if field else [])


def test_the_first_end_of_several() -> None:
    """Envoy tells that of the last."""
    store = Store()
    read(DownstreamTls, {"tls_certificates": [OLD.config(), PAIR.config()]}, store)
    gauge = store.gauges["x.ssl.certificate.unnamed_cert_e3b0c442.expiration_unix_time_seconds"]
    assert gauge.value == int(OLD.parsed.not_valid_after_utc.timestamp())


def test_a_host_may_name_many_roots(tmp_path: Path) -> None:
    """More than clients may show us in certificates."""
    openssl = reach()
    roots = tmp_path / "roots.pem"
    roots.write_text("".join(Authority(f"{number:060}").pem for number in range(450)))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*PAIR.write(tmp_path, "server"))
    server.load_verify_locations(cadata=CA.pem)
    server.verify_mode = ssl.CERT_OPTIONAL
    if openssl is None or not openssl.set_client_names(server, str(roots)):
        pytest.skip("this Python's OpenSSL cannot be told whose certificates to ask for")
    made, _ = read(UpstreamTls, {"validation_context": ROOTS}, Store())
    assert made.side is not None
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = server.wrap_bio(there, back, True), made.side.begin(back, there, "")
    said = 0
    for _ in range(3):
        for end in reversed(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                said = max(said, back.pending)
    assert said > 32 * 1024 and ends[1].version() == ends[0].version() == "TLSv1.2"
