"""Certificates and roots by SDS from files: swapped while connections live, on both sides, for us and for Envoy."""

from __future__ import annotations

import json
import os
import ssl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_tls import Connection, get, running, secured, upstream_tls
from tests.support import client
from tests.support.certs import Authority, Pair
from tests.support.config import TYPES, Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.process import ProxyFailed
from tests.support.upstream import Upstream, reply
from tests.support.wait import until

CA = Authority()
OTHER_CA = Authority("Another CA")
FIRST = CA.signs("first", dns=("front.example",))
SECOND = CA.signs("second", dns=("front.example",), days=(-1, 0.5))
CLIENT = CA.signs("client", uri=("spiffe://mesh/client",))
STRANGER = OTHER_CA.signs("stranger", uri=("spiffe://mesh/client",))
TLS = f"{TYPES}.transport_sockets.tls.v3"


def swap(path: Path, text: str) -> None:
    """As careful people do: written aside, then renamed."""
    aside = path.with_name(path.name + ".new")
    aside.write_text(text)
    aside.rename(path)


def file_source(path: Path, **more: Any) -> Config:
    return {"path_config_source": {"path": str(path), **more}, "resource_api_version": "V3"}


def secrets(*found: Config) -> str:
    return json.dumps({"resources": [{"@type": f"{TLS}.Secret", **each} for each in found]})


def of_files(chain: Path, key: Path, **more: Any) -> Config:
    return {
        "tls_certificate": {
            "certificate_chain": {"filename": str(chain)},
            "private_key": {"filename": str(key)},
            **more,
        }
    }


