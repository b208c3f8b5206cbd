"""When a trace is kept: the decision that the x-request-id carries from hop to hop (contract/envoy.md 2.3).

The 15th character of the id, a UUID's version digit, says it: "4" no, "9" sampled, "a" forced by a service, "b"
asked for by a client. A decision that is there is honoured. A new one is drawn from the id's first 32 bits, so that
every hop with the same rate decides alike; an id that is no UUID cannot carry it and is drawn for on its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from proxy.base.headers import CLIENT_TRACE_ID, X_ENVOY

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders
    from proxy.base.ids import Ids
    from proxy.runtime.slots import Watch
    from proxy.stats.store import Counter, Scope

_NUMBER: Final = re.compile(rb"[0-9a-fA-F]{8}")
REQUEST_ID: Final = b"x-request-id"
CLIENT_TRACE: Final = b"x-client-trace-id"
FORCE_TRACE: Final = b"x-envoy-force-trace"

UUID_LENGTH: Final = 36
NIBBLE: Final = 14

# Reasons; also the index of their counter.
NOT_TRACEABLE: Final = 0
SAMPLED: Final = 1
SERVICE_FORCED: Final = 2
CLIENT_FORCED: Final = 3
#: x-envoy-force-trace on this very request: stronger than a denial in its trace headers
FORCED_HERE: Final = 4

NIBBLES: Final = (b"4", b"9", b"a", b"b", b"a")
REASONS: Final = {ord("9"): SAMPLED, ord("a"): SERVICE_FORCED, ord("b"): CLIENT_FORCED}
SPECIAL: Final = CLIENT_TRACE_ID | X_ENVOY
COUNTERS: Final = ("not_traceable", "random_sampling", "service_forced", "client_enabled", "service_forced")


class Rates:
    """Fractions 0..1: of client requests (x-client-trace-id), of all other requests, and of both together.

    always, never: nothing is left to chance for a request without special headers
    """

    __slots__ = ("always", "client", "never", "overall", "random", "watch")

    def __init__(self, client: float = 1.0, random: float = 1.0, overall: float = 1.0) -> None:
        self.watch: Watch | None = None  # what keeps the rates as the runtime says
        self.set(client, random, overall)

    def set(self, client: float, random: float, overall: float) -> None:
        """Other rates from now on."""
        self.client = client
        self.random = random
        self.overall = overall
        self.always = random >= 1.0 and overall >= 1.0
        self.never = random <= 0.0


class Sampler:
    """Decides, writes the decision into the x-request-id, and counts it (scope: ``http.<prefix>.tracing.``).

    asks: False leaves every decision to the tracer; packs: False neither reads decisions in request ids nor writes them
    (request_id_extension)
    """

    __slots__ = ("asks", "counters", "draw", "health_check", "packs", "unusable_ids")

    def __init__(self, ids: Ids, scope: Scope, contexts: Scope) -> None:
        self.draw = ids.random
        self.asks = self.packs = True
        self.counters: tuple[Counter, ...] = tuple(scope.counter(name) for name in COUNTERS)
        self.health_check = scope.counter("health_check")
        self.unusable_ids = contexts.counter("request_id_not_uuid")

    def decide(self, headers: RequestHeaders, rates: Rates) -> int:
        """The reason to trace, or NOT_TRACEABLE."""
        if not (self.asks and self.packs):
            return self._decide_apart(headers, rates)
        fields = headers.fields
        at = len(fields) - 1  # from the end: an id that the proxy has made itself stands there
        while at >= 0 and fields[at][0] != REQUEST_ID:
            at -= 1
        request_id = fields[at][1] if at >= 0 else b""
        if len(request_id) != UUID_LENGTH:
            reason = self._reason(headers, rates, request_id, NOT_TRACEABLE)
        else:
            written = REASONS.get(request_id[NIBBLE], NOT_TRACEABLE)
            if not written and not headers.known & SPECIAL and (rates.always or rates.never):
                reason = NOT_TRACEABLE if rates.never else SAMPLED
            else:
                reason = self._reason(headers, rates, request_id, written)
            if reason != written:
                changed = NIBBLES[reason].join((request_id[:NIBBLE], request_id[NIBBLE + 1 :]))
                fields[at] = (REQUEST_ID, changed)
        self.counters[reason].value += 1
        return reason

    def _decide_apart(self, headers: RequestHeaders, rates: Rates) -> int:
        """The decision where request ids do not carry it."""
        reason = SAMPLED
        if self.asks:
            reason = self._reason(headers, rates, headers.get(REQUEST_ID) or b"", NOT_TRACEABLE)
        self.counters[reason].value += 1
        return reason

    def _reason(self, headers: RequestHeaders, rates: Rates, request_id: bytes, reason: int) -> int:
        if reason == NOT_TRACEABLE:
            known = headers.known
            if known & CLIENT_TRACE_ID and CLIENT_TRACE in headers and self.draw() < rates.client:
                reason = CLIENT_FORCED
            elif known & X_ENVOY and FORCE_TRACE in headers:
                reason = FORCED_HERE
            elif self._falls(request_id, rates.random):
                reason = SAMPLED
        if reason != NOT_TRACEABLE and not self._falls(request_id, rates.overall):
            return NOT_TRACEABLE
        return reason

    def _falls(self, request_id: bytes, fraction: float) -> bool:
        """Whether the id falls into the fraction, in steps of 1/10000 as Envoy, finer when the fraction is finer."""
        if fraction >= 1.0 or fraction <= 0.0:
            return fraction >= 1.0
        if _NUMBER.match(request_id) is None:
            self.unusable_ids.value += 1
            return self.draw() < fraction
        number = int(request_id[:8], 16)  # hex ASCII digits, checked above
        steps = fraction * 10_000
        if abs(steps - round(steps)) < 1e-6:
            return number % 10_000 < round(steps)
        return number % 1_000_000 < fraction * 1_000_000
