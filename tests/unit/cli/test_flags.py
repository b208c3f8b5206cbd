"""proxy.cli.flags: what is read at once is what argparse would have read; everything else is left to it."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli import run
from proxy.cli.flags import Flag, argument_parser, read_plain

NAMES = [name for flag in run.FLAGS for name in flag.names]
VALUES = [
    "",
    "1",
    "0.5",
    "x",
    "a:b",
    "serve",
    "validate",
    "v6",
    "immediate",
    "-1",
    "--",
    "-c",
    "=",
    "a=b",
    "\udcff",
]


def by_argparse(arguments: list[str]) -> dict[str, Any] | None:
    parser = run.parser()
    parser.exit_on_error = False

    def refuse(message: str) -> None:
        raise argparse.ArgumentError(None, message)

    parser.error = refuse  # type: ignore[method-assign, assignment]
    try:
        return vars(parser.parse_args(arguments))
    except (argparse.ArgumentError, argparse.ArgumentTypeError):
        return None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(NAMES)),
            st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)),
            st.builds(
                lambda name, value: (f"{name}={value}",), st.sampled_from(NAMES), st.sampled_from(VALUES)
            ),
            st.tuples(st.sampled_from([*VALUES, "--conf", "-cx", "-lx", "--mod=serve", "positional"])),
        ),
        max_size=4,
    )
)
def test_what_is_read_is_what_argparse_reads(parts: list[tuple[str, ...]]) -> None:
    arguments = [each for part in parts for each in part]
    plain = read_plain(run.FLAGS, arguments)
    if plain is not None:
        assert vars(plain) == by_argparse(arguments)


@pytest.mark.parametrize(
    "line",
    [
        "-c envoy.yaml",
        "--config-path envoy.yaml --log-level debug --concurrency 2",
        "--config-path=envoy.yaml --drain-time-s=5 --disable-hot-restart --base-id 3",
        "-c x --mode validate --stats-tag a:b --stats-tag c:d --allow-unknown-fields",
        "-c x --supervise --component-log-level main:info,admin:debug -l warning",
    ],
)
def test_the_usual_command_lines_need_no_argparse(line: str) -> None:
    plain = read_plain(run.FLAGS, line.split())
    assert plain is not None and vars(plain) == by_argparse(line.split())


def test_a_list_is_made_anew_each_time() -> None:
    flags = (Flag("--tag", repeats=True),)
    for _ in range(2):
        plain = read_plain(flags, ["--tag", "a"])
        assert plain is not None and plain.tag == ["a"]
        assert argument_parser(flags, "x", "").parse_args(["--tag", "a"]).tag == ["a"]
