"""Delta: responses have what is new and what has gone, requests the names that are wanted from now on or no longer."""

from __future__ import annotations

import logging
from typing import Any, Final

from proxy.api.discovery import Rejected, Resource
from proxy.api.pool import new_message
from proxy.xds.grpc import INTERNAL, URL, Kind, Mux
from proxy.xds.resources import read_resource

log = logging.getLogger("config")

REQUEST: Final = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
RESPONSE_TYPE: Final = "envoy.service.discovery.v3.DeltaDiscoveryResponse"


class DeltaKind(Kind):
    """versions: by name, of the resources in force, for the first request of the next stream."""

    def __init__(self, mux: Mux, type_name: str) -> None:
        Kind.__init__(self, mux, type_name)
        self.versions: dict[str, str] = {}
        self._said: set[str] = set()  # names that this stream's server knows of
        self._again: set[str] = set()
        self._is_first = True

    def ask_for(self, name: str, again: bool) -> None:
        """A cluster that warms anew asks again: the server forces its endpoints out to it."""
        if again and name:
            self._again.add(name)

    def let_go(self, name: str) -> None:
        self._again.discard(name)
        self.versions.pop(name, None)

    def on_connected(self) -> None:
        self._said.clear()
        self._again.clear()
        self._is_first = True

    def request(self) -> Any:
        names = set(self.names)
        wanted, unwanted = names - self._said | self._again, self._said - names
        if not self.subscriptions and not unwanted:
            return None
        if not (wanted or unwanted or self._is_first):
            return None
        message = self._message()
        message.resource_names_subscribe.extend(sorted(wanted))
        message.resource_names_unsubscribe.extend(sorted(unwanted))
        if self._is_first:
            message.initial_resource_versions.update(self.versions)
        self._is_first = False
        self._said = names
        self._again.clear()
        return message

    def _message(self) -> Any:
        message: Any = new_message(REQUEST)
        message.type_url = URL + self.type_name
        return message

    def on_response(self, response: Any) -> None:
        """Use it, then say that it is used, or why it is not."""
        removed = list(response.removed_resources)
        refused: list[str] = []
        resources: list[Resource] = []
        try:
            resources = self._read(response)
        except Rejected as error:
            self.refuse()
            refused = [str(error)]
        else:
            refused = self.give(resources, removed, response.system_version_info)
        if not refused:
            self.versions.update({each.name: each.version for each in resources if self.wants(each.name)})
            for name in removed:
                self.versions.pop(name, None)
        message = self._message()
        message.response_nonce = response.nonce
        if refused:
            message.error_detail.code = INTERNAL
            message.error_detail.message = "; ".join(refused)
            log.warning("delta config for %s rejected: %s", self.type_name, message.error_detail.message)
        self.mux.send(message)

    def _read(self, response: Any) -> list[Resource]:
        """Raises Rejected."""
        found: dict[str, Resource] = {}
        for at, wrapper in enumerate(response.resources):
            if not wrapper.HasField("resource"):
                continue  # says only that it still holds
            read = read_resource(wrapper.resource, self.type_name, wrapper.version, f"resources[{at}]")
            name = wrapper.name or read.name
            if name in found:
                raise Rejected(f"duplicate name {name} found among added/updated resources")
            found[name] = Resource(name, read.message, read.version, read.path)
        return list(found.values())
