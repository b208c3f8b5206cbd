"""The bill of raw bytes: Python calls a chunk, each way, on a connection that is joined. Counted, not timed: see
``tests.budget.test_corridor``."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

import proxy
from tests.support.config import tcp_proxy
from tests.support.transcript import RawTranscript, ends_clean  # noqa: F401

#: the loop's call, the filter's, the joint's, the write; received bytes are counted in one place, and the turn is flushed
CALLS = 6
OURS = str(Path(proxy.__file__).parent)


def calls_of(say: Callable[[], None]) -> Counter[str]:
    """Our functions that are called while it runs."""
    counted: Counter[str] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            counted[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_qualname}"] += 1

    before = sys.getprofile()
    gc.disable()  # what it frees of other tests may have something to say
    sys.setprofile(count)
    try:
        say()
    finally:
        sys.setprofile(before)
        gc.enable()
    return counted


@pytest.mark.parametrize("size", [100, 50_000])
def test_calls_per_chunk(size: int) -> None:
    talk = RawTranscript(tcp_proxy("a"))
    talk.client(b"warm")
    talk.upstream().sends(b"warm")
    up = calls_of(lambda: talk.client(b"x" * size))
    down = calls_of(lambda: talk.upstream().sends(b"y" * size))
    assert len(talk.upstream().got) == len(talk.client.got) == size + len(b"warm")
    assert 0 < up.total() <= CALLS, up.most_common()
    assert 0 < down.total() <= CALLS, down.most_common()
