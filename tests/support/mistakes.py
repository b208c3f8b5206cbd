"""docs/mistakes.md: bad configurations, each with what Envoy and outrider print. ``python -m tests.support.mistakes --write``
fills the blocks of output in anew."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.envoy import envoy_binary

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "mistakes.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
#: how much of Envoy's line is shown
CUT = 300


@dataclass
class Section:
    """One mistake. title: its heading; suffix: of the file; envoy, outrider: what the page says they print."""

    title: str
    text: str
    suffix: str
    config: str
    envoy: str
    outrider: str

    @property
    def file(self) -> str:
        """The name of the file in what is printed."""
        return f"envoy{self.suffix}"

    def whole(self, envoy: str, outrider: str) -> str:
        """The section with these outputs."""
        head = self.text[: next(FENCE.finditer(self.text)).end()]
        return f"{head}\nEnvoy:\n\n```text\n{envoy}\n```\n\noutrider:\n\n```text\n{outrider}\n```\n\n"


def sections() -> list[Section]:
    """Those of the page, in order."""
    found = []
    for text in re.split(r"^(?=## )", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        blocks = [*FENCE.findall(text), ("", ""), ("", "")]
        (language, config), (_, envoy), (_, outrider) = blocks[:3]
        title = text.partition("\n")[0].removeprefix("## ")
        found.append(Section(title, text, f".{language}", config, envoy.rstrip("\n"), outrider.rstrip("\n")))
    return found


def envoy_says(section: Section, folder: Path) -> str:
    """The line with which Envoy refuses it, without date and place in the source; "" when it does not.

    Protobuf varies the spaces in its errors, and a word, on purpose; offsets are in a JSON text of varying order.
    """
    (folder / section.file).write_text(section.config)
    command = [str(envoy_binary()), "--mode", "validate", "--disable-hot-restart", "--concurrency", "1"]
    done = subprocess.run(
        [*command, "-l", "critical", "-c", section.file],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    said = re.search(r"error initializing configuration '[^']*': (.*)", done.stderr, re.DOTALL)
    if done.returncode == 0 or said is None:
        return ""
    words = " ".join(re.split(r"\n\[20", said[1])[0].split())
    words = re.sub(r"near \d+:\d+ \(offset \d+\)", "near 1:... (offset ...)", words)
    line = re.sub(r"goo\.gle/debug\w+", "goo.gle/debugstr", words)
    return line if len(line) <= CUT else line[:CUT].rsplit(" ", 1)[0] + " ..."


def outrider_says(section: Section, folder: Path) -> str:
    """Everything ``outrider validate`` prints."""
    (folder / section.file).write_text(section.config)
    command = [sys.executable, "-m", "proxy", "validate", "-c", section.file]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1, done.stdout
    return done.stderr.rstrip("\n")


def main() -> None:
    """Write the page."""
    head = re.split(r"^(?=## )", DOCUMENT.read_text(), flags=re.MULTILINE)[0]
    with TemporaryDirectory() as folder:
        written = [
            section.whole(envoy_says(section, Path(folder)), outrider_says(section, Path(folder)))
            for section in sections()
        ]
    DOCUMENT.write_text(head + "".join(written).rstrip("\n") + "\n")


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    main()