def downstream(**common: Any) -> Config:
    more = {"require_client_certificate": True} if "needs_client" in common else {}
    common.pop("needs_client", None)
    typed = {"@type": f"{TLS}.DownstreamTlsContext", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def shown_name(connection: Connection) -> str:
    connection.connect()
    certificate: Any = connection.sock.getpeercert()
    connection.close()
    return dict(pair[0] for pair in certificate["subject"])["commonName"]


def name_at(port: int) -> str:
    """The common name of the certificate that a new handshake shows, "" when there is none."""
    try:
        return shown_name(Connection(port, ssl.create_default_context(cadata=CA.pem)))
    except OSError:
        return ""


def a_listener(port: int, transport_socket: Config) -> Config:
    return secured(http_listener(port, [virtual_host([route_to("up")])]), transport_socket)


def test_certificates_are_renewed_and_bad_ones_are_not_taken(
    kind: type[Outrider] | type[Envoy], tmp_path: Path
) -> None:
    port = free_port()
    chain, key, source = tmp_path / "chain.pem", tmp_path / "key.pem", tmp_path / "sds.yaml"
    chain.write_text(FIRST.certificate)
    key.write_text(FIRST.key)
    source.write_text(secrets({"name": "cert", **of_files(chain, key)}))
    by_sds = downstream(
        tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": file_source(source)}]
    )
    with Upstream([reply(200, b"hello")]) as up:
        with running([a_listener(port, by_sds)], [cluster("up", up.port)], kind) as proxy:
            lives_on = Connection(port, ssl.create_default_context(cadata=CA.pem))
            assert get(lives_on) == (200, b"hello")
            assert name_at(port) == "first"
            swap(chain, SECOND.certificate)  # the key is still the old one
            proxy.wait_for_stat("sds.cert.key_rotation_failed", 1)
            assert name_at(port) == "first"
            swap(key, SECOND.key)
            factory = f"listener.127.0.0.1_{port}.server_ssl_socket_factory"
            proxy.wait_for_stat(f"{factory}.ssl_context_update_by_sds", 2)
            assert name_at(port) == "second"
            ends = f"listener.127.0.0.1_{port}.ssl.certificate.cert.expiration_unix_time_seconds"
            assert proxy.stats()[ends] == int(SECOND.parsed.not_valid_after_utc.timestamp())
            assert get(lives_on) == (200, b"hello")
            lives_on.close()
            # the source itself: what is no secret, another name, a file that is not there, no YAML
            swap(source, secrets())
            proxy.wait_for_stat("sds.cert.update_rejected", 1)
            swap(source, secrets({"name": "other", **of_files(chain, key)}))
            proxy.wait_for_stat("sds.cert.update_rejected", 2)
            swap(source, secrets({"name": "cert", **of_files(tmp_path / "nowhere", key)}))
            proxy.wait_for_stat("sds.cert.update_rejected", 3)
            swap(source, "{")
            proxy.wait_for_stat("sds.cert.update_failure", 1)
            assert name_at(port) == "second"
            swap(source, secrets({"name": "cert", "tls_certificate": FIRST.config()}))
            proxy.wait_for_stat("sds.cert.update_success", 2)
            assert name_at(port) == "first"
            assert proxy.stats()["sds.cert.update_attempt"] == 6
            page = json.loads(proxy.admin("/config_dump")[1])
            (dump,) = (each for each in page["configs"] if each["@type"].endswith("SecretsConfigDump"))
            (shown,) = dump["dynamic_active_secrets"]
            assert shown["name"] == shown["secret"]["name"] == "cert"
            assert shown["secret"]["tls_certificate"]["private_key"] == {"inline_string": "[redacted]"}
            (context,) = json.loads(proxy.admin("/certs")[1])["certificates"]
            assert [each["path"] for each in context["cert_chain"]] == ["<inline>"]


def test_the_swap_of_a_kubernetes_volume(kind: type[Outrider] | type[Envoy], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()

    def publish(pair: Pair, version: str) -> None:
        """As the kubelet does: files in a folder of their own, links to ..data, which is then renamed over."""
        folder = volume / version
        folder.mkdir()
        (folder / "tls.crt").write_text(pair.certificate)
        (folder / "tls.key").write_text(pair.key)
        (volume / "..tmp").symlink_to(version)
        os.rename(volume / "..tmp", volume / "..data")

    publish(FIRST, "v1")
    for name in ("tls.crt", "tls.key"):
        (volume / name).symlink_to(f"..data/{name}")
    ports = [free_port(), free_port()]
    listeners = []
    for port, more in zip(ports, ({}, {"watched_directory": {"path": str(volume)}}), strict=True):
        source = tmp_path / f"sds-{port}.yaml"
        source.write_text(
            secrets({"name": "cert", **of_files(volume / "tls.crt", volume / "tls.key", **more)})
        )
        by_sds = downstream(
            tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": file_source(source)}]
        )
        listeners.append(a_listener(port, by_sds) | {"name": f"listener-{port}"})
    with running(listeners, [cluster("up", free_port())], kind):
        assert [name_at(port) for port in ports] == ["first", "first"]
        publish(SECOND, "v2")
        for port in ports:
            until(lambda port=port: name_at(port) == "second", "the new certificate")  # type: ignore[misc]


def test_roots_of_a_watched_directory(kind: type[Outrider] | type[Envoy], tmp_path: Path) -> None:
    """And a directory that is not there rejects the secret."""
    roots, watched = tmp_path / "roots.pem", tmp_path / "watched"
    watched.mkdir()
    roots.write_text(CA.pem)
    listeners, ports = [], [free_port(), free_port()]
    for port, directory in zip(ports, (watched, tmp_path / "nowhere"), strict=True):
        source = tmp_path / f"{port}.yaml"
        validation = {
            "trusted_ca": {"filename": str(roots)},
            "watched_directory": {"path": str(directory)},
        }
        source.write_text(secrets({"name": f"roots-{directory.name}", "validation_context": validation}))
        by_sds = downstream(
            tls_certificates=[FIRST.config()],
            validation_context_sds_secret_config={
                "name": f"roots-{directory.name}",
                "sds_config": file_source(source),
            },
            needs_client=True,
        )
        listeners.append(a_listener(port, by_sds) | {"name": f"listener-{port}"})
    clients = [ssl.create_default_context(cadata=CA.pem) for _ in range(2)]
    for context, pair in zip(clients, (CLIENT, STRANGER), strict=True):
        context.load_cert_chain(*pair.write(tmp_path, "client"))

    def are_served() -> list[bool]:
        served = []
        for context in clients:
            with closing(Connection(ports[0], context)) as connection:
                try:
                    served.append(get(connection)[0] == 200)
                except OSError:
                    served.append(False)
        return served

    with Upstream([reply(200, b"hello")]) as up:
        with running(listeners, [cluster("up", up.port)], kind) as proxy:
            assert proxy.stats()["sds.roots-nowhere.update_rejected"] == 1
            assert are_served() == [True, False]
            swap(roots, OTHER_CA.pem)  # in another directory than the one that is watched
            swap(watched / "anything", "")
            scope = f"listener.127.0.0.1_{ports[0]}.server_ssl_socket_factory"
            proxy.wait_for_stat(f"{scope}.ssl_context_update_by_sds", 2)
            assert are_served() == [False, True]


def test_a_listener_without_its_certificate_closes_connections(
    kind: type[Outrider] | type[Envoy], tmp_path: Path
) -> None:
    port, source = free_port(), tmp_path / "sds.yaml"
    source.write_text(secrets({"name": "cert", **of_files(tmp_path / "not", tmp_path / "yet")}))
    by_sds = downstream(
        tls_certificate_sds_secret_configs=[{"name": "cert", "sds_config": file_source(source)}]
    )
    with running([a_listener(port, by_sds)], [cluster("up", free_port())], kind) as proxy:
        assert name_at(port) == ""
        factory = f"listener.127.0.0.1_{port}.server_ssl_socket_factory"
        proxy.wait_for_stat(f"{factory}.downstream_context_secrets_not_ready", 1)
        assert json.loads(proxy.admin("/certs")[1])["certificates"] == []
        swap(source, secrets({"name": "cert", "tls_certificate": FIRST.config()}))
        until(lambda: name_at(port) == "first", "the certificate")


def test_roots_of_both_sides_are_renewed(kind: type[Outrider] | type[Envoy], tmp_path: Path) -> None:
    """A client's certificate is asked for, and believed by roots that come by SDS and rules that do not."""
    front, back = free_port(), free_port()
    roots, server = tmp_path / "roots.yaml", tmp_path / "server.yaml"

    def trusted(authority: Authority) -> str:
        return secrets(
            {"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": authority.pem}}}
        )

    roots.write_text(trusted(CA))
    server.write_text(secrets({"name": "default", "tls_certificate": FIRST.config()}))
    combined = {
        "default_validation_context": {
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": "spiffe://mesh/"}}]
        },
        "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": file_source(roots)},
    }
    mutual = downstream(
        tls_certificate_sds_secret_configs=[{"name": "default", "sds_config": file_source(server)}],
        combined_validation_context=combined,
        needs_client=True,
    )
    to_back = upstream_tls(
        common={
            "tls_certificates": [CLIENT.config()],
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": file_source(roots)},
        }
    )
    plain = http_listener(front, [virtual_host([route_to("back")])]) | {"name": "plain"}
    inner = a_listener(back, mutual) | {"name": "mutual"}
    with Upstream([reply(200, b"hello")]) as up:
        clusters = [cluster("back", back, transport_socket=to_back), cluster("up", up.port)]
        with running([plain, inner], clusters, kind) as proxy:
            assert client.get(front).status == 200
            before = proxy.stats()[
                f"listener.127.0.0.1_{back}.server_ssl_socket_factory.ssl_context_update_by_sds"
            ]
            swap(roots, trusted(OTHER_CA))
            proxy.wait_for_stat("sds.ROOTCA.update_success", 2)
            proxy.wait_for_stat(
                f"listener.127.0.0.1_{back}.server_ssl_socket_factory.ssl_context_update_by_sds", before + 1
            )
            old = Connection(back, ssl.create_default_context(cadata=CA.pem))
            old.secure.load_cert_chain(*CLIENT.write(tmp_path, "client"))
            with closing(old), pytest.raises(OSError):
                get(old)
            stranger = Connection(back, ssl.create_default_context(cadata=CA.pem))
            stranger.secure.load_cert_chain(*STRANGER.write(tmp_path, "stranger"))
            with closing(stranger):
                assert get(stranger) == (200, b"hello")


