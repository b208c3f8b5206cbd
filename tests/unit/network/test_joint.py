"""Two byte streams joined: order, half-close, backpressure, what is said too early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.network.joint import ByteEnd, Joint


class End(ByteEnd):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    @property
    def got(self) -> bytes:
        return b"".join(each for each in self.told if isinstance(each, bytes))

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def end_writing(self) -> None:
        self.told.append("end")

    def hold_reading(self) -> None:
        self.told.append("hold")

    def release_reading(self) -> None:
        self.told.append("release")


@pytest.fixture
def near() -> End:
    return End()


@pytest.fixture
def far() -> End:
    return End()


def test_bytes_go_to_the_other_end_in_order(near: End, far: End) -> None:
    joint = Joint(near)
    joint.join(far)
    for data in (b"a", b"b"):
        joint.from_near(data)
        joint.from_far(data.upper())
    assert (far.told, near.told) == ([b"a", b"b"], [b"A", b"B"])


def test_what_is_said_before_the_other_end_is_there_waits_and_goes_first(near: End, far: End) -> None:
    joint = Joint(near)
    joint.from_near(b"early ")
    joint.from_near(b"bytes")  # of the read under way when it was told to stop
    assert near.told == ["hold"]
    joint.join(far)
    joint.from_near(b", later")
    assert far.told == [b"early bytes", b", later"]
    assert near.told == ["hold", "release"]


def test_many_small_pieces_wait_as_one(near: End, far: End) -> None:
    """A hundred thousand: copied whole for each they would be five gigabytes."""
    joint = Joint(near)
    joint.early_bytes = 1_000_000
    for _ in range(100_000):
        joint.from_near(b"x")
    joint.join(far)
    assert far.told == [b"x" * 100_000] and type(far.told[0]) is bytes


def test_an_early_end_is_passed_on_behind_the_bytes(near: End, far: End) -> None:
    joint = Joint(near)
    joint.from_near(b"all")
    joint.end_near()
    joint.join(far)
    assert far.told == [b"all", "end"]
    assert not joint.is_over
    joint.from_far(b"answer")
    joint.end_far()
    assert near.got == b"answer" and near.told[-1] == "end"
    assert joint.is_over


def test_halves_end_one_by_one(near: End, far: End) -> None:
    joint = Joint(near)
    joint.join(far)
    joint.end_far()
    joint.from_near(b"still here")
    joint.end_near()
    assert near.told == ["end"]
    assert far.told == [b"still here", "end"]
    assert joint.is_over


def test_an_end_that_cannot_take_more_stops_the_other(near: End, far: End) -> None:
    joint = Joint(near)
    joint.join(far)
    joint.block_far(True)
    joint.block_far(True)
    joint.block_near(True)
    joint.block_far(False)
    joint.block_near(False)
    assert near.told == ["hold", "release"]
    assert far.told == ["hold", "release"]


def test_early_bytes_that_fill_the_other_end_keep_the_first_held(near: End) -> None:
    class Small(End):
        def write(self, data: bytes) -> None:
            End.write(self, data)
            joint.block_far(True)

    far = Small()
    joint = Joint(near)
    joint.from_near(b"much")
    joint.join(far)
    assert near.told == ["hold"]
    joint.block_far(False)
    assert near.told == ["hold", "release"]


def test_parted_ends_hear_nothing(near: End, far: End) -> None:
    joint = Joint(near)
    joint.join(far)
    joint.part()
    for said in (joint.from_near, joint.from_far):
        said(b"late")
    joint.end_near()
    joint.end_far()
    joint.block_near(True)
    joint.block_far(True)
    assert (near.told, far.told) == ([], [])


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["near", "far"]), st.binary(max_size=4)),
            st.sampled_from(["+", "-", "join"]),
        ),
        max_size=40,
    )
)
def test_nothing_is_lost_added_or_moved(steps: list[tuple[str, bytes] | str]) -> None:
    near, far = End(), End()
    joint = Joint(near)
    said = {"near": b"", "far": b""}
    joined = False
    for step in steps:
        if step == "join":
            if not joined:
                joint.join(far)
            joined = True
        elif isinstance(step, str):
            if joined:
                joint.block_far(step == "+")
        elif step[0] == "near" or joined:
            who, data = step
            said[who] += data
            (joint.from_near if who == "near" else joint.from_far)(data)
    if not joined:
        joint.join(far)
    assert (near.got, far.got) == (said["far"], said["near"])
    held = [each for each in near.told if isinstance(each, str)]
    assert held == ["hold", "release"] * (len(held) // 2) + ["hold"] * (len(held) % 2), "by turns"
    assert bool(len(held) % 2) == joint.far_blocked
