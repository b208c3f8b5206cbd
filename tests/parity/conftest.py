"""Prints the table of outcomes of the agreement with ``envoy --mode validate``, also when several processes ran it."""

from __future__ import annotations

from collections import Counter
from typing import Any

#: (Envoy, ours) → how the table calls it
WORDS = {
    ("accepts", "accepts"): "both accept",
    ("refuses", "error"): "both refuse",
    ("refuses", "unsupported"): 'both refuse, ours as "unsupported"',
    ("accepts", "unsupported"): "only ours refuses: unsupported",
    ("accepts", "error"): "ONLY OURS REFUSES, AS AN ERROR",
    ("refuses", "accepts"): "ONLY ENVOY REFUSES",
}
SHOWN = 60


def pytest_terminal_summary(terminalreporter: Any) -> None:
    told = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "agreement" and getattr(report, "when", "") == "call"
    ]
    if not told:
        return
    outcomes = Counter((bool(mutated), WORDS[envoy, ours]) for mutated, envoy, ours, _ in told)
    why = Counter(
        reason
        for _, envoy, ours, reasons in told
        if (envoy, ours) == ("accepts", "unsupported")
        for reason in reasons
    )
    write = terminalreporter.write_line
    terminalreporter.section("envoy --mode validate and outrider validate")
    write(f"{'outcome':<40} {'by hand':>8} {'mutations':>10}")
    for words in WORDS.values():
        write(f"{words:<40} {outcomes[False, words]:>8} {outcomes[True, words]:>10}")
    write(f"what is unsupported ({len(why)} kinds, by cases):")
    for reason, count in why.most_common(SHOWN):
        write(f"{count:>6} {reason}")
    if len(why) > SHOWN:
        write(f"       and {len(why) - SHOWN} more")