def test_static_secrets_by_name(kind: type[Outrider] | type[Envoy], tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    named = downstream(tls_certificate_sds_secret_configs=[{"name": "cert"}])
    config = bootstrap(admin, [a_listener(port, named)], [cluster("up", free_port())])
    config["static_resources"]["secrets"] = [
        {"name": "cert", "tls_certificate": FIRST.config()},
        {"name": "unused", "validation_context": {"trusted_ca": {"inline_string": CA.pem}}},
    ]
    with kind(config) as proxy:
        assert name_at(port) == "first"
        page = json.loads(proxy.admin("/config_dump")[1])
        (dump,) = (each for each in page["configs"] if each["@type"].endswith("SecretsConfigDump"))
        assert [each["name"] for each in dump["static_secrets"]] == ["cert", "unused"]


@pytest.mark.parametrize(
    "config",
    [
        {"name": "nobody"},
        {"name": "x", "sds_config": {"path_config_source": {"path": "/nowhere/at/all"}}},
    ],
)
def test_what_is_not_there_is_refused_at_once(
    kind: type[Outrider] | type[Envoy], config: Config, tmp_path: Path
) -> None:
    by_sds = downstream(tls_certificate_sds_secret_configs=[config])
    with pytest.raises(ProxyFailed):
        kind(
            bootstrap(free_port(), [a_listener(free_port(), by_sds)], [cluster("up", free_port())]),
            folder=tmp_path,
        ).start()
