"""Small read-only endpoints: memory, hot-restart version, init targets."""

from __future__ import annotations

import os
from pathlib import Path

from proxy.admin.state import AdminState, Endpoint, Reply, Request, json_reply


def _memory(state: AdminState, request: Request) -> Reply:
    """Envoy's keys; Python has no figures for the allocator's inside, those are 0."""
    resident, data = _statm()
    return json_reply(
        {
            "allocated": str(data),
            "heap_size": str(data),
            "pageheap_unmapped": "0",
            "pageheap_free": "0",
            "total_thread_cache": "0",
            "total_physical_bytes": str(resident),
        }
    )


def _statm() -> tuple[int, int]:
    """Resident and data bytes of this process; zeros where /proc does not tell."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return int(fields[1]) * page, int(fields[5]) * page


def _hot_restart_version(state: AdminState, request: Request) -> Reply:
    return Reply("disabled")


def _init_dump(state: AdminState, request: Request) -> Reply:
    return json_reply({})


MEMORY = Endpoint("/memory", "print current allocation/heap usage", _memory)
HOT_RESTART_VERSION = Endpoint(
    "/hot_restart_version", "print the hot restart compatibility version", _hot_restart_version
)
INIT_DUMP = Endpoint("/init_dump", "dump targets that still have to be initialised (always none)", _init_dump)
