"""Asks the application what the kubelet asks of the sidecar. Python filters (docs/python-filters.md).

Success is Kubernetes': 200 to 399 of an httpGet, a connection of a tcpSocket, SERVING of a grpc health check.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from proxy.probes.config import cluster_name, timeout_s

if TYPE_CHECKING:
    from proxy.ext.filters.http.python.context import FilterContext
    from proxy.http.stream import ActiveStream

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
CHECK = "/grpc.health.v1.Health/Check"
AGENT = "kube-probe/outrider"


class AppProbes:
    """config: {"probers": by path, "host", "source": of config.Target}; what is no prober's path goes on (to a 404)."""

    def __init__(self, config: dict[str, Any], context: FilterContext) -> None:
        self.probers: dict[str, dict[str, Any]] = config["probers"]
        self.host: str = config["host"]
        self.source: str = config["source"]
        self.context = context
        self.succeeded = context.counter("succeeded")
        self.failed = context.counter("failed")

    async def decode_headers(self, stream: ActiveStream) -> None:
        """Answer for the application."""
        headers = stream.request_headers
        assert headers is not None
        prober = self.probers.get(headers.path.decode("latin-1").partition("?")[0])
        if prober is None:
            return
        agent = (headers.get(b"user-agent") or AGENT.encode()).decode("latin-1")
        why = await self.ask(prober, agent)
        stream.local_reply(503 if why else 200, f"{why or 'ok'}\n".encode())

    async def ask(self, prober: dict[str, Any], agent: str) -> str:
        """Why it failed, "" when it did not; counted."""
        why = await self._ask(prober, agent)
        counter = self.failed if why else self.succeeded
        counter.value += 1
        return why

    async def _ask(self, prober: dict[str, Any], agent: str) -> str:
        if "httpGet" in prober:
            return await self._http(prober, prober["httpGet"], agent)
        if "grpc" in prober:
            return await self._grpc(prober, prober["grpc"])
        return await self._tcp(prober, prober["tcpSocket"])

    async def _http(self, prober: dict[str, Any], asked: dict[str, Any], agent: str) -> str:
        authority = self._authority(asked)
        fields = {"user-agent": agent, "accept": "*/*"}
        for one in asked.get("httpHeaders") or ():
            name, value = str(one.get("name", "")).lower(), str(one.get("value", ""))
            if name == "host":
                authority = value
            elif name:
                fields[name] = value
        path = str(asked.get("path") or "/")
        path = path if path.startswith("/") else f"/{path}"
        answer = await self.context.request(
            cluster_name(prober), path, headers=fields, authority=authority, timeout_s=timeout_s(prober)
        )
        if 200 <= answer.status < 400:
            return ""
        return (
            f"the application answered {answer.status}" if answer.status else "the application did not answer"
        )

    async def _grpc(self, prober: dict[str, Any], asked: dict[str, Any]) -> str:
        service = str(asked.get("service") or "").encode()
        message = b"\x0a" + varint(len(service)) + service if service else b""
        answer = await self.context.request(
            cluster_name(prober),
            CHECK,
            method="POST",
            headers={"content-type": "application/grpc", "te": "trailers"},
            body=b"\0" + len(message).to_bytes(4, "big") + message,
            authority=self._authority(asked),
            timeout_s=timeout_s(prober),
        )
        if answer.status != 200:
            return "the application did not answer"
        return "" if answer.body[5:].startswith(SERVING) else "the application does not say SERVING"

    def _authority(self, asked: dict[str, Any]) -> str:
        """As the kubelet names the pod."""
        return f"[{self.host}]:{asked['port']}" if ":" in self.host else f"{self.host}:{asked['port']}"

    async def _tcp(self, prober: dict[str, Any], asked: dict[str, Any]) -> str:
        source = (self.source, 0) if self.source else None
        opening = asyncio.open_connection(self.host, int(asked["port"]), local_addr=source)
        try:
            _, writer = await asyncio.wait_for(opening, timeout_s(prober))
        except (OSError, TimeoutError) as error:
            return f"no connection to the application: {error or 'it took too long'}"
        writer.close()
        return ""


class HoldReadiness(AppProbes):
    """config: as above, and "path": of the sidecar's own readiness. That path goes on (to the sidecar's answer) only
    while every prober succeeds; all are asked at once."""

    def __init__(self, config: dict[str, Any], context: FilterContext) -> None:
        super().__init__(config, context)
        self.path: str = config["path"]

    async def decode_headers(self, stream: ActiveStream) -> None:
        """Answer 503 where the application is not ready."""
        headers = stream.request_headers
        assert headers is not None
        if headers.path.decode("latin-1").partition("?")[0] != self.path:
            return
        answers = await asyncio.gather(*(self.ask(each, AGENT) for each in self.probers.values()))
        whys = [f"{path}: {why}\n" for path, why in zip(self.probers, answers, strict=True) if why]
        if whys:
            stream.local_reply(503, "".join(whys).encode())


def varint(number: int) -> bytes:
    """protobuf's."""
    out = b""
    while number > 0x7F:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))
