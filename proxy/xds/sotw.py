"""State of the world: each response has all resources of its type, each request all names that are wanted."""

from __future__ import annotations

import logging
from typing import Any, Final

from proxy.api.discovery import Rejected
from proxy.api.pool import new_message
from proxy.xds.grpc import INTERNAL, URL, Kind, Mux
from proxy.xds.resources import RESPONSE, read_resources

log = logging.getLogger("config")

REQUEST: Final = "envoy.service.discovery.v3.DiscoveryRequest"


class SotwKind(Kind):
    """version: of the last response that could be used; nonce: of the last one."""

    def __init__(self, mux: Mux, type_name: str) -> None:
        Kind.__init__(self, mux, type_name)
        self.version = ""
        self.nonce = ""
        self._is_due = False

    def ask_for(self, name: str, again: bool) -> None:
        """All names are said anew; also when they are the same, as by Envoy."""
        self._is_due = True

    def let_go(self, name: str) -> None:
        self._is_due = True

    def on_connected(self) -> None:
        self.nonce = ""
        self._is_due = bool(self.subscriptions)

    def request(self) -> Any:
        if not self._is_due:
            return None
        if not self.subscriptions and not self.nonce:
            self._is_due = False
            return None
        return self._message()

    def _message(self) -> Any:
        self._is_due = False
        message: Any = new_message(REQUEST)
        message.type_url = URL + self.type_name
        message.version_info = self.version
        message.response_nonce = self.nonce
        message.resource_names.extend(self.names)
        return message

    def on_response(self, response: Any) -> None:
        """Use it, then say that it is used, or why it is not."""
        self.nonce = response.nonce
        try:
            resources = read_resources(response, self.type_name)
        except Rejected as error:
            self.refuse()
            refused = [str(error)]
        else:
            refused = self.give(resources, None, response.version_info)
        if not refused:
            self.version = response.version_info
        message = self._message()
        if refused:
            message.error_detail.code = INTERNAL
            message.error_detail.message = "; ".join(refused)
            log.warning("gRPC config for %s rejected: %s", self.type_name, message.error_detail.message)
        self.mux.send(message)


RESPONSE_TYPE: Final = RESPONSE
