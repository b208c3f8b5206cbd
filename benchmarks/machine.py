"""CPU time and memory of a process and its children, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def proxy_cpu() -> int:
    """The CPU for the proxies."""
    return min(os.sched_getaffinity(0))


def load_cpu() -> int:
    """The CPU for load, upstream and collector: another one where there is one."""
    return max(os.sched_getaffinity(0))


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far, ended and waited-for children included."""
    total = 0
    for process in tree(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        own, waited_for = fields[11:13], fields[13:15]
        total += sum(map(int, own)) + sum(map(int, waited_for))
    return total / TICKS


def rss_bytes(pid: int) -> int:
    """Resident memory of the tree."""
    return sum(int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE for process in tree(pid))
