"""The corpus through one proxy, many cases at a time.

A case must have its upstream to itself, so the proxy gets as many *lanes* as cases are in flight: a listener, a cluster
and a recording upstream each, as ``envoy-plain.yaml`` or ``envoy-edge.yaml`` has them. What a lane shows is what run.py
would show, one case after the other. A verdict that is not Envoy's is looked at once more, alone and with more
patience, because a busy machine can make a case look silent.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from tests.h1_differential import compare, run
from tests.support.certs import Authority, Pair
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.tls_relay import TlsRelay

FOLDER = Path(__file__).resolve().parent
LANES = 16
QUIET_S, TIMEOUT_S = 0.3, 1.2  # as the stored results; see README.md
PATIENCE = 3.0
BOUND_S = 100.0  # for everything: a proxy that hangs must not hang the test
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"

Case = dict[str, Any]
Result = dict[str, Any]


def corpus() -> list[Case]:
    cases: list[Case] = json.loads((FOLDER / "corpus.json").read_text())["cases"]
    return cases


def reference(profile: str) -> dict[str, Result]:
    """What Envoy made of the corpus. profile: "plain", "edge"."""
    name = "envoy-1.40.0.json" if profile == "plain" else f"envoy-1.40.0-{profile}.json"
    results: dict[str, Result] = json.loads((FOLDER / name).read_text())["results"]
    return results


def bootstrap(profile: str, ports: list[tuple[int, int]], pair: Pair | None = None) -> dict[str, Any]:
    """``envoy-<profile>.yaml`` once per lane; ``ports``: (listen, upstream); pair: of listeners over TLS."""
    text = (FOLDER / f"envoy-{profile}.yaml").read_text().replace("@ADMIN@", str(free_port()))
    made: dict[str, Any] = {"admin": {}, "static_resources": {"listeners": [], "clusters": []}}
    for lane, (listen, upstream) in enumerate(ports):
        one = yaml.safe_load(text.replace("@LISTEN@", str(listen)).replace("@UPSTREAM@", str(upstream)))
        made["admin"] = one["admin"]
        listener, cluster = one["static_resources"]["listeners"][0], one["static_resources"]["clusters"][0]
        listener["name"] = f"in{lane}"
        cluster["name"] = cluster["load_assignment"]["cluster_name"] = f"up{lane}"
        chain = listener["filter_chains"][0]
        routes = chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"]
        routes[0]["route"]["cluster"] = f"up{lane}"
        if pair is not None:
            typed = {"@type": TLS, "common_tls_context": {"tls_certificates": [pair.config()]}}
            chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": typed}
        made["static_resources"]["listeners"].append(listener)
        made["static_resources"]["clusters"].append(cluster)
    return made


class Lanes:
    """The upstreams' side and the clients' side of a run; ``verdicts``: case → (class, reason). over_tls: what clients
    write goes to the proxy over TLS (and a client that ends its half ends the connection, as TLS has it)."""

    def __init__(
        self,
        proxy_class: type[ProxyProcess],
        cases: list[Case],
        lanes: int = LANES,
        over_tls: bool = False,
        profile: str = "plain",
    ) -> None:
        self.profile = profile
        self.reference = reference(profile)
        self.over_tls = over_tls
        self.proxy_class = proxy_class
        self.cases = cases
        self.lanes = lanes
        self.results: dict[str, Result] = {}
        self.verdicts: dict[str, tuple[str, str]] = {}

    def run(self) -> Counter[str]:
        """Run everything; the number of cases in each class."""
        asyncio.run(self._run())
        return Counter(verdict for verdict, _ in self.verdicts.values())

    async def _run(self) -> None:
        upstreams = [run.Upstream() for _ in range(self.lanes)]
        ports = [(free_port(), await upstream.start("127.0.0.1", 0)) for upstream in upstreams]
        authority = Authority()
        pair = authority.signs("front", dns=("t.test",)) if self.over_tls else None
        try:
            with self.proxy_class(bootstrap(self.profile, ports, pair)) as proxy, ExitStack() as relays:
                fronts = [port for port, _ in ports]
                if self.over_tls:
                    dials = ssl.create_default_context(cadata=authority.pem)
                    made = [TlsRelay(port, dials=dials, name="t.test") for port in fronts]
                    fronts = [relays.enter_context(relay).port for relay in made]
                async with asyncio.timeout(BOUND_S):
                    await self._all(upstreams, fronts)
                if proxy.process is not None and proxy.process.poll() is not None:
                    raise AssertionError(f"the proxy died:\n{proxy.output()[-4000:]}")
        finally:
            for upstream in upstreams:
                upstream.server.close()
                await upstream.hang_up()
            await asyncio.sleep(0.05)  # transports close one turn later

    async def _all(self, upstreams: list[Any], ports: list[int]) -> None:
        todo = list(reversed(self.cases))
        lanes = zip(ports, upstreams, strict=True)
        await asyncio.gather(*(self._lane(todo, port, upstream) for port, upstream in lanes))
        await self._look_again(ports[0], upstreams[0])

    async def _lane(self, todo: list[Case], port: int, upstream: Any) -> None:
        warm = {"id": "warm-up", "send": "GET / HTTP/1.1\r\nHost: t.test\r\n\r\n"}
        await run.run_case(warm, "127.0.0.1", port, upstream, QUIET_S, TIMEOUT_S)
        while todo:
            await self._case(todo.pop(), port, upstream, 1.0)

    async def _case(self, case: Case, port: int, upstream: Any, patience: float) -> None:
        result = await run.run_case(
            case, "127.0.0.1", port, upstream, QUIET_S * patience, TIMEOUT_S * patience
        )
        self.results[case["id"]] = result
        theirs = self.reference[case["id"]]
        self.verdicts[case["id"]] = compare.classify(case, theirs, result)

    async def _look_again(self, port: int, upstream: Any) -> None:
        for case in self.cases:
            if self.verdicts[case["id"]][0] in ("broken", "smuggling-risk", "laxer", "altered"):
                await self._case(case, port, upstream, PATIENCE)

    def summary(self) -> str:
        """One line of figures, then every case that is neither the same nor cosmetic."""
        counts = Counter(verdict for verdict, _ in self.verdicts.values())
        lines = [
            f"{len(self.verdicts)} cases: " + ", ".join(f"{name} {counts[name]}" for name in compare.ORDER)
        ]
        for name in compare.ORDER[:-2]:
            lines += [
                f"{name:15} {case:42} {why}"
                for case, (verdict, why) in self.verdicts.items()
                if verdict == name
            ]
        return "\n".join(lines)
