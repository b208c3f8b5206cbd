"""ListenerDirectory: which listener has a name, and which one an address."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.listener.listener import Listener
    from proxy.listener.place import Place


class ListenerDirectory:
    """Of those that serve, or will when the process does. There may be thousands, each of which asks as it comes."""

    __slots__ = ("_by_address", "_by_name")

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, int | None], Listener] = {}
        self._by_name: dict[str, Listener] = {}

    def add(self, listener: Listener) -> None:
        """One more."""
        self._by_name[listener.name] = listener
        for place in listener.places:
            self._by_address[place.host, place.port] = listener
            if place.ipv4_compat:
                self._by_address.setdefault(("0.0.0.0", place.port), listener)

    def renew(self, listeners: Iterable[Listener]) -> None:
        """Others than before."""
        self._by_address.clear()
        self._by_name.clear()
        for listener in listeners:
            self.add(listener)

    def named(self, name: str) -> Listener | None:
        """The one of that name."""
        return self._by_name.get(name)

    def at(self, place: Place) -> Listener | None:
        """The one that listens on this very address, in whatever manner; any port that is free is nobody's."""
        found = self._by_address.get((place.host, place.port)) if place.port != 0 else None
        return found if found is not None and found.listens_on(place) else None

    def find(self, ip: str, port: int) -> Listener | None:
        """The one that takes connections to an address: of exactly that one, or of all addresses at its port. One that
        has stopped is none."""
        for host in (ip, "::" if ":" in ip else "0.0.0.0"):
            found = self._by_address.get((host, port))
            if found is not None and not found.stopped:
                return found
        return None
