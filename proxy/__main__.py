"""The front door: ``python -m proxy`` and the ``outrider`` command."""

from __future__ import annotations

import gc
import os
import sys


def open_standard_streams() -> None:
    """Give 0, 1 and 2 to /dev/null where the caller closed them: no socket may get such a number (libuv aborts)."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def main() -> int:
    """Run the command line; returns the exit code."""
    open_standard_streams()
    gc.disable()  # imports make no garbage worth looking for; cli.main enables it for most verbs
    from proxy.postponed import postpone
    from proxy.tuples import spare_the_compiler

    postpone()
    spare_the_compiler()
    from proxy.cli.main import main as command_line

    code = command_line(sys.argv[1:])
    gc.freeze()  # or the interpreter looks through everything once more when it ends, a tenth of a short life
    return code


if __name__ == "__main__":
    sys.exit(main())
