"""Joint: two byte streams joined into one: what comes from either goes to the other, in order and whole.

Knows no socket: its ends are ``ByteEnd`` objects (a client's connection, a host's, a stream that has become bytes), which
tell it what happens on their side. Three rules, the same both ways:

1. A half that ends is ended on the other side once all before it is written; the other half goes on.
2. An end that cannot take more stops the reading of the other. So what waits is what that end itself buffers, and what
   was read before it stopped.
3. The near end is there first. What it says until it is joined waits (one read of it, or as much as is allowed), and then
   goes first.

Closing, time and statistics are its owner's.
"""

from __future__ import annotations

from mypy_extensions import trait


@trait
class ByteEnd:
    """One end of a joint, as the joint sees it."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        """Bytes of the other end. Never refused: an end that has gone drops them."""
        raise NotImplementedError

    def end_writing(self) -> None:
        """The other end will say no more: end this half once all is written. Called once."""
        raise NotImplementedError

    def hold_reading(self) -> None:
        """Say nothing more for now."""
        raise NotImplementedError

    def release_reading(self) -> None:
        """Go on."""
        raise NotImplementedError


class Joint:
    """near: the client's end; far: the host's, None until ``join`` and after ``part``

    near_ended, far_ended: no more bytes come from there; waiting: what the near end has said before ``join``
    early_bytes: how much of that may wait before the near end is held
    """

    __slots__ = (
        *("early_bytes", "far", "far_blocked", "far_ended", "near", "near_ended", "near_held"),
        "waiting",
    )

    def __init__(self, near: ByteEnd) -> None:
        self.near: ByteEnd | None = near
        self.far: ByteEnd | None = None
        self.near_ended = self.far_ended = False
        self.near_held = self.far_blocked = False
        self.waiting: bytes | bytearray = b""
        self.early_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether both halves have ended."""
        return self.near_ended and self.far_ended

    def join(self, far: ByteEnd) -> None:
        """There is another end: it gets what waits, and the near end goes on."""
        self.far = far
        waiting, self.waiting = self.waiting, b""
        if waiting:
            far.write(bytes(waiting))
        if self.near_ended:
            far.end_writing()
        self._hold_near()

    def part(self) -> None:
        """Cut the links; what still comes from either side goes nowhere."""
        self.near = self.far = None
        self.waiting = b""

    # -- said by the near end ------------------------------------------------------------------------------------

    def from_near(self, data: bytes) -> None:
        """Bytes. Hot."""
        far = self.far
        if far is not None:
            far.write(data)
        elif self.near is not None:
            self._keep(data)
            self._hold_near()

    def _keep(self, data: bytes) -> None:
        """Until there is another end. Pieces may be many and small: all is not copied for each."""
        if not self.waiting:
            self.waiting = data
        elif isinstance(self.waiting, bytearray):
            self.waiting += data
        else:
            self.waiting = bytearray(self.waiting + data)

    def end_near(self) -> None:
        """It will say no more."""
        self.near_ended = True
        if self.far is not None:
            self.far.end_writing()

    def block_near(self, blocked: bool) -> None:
        """It cannot take more, or can again."""
        if self.far is None:
            return
        if blocked:
            self.far.hold_reading()
        else:
            self.far.release_reading()

    # -- said by the far end -------------------------------------------------------------------------------------

    def from_far(self, data: bytes) -> None:
        """Bytes. Hot."""
        near = self.near
        if near is not None:
            near.write(data)

    def end_far(self) -> None:
        """It will say no more."""
        self.far_ended = True
        if self.near is not None:
            self.near.end_writing()

    def block_far(self, blocked: bool) -> None:
        """It cannot take more, or can again."""
        self.far_blocked = blocked
        self._hold_near()

    def _hold_near(self) -> None:
        """The near end speaks while what it says can go somewhere."""
        near = self.near
        hold = self.far_blocked or (bool(self.waiting) and len(self.waiting) >= self.early_bytes)
        if near is None or hold == self.near_held:
            return
        self.near_held = hold
        if hold:
            near.hold_reading()
        else:
            near.release_reading()
