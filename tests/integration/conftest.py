"""Real sockets, one worker, ports of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.config import Config, bootstrap, cluster, http_listener, route_to, virtual_host
from tests.support.envoy import ENVOY_MISSING, Envoy
from tests.support.outrider import Outrider
from tests.support.ports import free_port
from tests.support.upstream import Upstream


class StartOutrider(Protocol):
    """Starts outrider on a bootstrap; it is stopped, and must end with 0, when the test is over."""

    def __call__(self, config: Config, *arguments: str, **options: Any) -> Outrider: ...


@pytest.fixture
def start_outrider(tmp_path: Path) -> Iterator[StartOutrider]:
    with ExitStack() as stack:
        count = 0

        def start(config: Config, *arguments: str, **options: Any) -> Outrider:
            nonlocal count
            folder = tmp_path / f"outrider-{(count := count + 1)}"
            folder.mkdir()
            return stack.enter_context(Outrider(config, arguments, folder=folder, **options).start())

        yield start


@pytest.fixture(
    params=[
        Outrider,
        pytest.param(
            Envoy, marks=[pytest.mark.parity, pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)]
        ),
    ]
)
def kind(request: pytest.FixtureRequest) -> type[Outrider] | type[Envoy]:
    """The proxy that a test runs: what holds for us holds for Envoy."""
    chosen: type[Outrider] | type[Envoy] = request.param
    return chosen


@pytest.fixture
def port() -> int:
    """A free port to listen on."""
    return free_port()


@pytest.fixture
def simple(port: int, upstream: Upstream) -> Config:
    """Everything on ``port`` goes to ``upstream``."""
    return bootstrap(
        free_port(),
        [http_listener(port, [virtual_host([route_to("up")])])],
        [cluster("up", upstream.port)],
    )
