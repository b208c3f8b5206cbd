"""The command line of ``run``, without serving anything."""

from __future__ import annotations

import subprocess

import pytest

from proxy.cli import run
from proxy.server.options import DEFAULTS
from tests.support.envoy import ENVOY_MISSING, envoy_binary


def parse(*arguments: str):
    return run.parser().parse_args([*arguments])


def test_what_is_not_said_is_as_the_options_have_it():
    options = run.to_options(parse("-c", "x"))
    for name in ("drain_time_s", "mode", "concurrency", "log_level", "log_format", "file_flush_interval_ms"):
        assert getattr(options, name) == getattr(DEFAULTS, name), name


@pytest.mark.skipif(bool(ENVOY_MISSING), reason=ENVOY_MISSING)
def test_every_flag_of_envoy_parses():
    page = subprocess.run([envoy_binary(), "--help"], capture_output=True, text=True, timeout=20).stdout
    names = {word.strip("[],") for word in page.split() if word.startswith(("--", "[--"))}
    flags = {name for name in names if name[2:3].isalpha()} - {"--help", "--version", "--ignore_rest"}
    known = {name for action in run.parser()._actions for name in action.option_strings}
    assert len(flags) > 30
    assert sorted(flags - known) == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--socket-mode", "600"], "--socket-mode"),
        (["--concurrency", "4"], "--concurrency"),
        (["--restart-epoch", "1", "--base-id", "2", "--enable-core-dump"], "--enable-core-dump"),
        (["--base-id", "2", "--drain-strategy", "immediate"], "--base-id, --drain-strategy"),
        (["--parent-shutdown-time-s", "60"], "--parent-shutdown-time-s"),
    ],
)
def test_flags_without_meaning_give_one_warning(arguments, named, capsys):
    run._warn_of_meaningless(parse("-c", "x", *arguments))
    assert capsys.readouterr().err == f"outrider: warning: no effect here: {named}\n"


@pytest.mark.parametrize(
    "arguments", [["--disable-hot-restart"], ["--concurrency", "1"], ["--cpuset-threads"]]
)
def test_flags_that_ask_for_what_we_do_anyway_give_none(arguments, capsys):
    run._warn_of_meaningless(parse("-c", "x", *arguments))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "is needed"),
        (["--listen", "1"], "go together"),
        (["--upstream", "http://a:1"], "go together"),
        (["-c", "x", "--listen", "1", "--upstream", "http://a:1"], "cannot be combined"),
        (["--listen", "x", "--upstream", "http://a:1"], "'x' is not of the form [IP:]PORT"),
        (["--listen", "127.0.0.1:1_0", "--upstream", "http://a:1"], "is not of the form [IP:]PORT"),
        (["--listen", "70000", "--upstream", "http://a:1"], "70000"),
        (["--listen", "1", "--upstream", "https://a:1"], "http://host:port"),
        (["--listen", "1", "--upstream", "http://a:1/path"], "prefix_rewrite"),
    ],
)
def test_what_cannot_be_run_is_said_with_exit_code_2(arguments, reason, capsys):
    assert run.main(arguments) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--drain-time-s", "-1"], "'-1' is no number of seconds"),
        (["--drain-time-s", "nan"], "'nan' is no number of seconds"),
        (["--parent-shutdown-time-s", "inf"], "'inf' is no number of seconds"),
        (["--stats-tag", "x"], "misformatted stats-tag 'x'"),
        (["--stats-tag", "x:\udcff"], "is not UTF-8"),
        (["--service-node", "\udcff"], "is not UTF-8"),
    ],
)
def test_a_flag_with_a_wrong_value_is_a_bad_command_line(arguments, reason, capsys):
    with pytest.raises(SystemExit) as leaving:
        run.main(["-c", "x", *arguments])
    assert leaving.value.code == 2
    assert reason in capsys.readouterr().err
