"""Every fact that an operator reads is put there by something: an operator without its value must not be accepted."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from proxy.base.stream_info import ConnectionInfo, StreamInfo

PROXY = Path(__file__).resolve().parents[3] / "proxy"
#: facts that can have no value here, with the reason
NEVER: dict[str, str] = {}
SLOTS = {*StreamInfo.__slots__, *ConnectionInfo.__slots__}


def trees(folder: Path) -> list[tuple[Path, ast.Module]]:
    files = [file for file in folder.rglob("*.py") if file.name != "stream_info.py"]
    return [(file, ast.parse(file.read_text())) for file in files]


def read_by_operators() -> set[str]:
    """Slots that the formatter names: as attributes, or in words for attrgetter ("info.local_address")."""
    found: set[str] = set()
    for _, tree in trees(PROXY / "formatter"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.rpartition(".")[2])
    return found & SLOTS


@cache
def assigned() -> set[str]:
    """What anything in proxy/ outside stream_info.py stores in a stream or in its ``info``."""
    return {
        node.attr
        for file, tree in trees(PROXY)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and _is_stream(node.value, file)
    }


def _is_stream(node: ast.expr, file: Path) -> bool:
    """``stream``, ``request.stream``, ``self.info`` ...; ``self`` in the stream's own files."""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("stream", "info") or (name == "self" and file.name.startswith("stream"))


def given_at_birth() -> set[str]:
    """What the constructors take: connection_id, remote_address, local_address, started_at, info, start_time."""
    kinds = (StreamInfo, ConnectionInfo)
    return {name for kind in kinds for name in kind.__init__.__code__.co_varnames[1:]}


def test_every_fact_that_is_read_is_assigned() -> None:
    read = read_by_operators()
    assert {"request_wire_bytes", "filter_chain_name", "upstream_pool_wait_s", "local_address"} <= read
    assert read - assigned() - given_at_birth() - NEVER.keys() == set()
    assert not NEVER.keys() & assigned(), "it has a value now: take it out of NEVER"


def test_no_fact_is_kept_for_nobody() -> None:
    """A slot that nothing but its own class stores holds a default for ever."""
    assert SLOTS - assigned() - given_at_birth() - NEVER.keys() == set()
