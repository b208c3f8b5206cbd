"""The stats of the admin listener itself, under Envoy's names."""

from __future__ import annotations

from proxy.stats.store import CodeStats, Store


class AdminStats:
    """``http.admin.*`` and ``listener.admin.*``, as far as the admin server has something to count."""

    __slots__ = (
        *("codes", "listener_codes", "rq_active", "rq_total", "rx_bytes", "tx_bytes"),
        *("cx_active", "cx_destroy", "cx_overflow", "cx_total", "listener_cx_active", "listener_cx_total"),
        *("idle_timeout", "listener_cx_destroy", "main_cx_active", "main_cx_total", "protocol_error"),
    )

    def __init__(self, store: Store, name: str = "admin") -> None:
        http = store.scope("http").scope(name)
        listener = store.scope("listener").scope(name)
        main = listener.scope("main_thread")
        self.cx_total = http.counter("downstream_cx_total")
        self.cx_active = http.gauge("downstream_cx_active", follows=self.cx_total)
        self.cx_destroy = http.counter("downstream_cx_destroy")
        self.idle_timeout = http.counter("downstream_cx_idle_timeout")
        self.protocol_error = http.counter("downstream_cx_protocol_error")
        self.rx_bytes = http.counter("downstream_cx_rx_bytes_total")
        self.tx_bytes = http.counter("downstream_cx_tx_bytes_total")
        self.rq_total = http.counter("downstream_rq_total")
        self.rq_active = http.gauge("downstream_rq_active", follows=self.rq_total)
        self.codes = CodeStats(http, prefix="downstream_rq_", used_lazily=False, each_code=False)
        self.listener_cx_total = listener.counter("downstream_cx_total")
        self.listener_cx_active = listener.gauge("downstream_cx_active", follows=self.listener_cx_total)
        self.listener_cx_destroy = listener.counter("downstream_cx_destroy")
        self.cx_overflow = listener.counter("downstream_cx_overflow")
        self.main_cx_total = main.counter("downstream_cx_total")
        self.main_cx_active = main.gauge("downstream_cx_active", follows=self.main_cx_total)
        self.listener_codes = CodeStats(
            listener.scope("http").scope(name), prefix="downstream_rq_", used_lazily=False, each_code=False
        )

    def connected(self) -> None:
        """A connection was accepted."""
        for total in (self.cx_total, self.listener_cx_total, self.main_cx_total):
            total.value += 1
        for active in (self.cx_active, self.listener_cx_active, self.main_cx_active):
            active.value += 1

    def disconnected(self) -> None:
        """An accepted connection is gone."""
        self.cx_destroy.value += 1
        self.listener_cx_destroy.value += 1
        for active in (self.cx_active, self.listener_cx_active, self.main_cx_active):
            active.value -= 1

    def replied(self, status: int) -> None:
        """A reply was written."""
        self.codes.record(status)
        self.listener_codes.record(status)
