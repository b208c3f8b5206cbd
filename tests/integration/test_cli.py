"""The command line end to end: verbs, exit codes, the quick start, signals."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import proxy
from tests.support.client import Client, get, request
from tests.support.config import bootstrap
from tests.support.ports import free_port
from tests.support.process import ProxyProcess
from tests.support.upstream import Hold, Reset, Wait, reply

ROOT = Path(__file__).resolve().parents[2]
OUTRIDER = [sys.executable, "-m", "proxy"]


def outrider(*arguments: str, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OUTRIDER, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s
    )


@pytest.fixture
def good(tmp_path, simple):
    path = tmp_path / "good.json"
    path.write_text(json.dumps(simple))
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "static_resources:\n"
        "  listeners:\n"
        "    - nmae: x\n"
        "  clusters:\n"
        "    - name: a\n"
        "      dns_jitter: 1s\n"
        "      connect_timeout: soon\n"
    )
    return path


# -- verbs and exit codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(word):
    done = outrider(word)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"outrider {proxy.__version__} ")


@pytest.mark.parametrize(
    "arguments", [["validate", "FILE"], ["validate", "-c", "FILE"], ["run", "--mode", "validate", "-c", "FILE"]]
    + [["--mode", "validate", "-c", "FILE"]],
)  # fmt: skip
def test_a_good_file_is_ok_however_one_asks(good, arguments):
    done = outrider(*(str(good) if word == "FILE" else word for word in arguments))
    assert (done.returncode, done.stdout) == (0, f"configuration '{good}' OK\n"), done.stderr


@pytest.mark.parametrize("arguments", [["validate"], ["run", "-c"], ["--mode", "validate", "-c"]])
def test_a_bad_file_is_refused_with_all_its_errors_and_their_places(bad, arguments):
    done = outrider(*arguments, str(bad))
    assert done.returncode == 1
    assert done.stdout == ""
    places = [line.split(": ")[0] for line in done.stderr.splitlines()[:-1]]
    assert all(re.fullmatch(rf"{re.escape(str(bad))}:\d+:\d+", place) for place in places), done.stderr
    assert {place.split(":")[1] for place in places} >= {"3", "7"}
    assert re.fullmatch(r"configuration refused: \d+ errors?", done.stderr.splitlines()[-1])


def test_an_unsupported_field_is_named_and_not_ignored(tmp_path, simple):
    simple["static_resources"]["clusters"][0]["outlier_detection"] = {"consecutive_5xx": 3}
    path = tmp_path / "unsupported.json"
    path.write_text(json.dumps(simple))
    done = outrider("validate", str(path))
    assert done.returncode == 1
    assert "unsupported: static_resources.clusters[0].outlier_detection" in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["walk"], ["run"], ["run", "--no-such-flag"], ["validate"], ["validate", "--what"]]
)
def test_a_bad_command_line_is_exit_code_2(arguments):
    done = outrider(*arguments)
    assert done.returncode == 2
    assert done.stderr or done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_file_that_is_not_there_is_refused(verb, tmp_path):
    done = outrider(verb, "-c", str(tmp_path / "none.yaml"))
    assert done.returncode == 1
    assert "none.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_path_that_cannot_be_opened_is_exit_code_1(good, tmp_path):
    done = outrider("run", "-c", str(good), "--log-path", str(tmp_path / "no" / "log"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("outrider: --log-path cannot be opened: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(good, port, closed):
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *OUTRIDER, "run", "-c", str(good)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                assert get(port).status == 200
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()


def test_a_port_in_use_is_exit_code_1(good, start_outrider, simple, upstream):
    simple["static_resources"]["listeners"][0]["enable_reuse_port"] = False
    good.write_text(json.dumps(simple))
    start_outrider(simple)
    done = outrider("run", "-c", str(good))
    assert done.returncode == 1
    assert "cannot bind" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_the_ready_bootstraps_are_good(path):
    done = outrider("validate", str(path))
    assert (done.returncode, done.stderr) == (0, "")


# -- running -----------------------------------------------------------------------------------------------------


def test_without_a_verb_it_runs(start_outrider, simple, port):
    proxy = start_outrider(simple)  # the harness itself says "-c FILE" and no verb
    assert "run" not in proxy.argv
    assert get(port).status == 200


def test_the_command_line_names_the_node_before_the_file(start_outrider, simple, port):
    node = {"id": "file", "cluster": "file", "locality": {"region": "r", "zone": "file"}}
    flags = ["--service-node", "n", "--service-cluster", "c", "--service-zone", "z"]
    told = json.loads(start_outrider({**simple, "node": node}, *flags).admin("/server_info")[1])["node"]
    assert (told["id"], told["cluster"]) == ("n", "c")
    assert told["locality"] == {"region": "r", "zone": "z", "sub_zone": ""}


def test_meaningless_flags_give_one_warning(start_outrider, simple, port):
    proxy = start_outrider(simple, "--cpuset-threads", "--socket-mode", "600", "--enable-core-dump")
    assert get(port).status == 200
    warnings = [line for line in proxy.output().splitlines() if "no effect here" in line]
    assert warnings == ["outrider: warning: no effect here: --enable-core-dump, --socket-mode"]


class QuickStart(ProxyProcess):
    """outrider without a file."""

    name = "quick"

    def __init__(self, arguments: list[str], admin_port: int, folder: Path) -> None:
        super().__init__(
            [], bootstrap(admin_port, [], []), folder=folder, environment={"PYTHONPATH": str(ROOT)}
        )
        self.argv = [*OUTRIDER, "run", *arguments, "--admin", str(admin_port)]


def test_the_quick_start_needs_no_file(tmp_path, upstream, port):
    listen = ["--listen", f"127.0.0.1:{port}", "--upstream", f"http://127.0.0.1:{upstream.port}"]
    with QuickStart(listen, free_port(), tmp_path) as quick:
        assert get(port, "/hello").status == 200
        assert upstream.wait_for(1)[0].path == "/hello"
        assert quick.stats()["http.ingress_http.downstream_rq_2xx"] == 1
        assert quick.stop() == 0
    assert '"GET /hello HTTP/1.1" 200' in quick.output("stdout")


# -- leaving -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_what_runs(start_outrider, simple, port, upstream, number):
    upstream.script = [Hold(), reply(200, b"finished")]
    proxy = start_outrider(simple)
    with Client(port) as busy, Client(port) as idle:
        busy.send(request("GET", "/"))
        upstream.wait_for(1)
        proxy.signal(number)
        assert idle.is_closed(2)
        upstream.let_go()
        answer = busy.read()
        assert (answer.status, answer.body, answer.one("connection")) == (200, b"finished", "close")
    assert proxy.wait(5) == 0


def test_nothing_new_is_accepted_while_draining(start_outrider, simple, port, upstream):
    upstream.script = [Hold(), reply()]
    proxy = start_outrider(simple)
    with Client(port) as busy:
        busy.send(request("GET", "/"))
        upstream.wait_for(1)
        proxy.signal()
        proxy.wait_until_draining()
        with pytest.raises(ConnectionRefusedError):
            Client(port)
        upstream.let_go()
        assert busy.read().status == 200
    assert proxy.wait(5) == 0


def test_a_drain_ends_in_time(start_outrider, simple, port, upstream):
    upstream.script = [Wait(20.0), reply()]
    proxy = start_outrider(simple, "--drain-time-s", "1")
    with Client(port) as busy:
        busy.send(request("GET", "/"))
        upstream.wait_for(1)
        began = time.monotonic()
        proxy.signal()
        assert proxy.wait(10) == 0
        assert 0.8 < time.monotonic() - began < 4


def test_quitquitquit_is_a_first_signal(start_outrider, simple, port):
    proxy = start_outrider(simple)
    assert get(port).status == 200
    assert proxy.admin("/quitquitquit", "POST") == (200, "OK\n")
    assert proxy.wait(5) == 0


def test_a_dead_upstream_does_not_keep_it(start_outrider, simple, port, upstream):
    upstream.script = [Reset()]
    proxy = start_outrider(simple)
    assert get(port).status == 503
    proxy.signal()
    assert proxy.wait(5) == 0
