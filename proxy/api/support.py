"""Writes docs/support.md: what of Envoy's API is honoured, found in the code (proxy.api.support_scan).

``python -m proxy.api.support`` writes it and fails when something could not be told; ``--check`` only compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.api.pool import UnknownType, descriptor
from proxy.api.support_found import Found
from proxy.api.support_run import run_body
from proxy.api.support_scan import Scan
from proxy.api.support_sources import Sources
from proxy.extensions import EXTENSIONS

PACKAGE = Path(__file__).resolve().parents[1]
DOCUMENT = PACKAGE.parent / "docs" / "support.md"
# They define Readers or this scan: their parameters are not compile functions'.
_OWN = ("reader", "support", "support_scan", "support_run", "support_found", "support_sources", "load")

_HEAD = """\
# What of Envoy's API is supported

Generated from the code by `python -m proxy.api.support`; do not edit. Every field of the Envoy 1.40 API is in one of
these states. *Yes*: it is honoured. *Warning*: it is accepted, has no effect, and a warning names it, because leaving
it out can change neither traffic nor safety. *Refused*: a configuration that sets it does not start; the finding names
the field, the file and the line. *In part*: some values, or the field in some places of a configuration, are honoured,
and the last column says which are not; they are refused, or, where it says so, accepted with a warning. Messages that
are not listed are refused where they would be used. A field that is not set is never in the way.

"""


def scan() -> Found:
    """What the source says now."""
    sources = Sources(PACKAGE, [f"proxy.api.{name}" for name in _OWN])
    return Scan(sources, run_body).run(EXTENSIONS)


def render(found: Found) -> str:
    """The document."""
    extensions = [(name, message) for name, message, _ in EXTENSIONS if _is_known(message)]
    names = {message for message, _ in (*found.implemented, *found.ignored, *found.refused)} | set(
        found.messages
    )
    names |= {message for _, message in extensions}
    lines = [_HEAD + "## Extensions", "", "| extension | configuration |", "|---|---|"]
    lines += [f"| `{name}` | [`{message}`](#{_anchor(message)}) |" for name, message in extensions]
    for name in sorted(names):
        lines += ["", *_message(name, found)]
    return "\n".join(lines) + "\n"


def _is_known(message: str) -> bool:
    """Lines of the table that have no configuration message (propagators) are not part of Envoy's API."""
    try:
        descriptor(message)
    except UnknownType:
        return False
    return True


def _anchor(message: str) -> str:
    return message.lower().replace(".", "")


def _message(name: str, found: Found) -> list[str]:
    rows = []
    refused = []
    for field in descriptor(name).fields:
        state, why = _state(name, field.name, found)
        if state == "refused" and not why:
            refused.append(f"`{field.name}`")
        else:
            rows.append(f"| `{field.name}` | {state} | {why} |")
    lines = [f"## {name}"]
    if found.messages.get(name):
        lines += ["", f"In part: {' / '.join(found.messages[name])}."]
    if rows:
        lines += ["", "| field | support | |", "|---|---|---|", *rows]
    if refused:
        lines += ["", f"Refused: {', '.join(refused)}."]
    return lines if rows or refused else [*lines, "", "It has no fields."]


def _state(name: str, field: str, found: Found) -> tuple[str, str]:
    """(support, why) of a field; refused without a why when nobody reads it."""
    key = (name, field)
    ignored, refused = found.ignored.get(key, []), found.refused.get(key, [])
    if key not in found.implemented and not ignored:
        return "refused", " / ".join(refused)
    lacking = [f"refused in {', '.join(found.lacking(name, field))}"] if found.lacking(name, field) else []
    if key in found.implemented:
        notes = [f"without effect: {why}" for why in ignored] + refused + lacking
        return "in part" if notes else "yes", " / ".join(notes)
    others = [f"otherwise refused: {why}" for why in refused] + lacking
    return "in part" if others else "warning", " / ".join(ignored + others)


def main(arguments: list[str]) -> int:
    """Writes or, with ``--check``, compares. Returns the exit status: 1 for problems or a stale document."""
    found = scan()
    for problem in found.problems:
        sys.stderr.write(problem + "\n")
    text = render(found)
    if "--check" in arguments:
        stale = not DOCUMENT.is_file() or DOCUMENT.read_text() != text
        if stale:
            sys.stderr.write("docs/support.md is stale: run python -m proxy.api.support\n")
        return 1 if stale or found.problems else 0
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text)
    return 1 if found.problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
