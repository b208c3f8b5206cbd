"""proxy.postponed: modules that are read when somebody asks them something. Each case runs in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.postponed import SELDOM

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, folder: Path | None = None) -> str:
    """What it prints."""
    paths = [str(ROOT), *([str(folder)] if folder is not None else [])]
    start = f"import sys\nsys.path[:0] = {paths!r}\nfrom proxy.postponed import Postponed, postpone\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start + code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_of_a_start_wakes_them(tmp_path: Path) -> None:
    file = tmp_path / "envoy.json"
    file.write_text('{"static_resources": {}}')
    code = f"""
for name in {SELDOM!r}:
    sys.modules.pop(name, None)  # what an editable install has imported
postpone()
from proxy.cli.main import main
main(["validate", "-c", {str(file)!r}])
import uvloop
print([name for name in {SELDOM!r} if type(sys.modules[name]) is not Postponed])
"""
    assert run(code).splitlines()[-1] == "[]"


def test_nor_does_being_ready(tmp_path: Path) -> None:
    """Where handlers of signals are added, which uvloop asks inspect about."""
    file = tmp_path / "envoy.json"
    file.write_text('{"static_resources": {}}')
    code = f"""
import os
for name in {SELDOM!r}:
    sys.modules.pop(name, None)
postpone()
import proxy.server.main, proxy.server.server
def ready(parts):
    print([name for name in {SELDOM!r} if type(sys.modules[name]) is not Postponed], flush=True)
    os._exit(0)
proxy.server.server.import_later = ready
from proxy.cli.main import main
main(["run", "-c", {str(file)!r}])
"""
    assert run(code).splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "ask",
    [
        "import waits\nassert type(waits) is Postponed\nassert waits.value == 5",
        "from waits import value\nassert value == 5",
        "import waits, importlib\nassert importlib.import_module('waits').value == 5",
    ],
)
def test_who_asks_has_it_read_once(ask: str, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("print('read')\nvalue = 5\n")
    code = f"postpone(('waits',))\nprint('before')\n{ask}\nimport waits\nassert type(waits) is type(sys)\nprint(waits.value)"
    assert run(code, tmp_path).split() == ["before", "read", "5"]


def test_what_it_does_not_have_is_an_error_as_ever(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("value = 5\n")
    code = """
postpone(("waits", "there_is_no_such_module"))
import waits
try:
    waits.other
except AttributeError as error:
    print(error)
assert "there_is_no_such_module" not in sys.modules
"""
    assert run(code, tmp_path) == "module 'waits' has no attribute 'other'"


def test_many_threads_may_ask_first(tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time\nprint('read')\ntime.sleep(0.1)\nvalue = 5\n")
    code = """
import threading
postpone(("waits",))
import waits
found = []
threads = [threading.Thread(target=lambda: found.append(waits.value)) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(found)
"""
    assert run(code, tmp_path).splitlines() == ["read", "[5, 5, 5, 5, 5, 5, 5, 5]"]


def test_what_is_there_already_stays() -> None:
    assert run("import textwrap\npostpone()\nprint(sys.modules['textwrap'] is textwrap, type(textwrap))") == (
        "True <class 'module'>"
    )


def test_inspect_answers_uvloop_without_being_read() -> None:
    code = """
sys.modules.pop("inspect", None)  # what an editable install has imported
postpone(("inspect",))
import functools, inspect
from inspect import iscoroutinefunction, isgenerator
class Some:
    def method(self): pass
    async def waits(self): pass
    def __call__(self): pass
async def waits(): pass
def marked(): pass
marked.some = 1
plain = [Some().method, Some().waits, Some.waits, waits, lambda: None]
first = [iscoroutinefunction(each) for each in plain], isgenerator(each for each in plain), isgenerator(plain)
print(first, type(inspect) is Postponed)
others = [functools.partial(waits), functools.partial(print), marked, print, 5, Some, Some()]
second = [iscoroutinefunction(each) for each in others]
print(second, type(inspect) is Postponed, inspect.iscoroutinefunction is not iscoroutinefunction)
real = inspect.iscoroutinefunction
assert second == [real(each) for each in others] and first[0] == [real(each) for each in plain]
"""
    assert run(code).splitlines() == [
        "([False, True, True, True, False], True, False) True",
        "[True, False, False, False, False, False, False] False True",
    ]
