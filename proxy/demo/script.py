"""Which requests the client sends, and what each must cause at every hop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One request of the client. backend: the statuses that the backend gives, one a try; the last one goes back."""

    method: str
    path: str
    backend: tuple[int, ...]
    body: bytes = b""

    @property
    def status(self) -> int:
        """What the client must see."""
        return self.backend[-1]

    @property
    def span_count(self) -> int:
        """Frontend inbound, frontend outbound, and the backend once a try."""
        return 2 + len(self.backend)


CHECKOUT = Call("POST", "/checkout", (200,), b'{"item":"lantern","count":2}')
SLOW = Call("GET", "/slow", (200,))
FLAKY = Call("GET", "/flaky", (503, 200))
MISSING = Call("GET", "/missing", (404,))
BROKEN = Call("GET", "/broken", (500,))


def calls(count: int) -> list[Call]:
    """The first ``count`` calls: one of each kind, then checkouts and every fifth one slow."""
    first = [CHECKOUT, SLOW, FLAKY, MISSING, BROKEN]
    rest = [SLOW if number % 5 == 4 else CHECKOUT for number in range(max(0, count - len(first)))]
    return (first + rest)[:count]


def trickle(number: int) -> Call:
    """The call to send as ``number``-th after the first ones: mostly good, now and then not."""
    return {5: SLOW, 9: FLAKY, 13: MISSING, 17: BROKEN}.get(number % 20, CHECKOUT)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one hop must have counted. classes: requests by first digit of their status."""

    requests: int
    classes: dict[int, int]
    retries: int
    body_bytes_in: int


def expected_hops(sent: Iterable[Call]) -> dict[tuple[str, str], Expected]:
    """By (sidecar, listener)."""
    sent = list(sent)
    client_side = _expected([(call, call.status) for call in sent], 0)
    retries = sum(len(call.backend) - 1 for call in sent)
    return {
        ("frontend", "inbound"): client_side,
        ("frontend", "outbound"): _expected([(call, call.status) for call in sent], retries),
        ("backend", "inbound"): _expected([(call, status) for call in sent for status in call.backend], 0),
    }


def _expected(answers: list[tuple[Call, int]], retries: int) -> Expected:
    classes = Counter(status // 100 for _, status in answers)
    return Expected(len(answers), dict(classes), retries, sum(len(call.body) for call, _ in answers))
