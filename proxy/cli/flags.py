"""Flags of verbs that pods wait for, as a table: read at once where they are plain, by argparse where they are not.

argparse and what it imports take as long as a twentieth of the start; so it is only asked for help, and for what is
wrong or written in another way than ``--name VALUE``, ``--name=VALUE`` and ``-n VALUE``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

#: from what is given to the flag's value
Convert = Callable[[str], Any]


class Flag:
    """names: as they are written, the long one last; dest: the attribute that has its value
    convert: text to value, raising ValueError or argparse.ArgumentTypeError; None: the flag takes no value
    choices: the texts that it may be; repeats: its values make a list
    metavar, help: for --help; help None: it is not shown
    """

    __slots__ = ("choices", "convert", "default", "dest", "help", "metavar", "names", "repeats")

    def __init__(
        self,
        *names: str,
        dest: str = "",
        convert: Convert | None = str,
        default: Any = None,
        choices: Sequence[str] | None = None,
        repeats: bool = False,
        metavar: str | None = None,
        help: str | None = "",
    ) -> None:
        self.names = names
        self.dest = dest or next(name for name in names if name.startswith("--"))[2:].replace("-", "_")
        self.convert = convert
        self.default = default if convert is not None else False
        self.choices = choices
        self.repeats = repeats
        self.metavar = metavar
        self.help = help


def read_plain(flags: Sequence[Flag], arguments: Sequence[str]) -> SimpleNamespace | None:
    """The values of all flags; None where argparse has to look: for what is wrong, or written in another way."""
    known = {name: flag for flag in flags for name in flag.names}
    values: dict[str, Any] = {flag.dest: [] if flag.repeats else flag.default for flag in flags}
    left = iter(arguments)
    for argument in left:
        name, joined, text = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        flag = known.get(name)
        if flag is None:
            return None
        if flag.convert is None:
            if joined:
                return None
            values[flag.dest] = True
            continue
        if not joined:
            text = next(left, "-")
            if text.startswith("-"):
                return None
        elif text == "--":
            return None
        try:
            value = flag.convert(text)
        except Exception:  # argparse will say what is wrong
            return None
        if flag.choices is not None and value not in flag.choices:
            return None
        if flag.repeats:
            values[flag.dest].append(value)
        else:
            values[flag.dest] = value
    return SimpleNamespace(**values)


def argument_parser(flags: Sequence[Flag], prog: str, description: str) -> argparse.ArgumentParser:
    """The same for argparse."""
    import argparse

    parser = argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)
    for flag in flags:
        text = argparse.SUPPRESS if flag.help is None else flag.help or None
        if flag.convert is None:
            parser.add_argument(*flag.names, dest=flag.dest, action="store_true", help=text)
        else:
            parser.add_argument(
                *flag.names,
                dest=flag.dest,
                type=flag.convert,
                default=[] if flag.repeats else flag.default,
                choices=flag.choices,
                action="append" if flag.repeats else "store",
                metavar=flag.metavar,
                help=text,
            )
    return parser
