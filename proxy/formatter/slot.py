"""What an operator compiles to: a Slot, the getter of one value and the kind of that value.

A getter is called once per line with the StreamInfo and returns the value, or ``absent`` (given when it was made) when
there is none. Values are bytes as they came from the wire; escaping is the formatter's business, never a getter's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from proxy.base.clock import Clock
from proxy.base.ids import Ids
from proxy.base.stream_info import StreamInfo
from proxy.formatter.syntax import Command

Getter = Callable[[StreamInfo], Any]

TEXT: Final = "text"  # bytes or absent; a JSON string
COUNT: Final = "count"  # int, always there
NUMBER: Final = "number"  # int or absent
DYNAMIC: Final = "dynamic"  # bytes, or anything JSON can say, or absent


class Slot(NamedTuple):
    """A compiled operator."""

    kind: str
    get: Getter


class ReplyBody:
    """%LOCAL_REPLY_BODY% of the one format that it was made for, while that format runs."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = b""


class FormatContext:
    """What a format may read besides the stream.

    environ, hostname: read while the format is compiled, never later
    clock: for times of streams that have not ended; ids: for %UNIQUE_ID%
    log_type: %ACCESS_LOG_TYPE%; "": what the stream says, as in access logs
    reply: where formats of bodies find the body that they change; None elsewhere
    """

    __slots__ = ("clock", "environ", "hostname", "ids", "log_type", "reply")

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        hostname: str | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        log_type: str = "NotSet",
    ) -> None:
        self.environ = os.environ if environ is None else environ  # noqa: TID251 (when nothing is injected)
        self.hostname = os.uname().nodename if hostname is None else hostname
        self.clock = Clock() if clock is None else clock
        self.ids = Ids() if ids is None else ids
        self.log_type = log_type
        self.reply: ReplyBody | None = None

    def for_reply(self) -> FormatContext:
        """The same for another format of a local reply, with a reply of its own."""
        return FormatContext(self.environ, self.hostname, self.clock, self.ids)


Make = Callable[[Command, FormatContext, Any], Slot]


class Operator(NamedTuple):
    """A line of the operator table. argument: "none", "optional" or "required"."""

    make: Make
    argument: str = "none"
    takes_length: bool = False

    def check(self, command: Command) -> None:
        """Raise ValueError when the command is not spelled as the operator wants it."""
        name = command.name
        if self.argument == "none" and not self.takes_length:
            if command.argument or command.max_length is not None:
                raise ValueError(f"{name} does not take any parameters or length")
            return
        if self.argument == "required" and not command.argument:
            raise ValueError(f"{name} requires parameters")
        if command.max_length is not None and not self.takes_length:
            raise ValueError(f"{name} does not allow length to be specified.")
