"""Does what the sidecars traced, counted and logged agree with what was sent? Every disagreement is one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from proxy.demo.collector import Span
from proxy.demo.metrics import Hop
from proxy.demo.script import Call, expected_hops
from proxy.demo.trace import shape

Shape = tuple[tuple[int, str, str, str], ...]


def expected_shape(call: Call) -> Shape:
    """The tree that one call must leave at the collector."""
    status = str(call.status)
    tries = [(2, "backend", "SERVER", str(each)) for each in call.backend]
    return ((0, "frontend", "SERVER", status), (1, "frontend", "CLIENT", status), *tries)


def check_answers(sent: Sequence[Call], statuses: Sequence[int]) -> list[str]:
    """The client saw what it should have seen."""
    wrong = Counter(
        f"{call.method} {call.path} was answered {status}, not {call.status}"
        for call, status in zip(sent, statuses, strict=True)
        if status != call.status
    )
    return [f"{count} x {what}" for what, count in wrong.items()]


def check_traces(sent: Sequence[Call], traces: Mapping[str, Sequence[Span]]) -> list[str]:
    """One connected trace for each call, nothing missing and nothing besides."""
    wanted = Counter(expected_shape(call) for call in sent)
    seen = Counter(shape(list(spans)) for spans in traces.values())
    problems = [f"{count} x no trace of the form {_words(form)}" for form, count in (wanted - seen).items()]
    problems += [f"{count} x an unexpected trace {_words(form)}" for form, count in (seen - wanted).items()]
    return problems


def check_metrics(sent: Sequence[Call], hops: Sequence[Hop]) -> list[str]:
    """Requests, statuses, retries and body bytes of every hop."""
    problems = []
    by_place = {(hop.sidecar, hop.listener): hop for hop in hops}
    for place, wanted in expected_hops(sent).items():
        hop = by_place.get(place)
        if hop is None:
            problems.append(f"{' '.join(place)}: not on the metrics page")
            continue
        for what in ("requests", "classes", "retries", "body_bytes_in"):
            counted, due = getattr(hop, what), getattr(wanted, what)
            if counted != due:
                problems.append(f"{' '.join(place)}: {what} is {counted}, not {due}")
    return problems


def check_logs(sent: Sequence[Call], lines: Mapping[str, int]) -> list[str]:
    """One access-log line per request and listener; lines: by sidecar."""
    wanted = Counter[str]()
    for (sidecar, _), expected in expected_hops(sent).items():
        wanted[sidecar] += expected.requests
    return [
        f"{sidecar}: {lines.get(sidecar, 0)} access-log lines, not {count}"
        for sidecar, count in wanted.items()
        if lines.get(sidecar, 0) != count
    ]


def _words(form: Shape) -> str:
    return " > ".join(f"{service} {kind} {status}" for _, service, kind, status in form)
