"""What tls_inspector finds out about clients, beside Envoy: fingerprints, and why something is no TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.config import TYPES, bootstrap, file_log, network_filter, raw_listener
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.hellos import HELLOS
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.tcp_peer import TcpPeer
from tests.support.wait import until

PLAIN = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OPERATORS = (
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "DYNAMIC_METADATA(envoy.filters.listener.tls_inspector)",
    "REQUESTED_SERVER_NAME",
)
SAYS = network_filter("direct_response", "direct_response.v3.Config", response={"inline_string": "ok"})


def told(kind: Any, folder: Path, said: dict[str, bytes], **inspector: Any) -> list[str]:
    """What a proxy logs of clients that say these bytes, by their names, and what they hear."""
    port, log = free_port(), folder / f"{kind.name}.log"
    typed = {"@type": f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector", **inspector}
    listener = raw_listener(
        port,
        SAYS,
        listener_filters=[{"name": "envoy.filters.listener.tls_inspector", "typed_config": typed}],
        access_log=[file_log(str(log), " ".join(f"%{each}%" for each in OPERATORS) + "\n")],
    )
    seen = []
    with kind(bootstrap(free_port(), [listener], [])) as proxy:
        for count, (name, data) in enumerate(said.items()):
            with TcpPeer.connect(port) as peer:
                story = peer.send(data).listen().story
            until(lambda: log.exists() and log.read_text().count("\n") > count, name)  # noqa: B023
            seen.append(f"{name}: {story}")
        stats = proxy.stats()
        seen += [
            f"{name}: {value}" for name, value in sorted(stats.items()) if name.startswith("tls_inspector.")
        ]
    return seen + log.read_text().splitlines()


@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
@pytest.mark.parametrize(
    ("said", "inspector"),
    [
        (
            {**HELLOS, "plain text": PLAIN},
            {"enable_ja3_fingerprinting": True, "enable_ja4_fingerprinting": True},
        ),
        (
            {"plain text": PLAIN, "TLS": HELLOS["plain"]},
            {"close_connection_on_client_hello_parsing_errors": True},
        ),
        ({"too much": b"\x16\3\1\4\0\1\0\3\xfc" + bytes(300)}, {"max_client_hello_size": 256}),
    ],
    ids=["fingerprints", "closing", "too large"],
)
def test_what_it_finds(said: dict[str, bytes], inspector: dict[str, Any], tmp_path: Path) -> None:
    ours, envoys = (told(kind, tmp_path, said, **inspector) for kind in (Outrider, Envoy))
    assert ours == envoys
