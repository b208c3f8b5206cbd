"""proxy.built: an installed package's modules come from its archive, and look as if they came from their files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.built import NAME
from tests.support.outrider import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as a pure wheel has it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "proxy", source / "proxy", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment = {name: value for name, value in os.environ.items() if name != "OUTRIDER_COMPILE"}
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(target)]
    subprocess.run(command, cwd=source, env=environment, check=True, timeout=120)
    return target


def look(site: Path, code: str, *flags: str) -> Any:
    """What some code prints as JSON in an interpreter that has the package from there."""
    command = [sys.executable, *flags, "-c", f"import json, sys\nsys.path.insert(0, {str(site)!r})\n{code}"]
    done = subprocess.run(command, cwd=site, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_module_is_in_the_archive_and_stands_where_its_file_does(site: Path) -> None:
    code = """
import proxy, proxy.http, proxy.http.context
of = lambda module: [module.__file__, type(module.__loader__).__name__, module.__spec__.origin, getattr(module, "__path__", None)]
print(json.dumps([of(proxy.http), of(proxy.http.context), len(sys.meta_path[0]._index)]))
"""
    package, module, count = look(site, code)
    folder = f"{site}/proxy/http"
    assert package == [f"{folder}/__init__.py", "CodeLoader", f"{folder}/__init__.py", [folder]]
    assert module == [f"{folder}/context.py", "CodeLoader", f"{folder}/context.py", None]
    assert count == len(list((site / "proxy").rglob("*.py")))


def test_what_runs_is_what_the_archive_holds(site: Path, tmp_path: Path) -> None:
    """Nothing is read from the files, nor written beside them."""
    shutil.copytree(site / "proxy", tmp_path / "proxy")
    for path in (tmp_path / "proxy").rglob("*.py"):
        if path.parent != tmp_path / "proxy":
            path.write_text("raise AssertionError('read from its file')")
    code = "import proxy.cli.run\nfrom proxy.base.clock import Clock\nprint(json.dumps(Clock.__module__))"
    assert look(tmp_path, code) == "proxy.base.clock"
    assert not list((tmp_path / "proxy").glob("*/__pycache__"))


def test_tracebacks_show_the_source(site: Path) -> None:
    code = """
import traceback
from proxy.cli.quick import quick_bootstrap
try:
    quick_bootstrap("1", 5, None, None)
except Exception:
    print(json.dumps(traceback.format_exc()))
"""
    found = re.search(
        rf'File "{site}/proxy/cli/quick.py", line ([0-9]+), in quick_bootstrap\n +(.*)', look(site, code)
    )
    assert found is not None
    source = (site / "proxy/cli/quick.py").read_text().splitlines()
    assert source[int(found[1]) - 1].strip() == found[2]


def test_an_interpreter_without_assertions_takes_the_files(site: Path) -> None:
    """The archive's code has them."""
    code = "import proxy.http\nprint(json.dumps(type(proxy.http.__loader__).__name__))"
    assert look(site, code, "-O", "-B") == "SourceFileLoader"


def test_other_interpreters_and_a_checkout_take_the_files(site: Path, tmp_path: Path) -> None:
    shutil.copytree(site / "proxy", tmp_path / "proxy")
    (tmp_path / "proxy" / NAME).rename(tmp_path / "proxy" / "modules.cpython-300.bin")
    code = "import proxy.http\nprint(json.dumps(type(proxy.http.__loader__).__name__))"
    assert look(tmp_path, code, "-B") == "SourceFileLoader"


def test_what_is_imported_later_is_of_the_version_that_was_started(site: Path, tmp_path: Path) -> None:
    """An upgrade replaces the files while the process runs."""
    shutil.copytree(site / "proxy", tmp_path / "proxy")
    code = f"""
import os, proxy
new = {str(tmp_path / "proxy" / "new.bin")!r}
open(new, "wb").write(b"another version's")
os.replace(new, {str(tmp_path / "proxy" / NAME)!r})
import proxy.admin.pages
print(json.dumps(len(proxy.admin.pages.ROUTES)))
"""
    from proxy.admin.pages import ROUTES

    assert look(tmp_path, code) == len(ROUTES)
