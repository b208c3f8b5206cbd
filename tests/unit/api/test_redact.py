"""proxy.api.redact: what the API marks as sensitive is hidden, wherever it stands and however it is spelled."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.api.redact import REDACTED_BYTES, redact

TLS = "envoy.extensions.transport_sockets.tls.v3."
KEY = {"inline_string": "KEY"}
HIDDEN = {"inline_string": "[redacted]"}


def test_texts_bytes_and_names_of_files_are_hidden_and_the_certificate_is_not() -> None:
    pair = {"certificate_chain": {"filename": "/c"}, "private_key": KEY, "password": {"filename": "/p"}}
    assert redact(pair, TLS + "TlsCertificate") == {
        "certificate_chain": {"filename": "/c"},
        "private_key": HIDDEN,
        "password": {"filename": "[redacted]"},
    }
    keys = {"keys": [{"inline_bytes": "AAAA"}, KEY]}
    assert redact(keys, TLS + "TlsSessionTicketKeys") == {"keys": [{"inline_bytes": REDACTED_BYTES}, HIDDEN]}


def test_numbers_below_a_secret_are_left_out_and_maps_keep_their_keys() -> None:
    provider = {
        "provider_name": "p",
        "typed_config": {"@type": f"x/{TLS}TlsParameters", "cipher_suites": ["C"]},
    }
    shown = redact(provider, TLS + "PrivateKeyProvider")
    assert shown["typed_config"] == {"@type": f"x/{TLS}TlsParameters", "cipher_suites": ["[redacted]"]}
    enum = {
        **provider,
        "typed_config": {**provider["typed_config"], "tls_minimum_protocol_version": "TLSv1_2"},
    }  # type: ignore[dict-item]
    assert "tls_minimum_protocol_version" not in redact(enum, TLS + "PrivateKeyProvider")["typed_config"]
    secrets = {"secrets": {"a": KEY}}
    assert redact(secrets, TLS + "GenericSecret") == {"secrets": {"a": HIDDEN}}


@pytest.mark.parametrize("name", ["private_key", "privateKey"])
@pytest.mark.parametrize("kind", ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"])
def test_inside_any_and_typed_struct(kind: str, name: str) -> None:
    def socket(inner: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": "tls",
            "typed_config": {
                "@type": f"type.googleapis.com/{kind}",
                "type_url": f"type.googleapis.com/{TLS}DownstreamTlsContext",
                "value": {"common_tls_context": {"tls_certificates": [{name: inner}]}},
            },
        }

    assert redact(socket(KEY), "envoy.config.core.v3.TransportSocket") == socket(HIDDEN)


def test_what_is_no_secret_stays() -> None:
    cluster = {
        "name": "a",
        "connect_timeout": "1s",
        "metadata": {"filter_metadata": {"x": {"password": "of somebody else"}}},
        "typed_extension_protocol_options": {
            "b": {"@type": "x/google.protobuf.StringValue", "value": "t"},
            "c": {"@type": "x/xds.type.v3.TypedStruct", "type_url": "x/acme.v1.Own", "value": {"a": [1]}},
        },
    }
    assert redact(cluster, "envoy.config.cluster.v3.Cluster") == cluster
