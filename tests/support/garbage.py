"""``python -m tests.support.garbage FILE -m MODULE ...`` runs a module whose reference cycles nobody clears away.

At each SIGUSR2 FILE gets what the collector would have found since the last one: a JSON object, type → how many. Objects
of the start are not among it.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType


def main() -> None:
    file, dash, module, *arguments = sys.argv[1:]
    assert dash == "-m", "usage: FILE -m MODULE ..."

    def report(number: int, frame: FrameType | None) -> None:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        found = Counter(type(each).__qualname__ for each in gc.garbage)
        gc.garbage.clear()
        gc.collect()
        gc.disable()
        whole = Path(file + ".new")
        whole.write_text(json.dumps(found))
        os.replace(whole, file)

    signal.signal(signal.SIGUSR2, report)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
