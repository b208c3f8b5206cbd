"""The pytest plugin (entry point ``pytest11``): files of cases are tests, and fixtures start proxies.

pytest loads this in every run where outrider is installed, so it must cost nothing until it is used: all else is imported
where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from proxy.testing.cases import CaseFile
    from proxy.testing.process import Proxy
    from proxy.testing.upstream import Upstream

CASES = ["*.outrider.yaml", "*.outrider.yml", "*.outrider.json"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """What an ini file may say."""
    parser.addini("outrider_cases", "files of cases, glob patterns", type="args", default=CASES)
    parser.addini("outrider_config", "the configuration of files of cases that name none", default="")
    parser.addini("outrider_expand_env", "replace ${NAME} in configurations of cases", type="bool")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    """A file of cases, by its name."""
    if not any(file_path.match(pattern) for pattern in parent.config.getini("outrider_cases")):
        return None
    from proxy.testing.cases import CaseFile

    return CaseFile.from_parent(parent, path=file_path)


@pytest.fixture
def outrider(request: pytest.FixtureRequest) -> Iterator[Callable[..., Proxy]]:
    """Starts proxies, and ends them after the test: ``outrider(config, clusters={name: upstream}, ...)``, with the
    parameters of ``proxy.testing.process.Proxy``. Relative paths, in a bootstrap too, begin at pytest's rootdir.

    What a proxy has logged is among the captured output of a test that fails. One that did not end well fails the test.
    """
    from proxy.testing.process import Proxy

    with ExitStack() as stack:

        def start(config: Any, *arguments: str, **options: Any) -> Proxy:
            __tracebackhide__ = True
            options.setdefault("cwd", request.config.rootpath)
            proxy = Proxy(config, *arguments, **options)
            stack.push(proxy)
            return proxy.start()

        yield start


@pytest.fixture
def outrider_upstream() -> Iterator[Upstream]:
    """An HTTP service on a free port that records what it is asked and answers 200 until told otherwise."""
    from proxy.testing.upstream import Upstream

    with Upstream() as server:
        yield server
