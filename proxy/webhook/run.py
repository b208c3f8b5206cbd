"""The webhook's process: two servers, a certificate that is looked at, an end without a lost review."""

from __future__ import annotations

import asyncio
import logging
import signal
from datetime import UTC, datetime

from proxy.base.clock import Clock
from proxy.base.signals import handle_signals, ignore_signals
from proxy.stats.store import Store
from proxy.webhook.options import WebhookOptions
from proxy.webhook.server import OperationsServer, ReviewServer, WebhookStats
from proxy.webhook.tls import ServerCertificate

LOOK_S = 2.0
#: after SIGTERM, so that the API server has heard that this one is gone
DRAIN_S = 3.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("webhook")


class Webhook:
    """Start it, wait for ``stopped``, stop it. places: (reviews, operations), as they were bound."""

    def __init__(self, options: WebhookOptions, clock: Clock) -> None:
        """Raises OSError, ValueError where the certificate cannot be had."""
        self.clock = clock
        self.store = Store()
        self.counts = WebhookStats(self.store)
        self.certificate = ServerCertificate(options.certificate, options.key, options.client_ca)
        self.options = options
        self.reviews = ReviewServer(options, self.store, clock, self.counts)
        self.operations = OperationsServer(self.store, clock)
        self.places: tuple[tuple[str, int], tuple[str, int]] = (("", 0), ("", 0))
        self.stopped = asyncio.Event()
        self._looking: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Serve. Raises OSError."""
        operations = await self.operations.start(*self.options.operations)
        reviews = await self.reviews.start(*self.options.listen, tls=self.certificate.context)
        self.places = (reviews, operations)
        self._look()
        self.operations.ready = True
        log.info("reviews at %s:%d/inject, health and metrics at %s:%d", *reviews, *operations)

    def _look(self) -> None:
        try:
            if self.certificate.reload():
                self.counts.certificate_reloads.value += 1
                log.info("a new certificate is in use")
        except (OSError, ValueError) as error:
            self.counts.certificate_failures.value += 1
            log.error("the new certificate cannot be used, the old one stays: %s", error)
        self.counts.certificate_left_s.set(int(self.certificate.expires_at - self.clock.wall()))
        self.store.fold()
        self._looking = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def on_signal(self) -> None:
        """The first says "not ready" and goes on for a while; the second ends at once."""
        if not self.operations.ready:
            self.stopped.set()
            return
        self.operations.ready = False
        log.info("stopping in %g s", DRAIN_S)
        asyncio.get_running_loop().call_later(DRAIN_S, self.stopped.set)

    async def stop(self) -> None:
        """Close everything."""
        if self._looking is not None:
            self._looking.cancel()
        await self.reviews.close()
        await self.operations.close()


async def serve(options: WebhookOptions) -> int:
    """Until a signal; the exit code."""
    webhook = Webhook(options, Clock())
    loop = asyncio.get_running_loop()
    handle_signals(loop, dict.fromkeys(_SIGNALS, webhook.on_signal))
    try:
        await webhook.start()
        await webhook.stopped.wait()
    finally:
        await webhook.stop()
    ignore_signals(_SIGNALS)
    return 0


def utc(clock: Clock) -> datetime:
    """Now."""
    return datetime.fromtimestamp(clock.wall(), UTC)


def run(options: WebhookOptions) -> int:
    """The whole life; 1 when it could not begin."""
    try:
        return asyncio.run(serve(options))
    except (OSError, ValueError) as error:
        log.critical("the webhook cannot start: %s", error)
        return 1
