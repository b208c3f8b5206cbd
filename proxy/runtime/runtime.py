"""The runtime of this process: its layers, the snapshot in force, the slots that follow it, Envoy's runtime.* stats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from weakref import WeakSet

from proxy.runtime.layers import AdminLayer, Layer, LayerError
from proxy.runtime.slots import BooleanSlot, DoubleSlot, FractionSlot, IntegerSlot, Slot, Watch
from proxy.runtime.snapshot import LayerValues, Snapshot
from proxy.stats.store import Scope, Store

S = TypeVar("S", bound=Slot)


class RuntimeStats:
    """runtime.*, all of them shown from the start."""

    def __init__(self, scope: Scope) -> None:
        self.load_success = scope.counter("load_success")
        self.load_error = scope.counter("load_error")
        self.override_dir_exists = scope.counter("override_dir_exists")
        self.override_dir_not_exists = scope.counter("override_dir_not_exists")
        self.num_keys = scope.gauge("num_keys")
        self.num_layers = scope.gauge("num_layers")
        self.admin_overrides_active = scope.gauge("admin_overrides_active")
        # Envoy counts deprecated fields of discovered configuration here; there is none, as in its static bootstrap.
        scope.counter("deprecated_feature_use")
        scope.gauge("deprecated_feature_seen_since_process_start")


class Runtime:
    """Without layers every value is its default, for good.

    layers: from the lowest to the one that goes before all others; scope: "runtime."
    on_error: told why a disk layer could not be read (it is left out of the snapshot)
    """

    def __init__(
        self,
        layers: Sequence[Layer] = (),
        scope: Scope | None = None,
        on_error: Callable[[str, str], None] = lambda name, reason: None,
    ) -> None:
        self.layers = tuple(layers)
        self.stats = RuntimeStats(scope if scope is not None else Store().scope("runtime"))
        self.snapshot = Snapshot()
        self._on_error = on_error
        self._slots: WeakSet[Slot] = WeakSet()
        self._admin = next((layer for layer in self.layers if isinstance(layer, AdminLayer)), None)
        self.reload()

    def reload(self) -> None:
        """A new snapshot of the layers as they are now, into every slot."""
        values: list[LayerValues] = []
        failed = disks = 0
        for layer in self.layers:
            try:
                entries = layer.entries()
            except LayerError as error:
                failed += 1
                self._on_error(layer.name, str(error))
                continue
            if entries is not None:
                values.append(LayerValues(layer.name, entries))
                disks += layer.is_disk
        self._count(len(values), failed, disks)
        self.snapshot = Snapshot(values)
        self.stats.num_keys.set(len(self.snapshot.entries))
        for slot in list(self._slots):
            slot.refresh(self.snapshot)

    def _count(self, layers: int, failed: int, disks: int) -> None:
        stats = self.stats
        stats.num_layers.set(layers)
        (stats.load_error if failed else stats.load_success).value += 1
        # Envoy's own reading of "an override directory exists": more than one disk layer does.
        (stats.override_dir_exists if disks > 1 else stats.override_dir_not_exists).value += 1

    def merge_overrides(self, values: Mapping[str, str]) -> None:
        """POST /runtime_modify: texts by key, "" takes one out. Raises LayerError, and has changed nothing."""
        if self._admin is None:
            raise LayerError("No admin layer specified")
        self._admin.merge(values)
        self.stats.admin_overrides_active.set(int(self._admin.is_active))
        self.reload()

    # -- slots: hold what is returned ----------------------------------------------------------------------------

    def integer(self, key: str, default: int) -> IntegerSlot:
        """A whole number of 0 and more."""
        return self._add(IntegerSlot(key, default))

    def double(self, key: str, default: float) -> DoubleSlot:
        """Any number."""
        return self._add(DoubleSlot(key, default))

    def boolean(self, key: str, default: bool) -> BooleanSlot:
        """A boolean."""
        return self._add(BooleanSlot(key, default))

    def fraction(self, key: str, numerator: int, denominator: int) -> FractionSlot:
        """A fraction, or a percentage."""
        return self._add(FractionSlot(key, numerator, denominator))

    def watch(self, on_snapshot: Callable[[Snapshot], None]) -> Watch:
        """Call it with the snapshot in force, now, and with each one that follows."""
        return self._add(Watch(on_snapshot))

    def _add(self, slot: S) -> S:
        slot.refresh(self.snapshot)
        self._slots.add(slot)
        return slot
