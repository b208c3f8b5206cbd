"""Secrets by SDS: shared by those who name them, read again when their files are others, forgotten when nobody uses them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.api.discovery import Rejected
from proxy.api.reader import Reader
from proxy.base.clock import Clock
from proxy.base.init import InitManager
from proxy.http.context import Node
from proxy.network.file_watch import FileWatcher
from proxy.stats.store import Store
from proxy.xds.resources import SECRET
from proxy.xds.secrets import DynamicSecret, SecretManager, watched_directories
from proxy.xds.sources import ConfigSources
from tests.support.config import Config
from tests.support.discovery import file_source, response, swap
from tests.support.fake_upstream import read

CONFIG = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"


class Follower:
    """Keeps the certificates that it was given; refuses "bad"."""

    def __init__(self) -> None:
        self.chains: list[bytes] = []

    def prepare(self, secret: Any, message: Any) -> Callable[[], None]:
        chain: bytes = message.tls_certificate.certificate_chain.inline_bytes
        if chain == b"bad":
            raise Rejected("bad")
        return lambda: self.chains.append(chain)


class World:
    """A manager on a loop; ``of`` finds the secret "cert" of a file."""

    def __init__(self, folder: Path) -> None:
        self.store = Store()
        self.source, self.chain = folder / "sds.json", folder / "chain.pem"
        self.chain.write_text("one")
        (folder / "key.pem").write_text("key")
        self.certificate: Config = {
            "certificate_chain": {"filename": str(self.chain)},
            "private_key": {"filename": str(folder / "key.pem")},
        }
        self.publish()
        self.watcher = FileWatcher(asyncio.get_running_loop())
        sources = ConfigSources(self.watcher, Clock())
        context: Any = type("Context", (), {"node": Node("id", "cluster")})
        unused: Any = object()
        sources.connect(unused, context)
        self.manager = SecretManager(sources, self.store, Clock())

    def publish(self) -> None:
        secret = {"name": "cert", "tls_certificate": self.certificate}
        swap(self.source, json.dumps(response(SECRET, secret)))

    def of(self, init: InitManager, follower: Follower) -> DynamicSecret:
        config: Reader = read(CONFIG, {"name": "cert", "sds_config": file_source(self.source)})
        secret = self.manager.dynamic(config, init)
        assert secret is not None and not config.errors.findings
        secret.follow(follower)
        return secret

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not done():
                await asyncio.sleep(0.005)


def on_a_loop(folder: Path, body: Callable[[World], Any]) -> None:
    async def run() -> None:
        world = World(folder)
        try:
            await body(world)
        finally:
            world.manager.close()
            world.watcher.close()

    asyncio.run(run())


def test_one_secret_for_all_who_name_it_until_nobody_does(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        first, second = Follower(), Follower()
        ready: list[str] = []
        for name, follower in (("a", first), ("b", second)):
            init = InitManager(name)
            secret = world.of(init, follower)
            init.initialize(lambda name=name: ready.append(name))  # type: ignore[misc]
        assert ready == ["a", "b"]
        assert len(world.manager.secrets) == 1
        assert first.chains == [b"one"], "the second came when it was there already"
        swap(world.chain, "two")
        await world.until(lambda: first.chains[-1:] == second.chains == [b"two"])
        secret.leave(first)
        assert world.manager.secrets
        secret.leave(second)
        assert not world.manager.secrets
        assert not world.watcher._directories

    on_a_loop(tmp_path, body)


def test_a_content_that_one_follower_cannot_use_changes_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        follower = Follower()
        init = InitManager("a")
        secret = world.of(init, follower)
        init.initialize(lambda: None)
        swap(world.chain, "bad")
        failed = world.store.counter("sds.cert.key_rotation_failed")
        await world.until(lambda: failed.value > 0)
        assert secret.message.tls_certificate.certificate_chain.inline_bytes == b"one"
        swap(world.chain, "three")
        await world.until(lambda: follower.chains == [b"one", b"three"])

    on_a_loop(tmp_path, body)


@pytest.mark.parametrize(
    ("fields", "directories"),
    [
        ({"tls_certificate": {"certificate_chain": {"inline_string": "x"}}}, ()),
        ({"tls_certificate": {"certificate_chain": {"filename": "/a/b/c"}, "private_key": {"filename": "/a/k"}}},
         ("/a/b", "/a")),
        ({"tls_certificate": {"certificate_chain": {"filename": "c"}}}, (".",)),
        ({"tls_certificate": {"certificate_chain": {"filename": "/a/b/c"}, "watched_directory": {"path": "/w"}}},
         ("/w",)),
        ({"validation_context": {"trusted_ca": {"filename": "/a/ca"}, "crl": {"filename": "/a/crl"}}}, ("/a",)),
        ({}, ()),
    ],
)  # fmt: skip
def test_where_a_rename_matters(fields: Config, directories: tuple[str, ...]) -> None:
    assert watched_directories(read(SECRET, {"name": "s", **fields}).message) == directories
