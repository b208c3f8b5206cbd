"""The webhook's two servers, of the admin interface's kind: reviews over TLS, and health and metrics in plain text."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import proxy.admin.messages  # noqa: F401  # here, and not when somebody asks
from proxy.admin.names import AdminStats
from proxy.admin.prometheus import page
from proxy.admin.serving import HttpServer
from proxy.admin.state import JSON, Reply, Request
from proxy.inject.review import Answer, BadReview, answer, read, response
from proxy.stats.prometheus import CONTENT_TYPE
from proxy.stats.store import Store
from proxy.webhook.options import WebhookOptions

if TYPE_CHECKING:
    from typing import Any

    from proxy.base.clock import Clock

#: a pod's manifest is at most 1.5 MiB in etcd; an update's review has it twice
REVIEW_BYTES = 8 * 1024 * 1024
#: API servers have a connection for each review that runs; strangers may have the others, but not for long
MAX_CONNECTIONS = 1000
REQUEST_S = 10.0
#: longer than an API server keeps a connection that it does not use (90 s in Go): it never writes to one that we close
IDLE_S = 120.0
PATH = "/inject"
MAX_MESSAGE = 1000

log = logging.getLogger("webhook")


class WebhookStats:
    """``webhook.*``."""

    def __init__(self, store: Store) -> None:
        scope = store.scope("webhook")
        self.injected = scope.counter("injected")
        self.left_alone = scope.counter("left_alone")
        self.mistakes = scope.counter("mistakes")  # in annotations
        self.failed = scope.counter("failed")  # ours
        self.refused = scope.counter("refused")
        self.bad_reviews = scope.counter("bad_reviews")
        self.duration = scope.histogram("duration_ms", unit="ms")
        self.certificate_reloads = scope.counter("certificate_reloads")
        self.certificate_failures = scope.counter("certificate_failures")
        self.certificate_left_s = scope.gauge("certificate_seconds_left")


class ReviewServer(HttpServer):
    """POST /inject: an AdmissionReview, answered with another."""

    def __init__(self, options: WebhookOptions, store: Store, clock: Clock, stats: WebhookStats) -> None:
        super().__init__(
            AdminStats(store, "webhook"),
            clock,
            max_connections=MAX_CONNECTIONS,
            body_limit=REVIEW_BYTES,
            idle_s=IDLE_S,
            request_s=REQUEST_S,
        )
        self.options = options
        self.counts = stats

    def answer(self, request: Request) -> Reply:
        """Never raises."""
        if request.path != PATH:
            return Reply("not found\n", 404)
        if request.method != "POST":
            return Reply("POST an AdmissionReview\n", 405, headers=(("allow", "POST"),))
        began = self.clock.monotonic()
        try:
            review = read(request.body)
        except BadReview as error:
            self.counts.bad_reviews.value += 1
            return Reply(f"the body {error}\n", 400)
        reply = Reply(json.dumps(self._review(review), separators=(",", ":")), 200, JSON)
        self.counts.duration.record((self.clock.monotonic() - began) * 1000.0)
        return reply

    def _review(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._answer(request)
        except Exception:  # a pod nobody thought of must not depend on how the API server takes a 500
            log.exception("a review failed")
            self.counts.failed.value += 1
            return self._on_failure(request["uid"], "the injection failed, see the webhook's log")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        namespace = str(request.get("namespace") or "")
        if not self.options.wants(namespace):
            self.counts.left_alone.value += 1
            return response(request["uid"])
        made = answer(request, self.options.policy)
        self._tell(made)
        if made.outcome.failed and not self.options.fails_open:
            return self._on_failure(request["uid"], f"outrider: pod {made.pod} {made.outcome.why}")
        return made.body

    def _tell(self, made: Answer) -> None:
        outcome = made.outcome
        if outcome.changed:
            self.counts.injected.value += 1
        elif outcome.failed:
            self.counts.mistakes.value += 1
        else:
            self.counts.left_alone.value += 1
        level = logging.WARNING if outcome.failed else logging.INFO
        log.log(
            level, "pod %s %s", printable(made.pod), printable("injected" if outcome.changed else outcome.why)
        )

    def _on_failure(self, uid: str, message: str) -> dict[str, Any]:
        if self.options.fails_open:
            return response(uid, warnings=[message[:MAX_MESSAGE]])
        self.counts.refused.value += 1
        return response(uid, False, message[:MAX_MESSAGE])


class OperationsServer(HttpServer):
    """GET /healthz, /readyz, /stats/prometheus. ready: reviews are served."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(AdminStats(store), clock)
        self.store = store
        self.ready = False

    def answer(self, request: Request) -> Reply:
        """Never raises."""
        if request.path == "/healthz":
            return Reply("ok\n")
        if request.path == "/readyz":
            return Reply("ready\n") if self.ready else Reply("not ready\n", 503)
        if request.path in ("/metrics", "/stats/prometheus"):
            return Reply(page(self.store), 200, CONTENT_TYPE)
        return Reply("/healthz, /readyz, /stats/prometheus\n", 404)


def printable(text: str) -> str:
    """What a caller wrote, fit for one line of a log."""
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_MESSAGE]
