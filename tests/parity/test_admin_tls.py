"""Certificates and secrets on the admin pages of both proxies: the same facts, and no key anywhere."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import Authority
from tests.support.config import TYPES, Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port

pytestmark = [pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]

CA = Authority()
FIRST = CA.signs("first", dns=("a.example",), uri=("spiffe://x/y",), ip=("127.0.0.1",))
SECOND = CA.signs("second", dns=("b.example",), days=(-1, 9.5))
EXPIRED = CA.signs("old", ip=("::1",), uri=("spiffe://z",), dns=("o.example",), days=(-3, -1))


def tls(kind: str, *pairs: Config, **more: Any) -> Config:
    typed = {"@type": f"{TYPES}.transport_sockets.tls.v3.{kind}TlsContext"}
    common = {"tls_certificates": pairs, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": {**typed, "common_tls_context": common}}


def config(folder: Path) -> Config:
    chain, key = FIRST.write(folder, "first")
    (folder / "ca.pem").write_text(CA.pem)
    of_files = {"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}
    of_bytes = {
        name: {"inline_bytes": b64encode(text["inline_string"].encode()).decode()}
        for name, text in SECOND.config().items()
    }
    routes = [virtual_host([route_to("up")])]
    secured = http_listener(free_port(), routes)
    (plain,) = http_listener(0, routes, stat_prefix="other")["filter_chains"]
    secured["filter_chains"][0] |= {
        "transport_socket": tls(
            "Downstream",
            of_files,
            of_bytes,
            validation_context={"trusted_ca": {"filename": f"{folder}/ca.pem"}},
        ),
        "filter_chain_match": {"server_names": ["a.example"]},
    }
    secured["filter_chains"].append({**plain, "transport_socket": tls("Downstream", EXPIRED.config())})
    roots = {"trusted_ca": {"inline_string": EXPIRED.certificate + CA.pem}}
    up = tls(
        "Upstream", {**FIRST.config(), "password": {"inline_string": "PASSWORD"}}, validation_context=roots
    )
    return bootstrap(
        free_port(),
        [secured, http_listener(free_port(), routes, stat_prefix="plain")],
        [cluster("up", free_port(), transport_socket=up)],
    )


def test_certificates_are_those_of_envoy_and_keys_are_nowhere(tmp_path: Path) -> None:
    said: list[list[Config]] = []
    dumps: list[list[Config]] = []
    keys = [line for pair in (FIRST, SECOND, EXPIRED) for line in pair.key.splitlines()[1:-1]]
    with Outrider(config(tmp_path)) as ours:
        bootstrap_ = ours.bootstrap
        pages = [ours.admin("/certs")[1], ours.admin("/config_dump?include_eds")[1]]
    with Envoy(bootstrap_) as envoy:
        pages += [envoy.admin("/certs")[1], envoy.admin("/config_dump?include_eds")[1]]
    for at in (0, 2):
        said.append(json.loads(pages[at])["certificates"])
        dumps.append(json.loads(pages[at + 1])["configs"])
    ours_said, envoys = (
        sorted(each, key=json.dumps) for each in said
    )  # Envoy has them in an order of its own
    assert ours_said == envoys
    assert [len(each["cert_chain"]) for each in said[0]] == [2, 1, 1]
    for ours_section, envoys_section in zip(*dumps, strict=True):
        if not ours_section["@type"].endswith(("BootstrapConfigDump", "EndpointsConfigDump")):
            assert _without_times(ours_section) == _without_times(envoys_section)
    for page in pages:
        assert "PASSWORD" not in page
        assert not any(key in page or b64encode(key.encode()).decode()[4:-8] in page for key in keys)
    ours_text, envoys_text = (json.dumps(each[0]["bootstrap"]["static_resources"]) for each in dumps)
    assert ours_text == envoys_text


def _without_times(section: Any) -> Any:
    if isinstance(section, dict):
        return {key: _without_times(value) for key, value in section.items() if key != "last_updated"}
    return [_without_times(value) for value in section] if isinstance(section, list) else section
