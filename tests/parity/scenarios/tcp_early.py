"""tcp_proxy: when a host is connected to (upstream_connect_mode), and what becomes of a client until it is."""

from __future__ import annotations

from tests.parity.scenarios.tcp import DOWNSTREAM_TLS, SAYS_HELLO, client, clients, host, proxied, trusting
from tests.parity.scenarios.tunnels import tunnelled
from tests.support.config import Config
from tests.support.parity.scenario import Raw, Scenario, told

WITH_DATA: Config = {"upstream_connect_mode": "ON_DOWNSTREAM_DATA", "max_early_data_bytes": 1024}
WITH_TLS: Config = {"upstream_connect_mode": "ON_DOWNSTREAM_TLS_HANDSHAKE", "max_early_data_bytes": 0}

SCENARIOS = [
    Scenario(
        name="tcp_with_data",
        title="upstream_connect_mode: with the client's first bytes; none comes of a client that says none",
        config=proxied(idle_timeout="0.5s", **WITH_DATA),
        drive=clients(
            client(b"hello", "read 5", b" again", "read 6", "end", "listen"),
            client("end", "listen"),
            client("listen"),
        ),
        upstreams={"up": SAYS_HELLO},
        lines=3,
        expect=told("b'hello again' end", "end", "end"),
    ),
    Scenario(
        name="tcp_with_tls",
        title="upstream_connect_mode: with the end of the client's TLS handshake",
        config=proxied(chain={"transport_socket": DOWNSTREAM_TLS}, **WITH_TLS),
        drive=client(b"in TLS", "read 6", "end", "listen", secure=trusting()),
        upstreams={"up": SAYS_HELLO},
        lines=1,
        expect=told("b'in TLS' end"),
    ),
    Scenario(
        name="tunnel_idle",
        title="tunneling_config: a host that never answers, and idle_timeout",
        config=tunnelled(more={"idle_timeout": "0.5s"}),
        drive=clients(client("listen"), client(b"nobody hears", "listen")),
        upstreams={"up": Raw(host("listen"))},
        lines=2,
        expect=told("end", "reset"),
    ),
]
