"""The rehearsal beside a proxy that really runs: the same requests, what each says in the same words."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.api.load import load_bootstrap
from proxy.cli.main import main
from proxy.explain.engine import Ask, Engine, Outcome
from tests.support.config import Config


def engine_of(config: Config, folder: Path, **options: Any) -> Engine:
    """A bootstrap rehearsed."""
    file = folder / "rehearsed.json"
    file.write_text(json.dumps(config))
    return Engine(load_bootstrap(str(file)), {}, **options)


def ask_of(path: str, fields: list[tuple[str, str]], host: str, answer: list[tuple[str, str]]) -> Ask:
    """A GET as tests send it, and the fields of the host's answer."""
    sent = [(name, value.encode("latin-1").decode("utf-8", "surrogateescape")) for name, value in fields]
    return Ask(path, host, headers=sent, response_headers=answer)


def _latin(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """As the test client shows bytes."""
    return [(name, value.encode("utf-8", "surrogateescape").decode("latin-1")) for name, value in pairs]


def told(outcome: Outcome, left_out: frozenset[str]) -> tuple[Any, ...]:
    """(status, cluster if a host was asked, (path, host, fields) upstream, response fields)."""
    assert outcome.response is not None, outcome.held
    seen = None
    if outcome.upstream is not None:
        rest = _latin([(name, value) for name, value in outcome.upstream.fields if name != "host"])
        seen = (outcome.upstream.path, outcome.upstream.get("host") or "", rest)
    cluster = outcome.stream.cluster_name.decode() if seen is not None and outcome.stream else ""
    fields = [pair for pair in outcome.response.fields if pair[0] not in left_out]
    return outcome.response.status, cluster, seen, _latin(fields)


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def outrider(*arguments: object, code: int = 0) -> Done:
    """A command as the console script runs it, in this process; it must end with ``code``."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        done = Done(main(list(map(str, arguments))), out.getvalue(), err.getvalue())
    assert done.returncode == code, done.stderr + done.stdout
    return done
