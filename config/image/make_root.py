"""Makes the root file system of an image FROM scratch: Python, outrider with its dependencies, the tools that make capture
rules, the shared libraries all of them need, and nothing else: no shell, no package manager.

Standard library only; Dockerfile runs it, and a test does without Docker. What is where:

    /opt/outrider              the wheel and its dependencies, compiled
    /usr/local/bin/outrider    the command (a Python script: no shell is needed)
    <Python's own paths>       the interpreter and the part of its library that a server needs
    /usr/share/sbom            what all of this is: CycloneDX
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from email.parser import Parser
from pathlib import Path

SITE = "opt/outrider"
#: parts of the standard library that no server needs
LEFT_OUT = (
    *(
        "__pycache__",
        "ensurepip",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "dist-packages",
        "test",
        "tests",
    ),
    *("tkinter", "turtledemo", "turtle.py", "venv"),
)
#: compiled modules that would bring libraries for screens and terminals
MODULES_LEFT_OUT = (
    "_tkinter.*",
    "_test*",
    "_xxtest*",
    "_ctypes_test.*",
    "_curses*",
    "readline.*",
    "_dbm.*",
    "_gdbm.*",
    "nis.*",
)
USERS = (
    "root:x:0:0:root:/:/none\noutrider:x:1337:1337:sidecar:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n"
)
GROUPS = "root:x:0:\noutrider:x:1337:\nnonroot:x:65532:\n"
COMMAND = """#!{python} -B
import sys

sys.path.insert(0, "/{site}")
from proxy.__main__ import main

sys.exit(main())
"""


def run(*argv: str) -> str:
    """The command's output. Raises CalledProcessError."""
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Root:
    """The tree being made. dropped: Debian packages are asked of these files, for the SBOM."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system_files: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, absolute: str | Path) -> Path:
        """Where an absolute path of the image is."""
        return self.folder / str(absolute).lstrip("/")

    def copy(self, source: Path) -> None:
        """One file to the same path; a link with what it points to."""
        if source.is_symlink():
            target = Path(os.path.normpath(source.parent / os.readlink(source)))
            self.copy(target)
        place = self.path(source)
        if place.exists() or place.is_symlink():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place, follow_symlinks=False)
        self.system_files.add(str(source))

    def write(self, absolute: str, text: str, mode: int = 0o644) -> None:
        """A small file."""
        place = self.path(absolute)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)


def add_python(root: Root) -> str:
    """The running interpreter; its path in the image."""
    base = Path(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]  # not a virtual environment's
    root.copy(base)
    library = Path(
        sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix, "base": sys.base_prefix})
    )
    ignored = shutil.ignore_patterns(*LEFT_OUT, *MODULES_LEFT_OUT, "config-*", "*.a")
    shutil.copytree(library, root.path(library), ignore=ignored, symlinks=True, dirs_exist_ok=True)
    return str(base)


def add_site(root: Root, requirement: str, constraints: str) -> None:
    """The wheel with its dependencies, from wheels only."""
    argv = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
        "--only-binary",
        ":all:",
    ]
    run(sys.executable, *argv, "-c", constraints, "--target", str(root.folder / SITE), requirement)
    shutil.rmtree(root.folder / SITE / "bin", ignore_errors=True)


def add_command(root: Root, python: str) -> None:
    """/usr/local/bin/outrider, and python for debugging by hand."""
    root.write("usr/local/bin/outrider", COMMAND.format(python=python, site=SITE), 0o755)


def compile_all(root: Root, python: str) -> None:
    """No .pyc can be written where the root is read-only, so they are all there, and never checked against sources."""
    places = [root.folder / SITE, root.path(sysconfig.get_path("stdlib"))]
    argv = [sys.executable, "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    # the paths that tracebacks name are the image's
    subprocess.run([*argv, "-s", str(root.folder), "-p", "/", *map(str, places)], check=False)


def add_tools(root: Root, names: list[str]) -> None:
    """Programs by name, with what they load by themselves (iptables has its matches in plug-ins)."""
    for name in names:
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found is None:
            raise SystemExit(f"{name} is not installed here")
        root.copy(Path(found))
    if any("iptables" in name for name in names):
        for plugins in Path("/usr/lib").glob("*/xtables"):
            for plugin in sorted(plugins.iterdir()):
                root.copy(plugin)


def add_libraries(root: Root) -> None:
    """The shared libraries of every program and library in the tree, as the loader finds them here."""
    known: set[str] = set()
    while True:
        new = [file for file in elf_files(root.folder) if str(file) not in known]
        if not new:
            return
        known |= {str(file) for file in new}
        for file in new:
            for library in needed(file):
                if not str(library).startswith(str(root.folder)):
                    root.copy(library)


def elf_files(folder: Path) -> list[Path]:
    """Programs and shared libraries."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 4:
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    found.append(path)
    return found


def strip_all(root: Root) -> None:
    """Without symbols for debuggers, where binutils are there: a third of what is left."""
    if shutil.which("strip") is None:
        return
    for file in elf_files(root.folder):
        mode = file.stat().st_mode
        file.chmod(mode | 0o200)
        subprocess.run(["strip", "--strip-unneeded", str(file)], capture_output=True, check=False)
        file.chmod(mode)


def needed(file: Path) -> list[Path]:
    """What ldd says; nothing of a static program."""
    done = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)
    missing = re.findall(r"(\S+) => not found", done.stdout)
    if missing:
        raise SystemExit(f"{file}: {', '.join(missing)} not found")
    return [Path(each) for each in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.MULTILINE)]


def add_system(root: Root) -> None:
    """Users, certificates of authorities, and where something may be written."""
    root.write("etc/passwd", USERS)
    root.write("etc/group", GROUPS)
    root.write("etc/nsswitch.conf", "hosts: files dns\n")
    authorities = Path("/etc/ssl/certs/ca-certificates.crt")
    if authorities.exists():
        root.copy(authorities)
    for name in ("tmp", "run"):
        root.path(name).mkdir(exist_ok=True)
    root.path("tmp").chmod(0o1777)


def bill_of_materials(root: Root) -> dict[str, object]:
    """CycloneDX: Python, its packages, and the Debian packages that the other files are of."""
    version = ".".join(map(str, sys.version_info[:3]))
    components = [component("python", version, f"pkg:generic/python@{version}")]
    for metadata in sorted((root.folder / SITE).glob("*.dist-info/METADATA")):
        head = Parser().parsestr(metadata.read_text(errors="replace"), headersonly=True)
        name = str(head["Name"])
        one = component(name, str(head["Version"]), f"pkg:pypi/{name.lower()}@{head['Version']}")
        licence = head["License-Expression"] or head["License"]
        if licence and len(licence) < 100:
            one["licenses"] = [{"license": {"name": licence}}]
        components.append(one)
    components += [
        component(name, version, f"pkg:deb/debian/{name}@{version}") for name, version in debian(root)
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def component(name: str, version: str, url: str) -> dict[str, object]:
    """One entry."""
    return {"type": "library", "name": name, "version": version, "purl": url}


def debian(root: Root) -> list[tuple[str, str]]:
    """(package, version) of the copied files; none where dpkg is not."""
    if shutil.which("dpkg-query") is None:
        return []
    files = sorted({os.path.realpath(file) for file in root.system_files} | root.system_files)
    packages: set[str] = set()
    for at in range(0, len(files), 200):
        found = subprocess.run(
            ["dpkg-query", "-S", *files[at : at + 200]], capture_output=True, text=True, check=False
        )
        packages |= {
            line.split(":")[0] for line in found.stdout.splitlines() if ": /" in line and "," not in line
        }
    if not packages:
        return []
    lines = run("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *sorted(packages)).splitlines()
    return sorted({(line.split()[0], line.split()[1]) for line in lines if line.strip()})


def size(folder: Path) -> int:
    """Bytes of the files, each once."""
    seen: dict[tuple[int, int], int] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="an empty folder")
    parser.add_argument(
        "--requirement", required=True, help="what to install: a wheel, with extras in brackets"
    )
    parser.add_argument("--constraints", required=True, help="pinned versions")
    parser.add_argument(
        "--tool", action="append", default=[], help="a program to add (nft, iptables-restore ...)"
    )
    args = parser.parse_args()
    root = Root(args.root)
    python = add_python(root)
    add_site(root, args.requirement, args.constraints)
    add_command(root, python)
    add_tools(root, args.tool)
    add_system(root)
    add_libraries(root)
    strip_all(root)
    root.write("usr/share/sbom/outrider.cdx.json", json.dumps(bill_of_materials(root), indent=1) + "\n")
    compile_all(root, python)
    sys.stdout.write(f"{size(args.root) / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
