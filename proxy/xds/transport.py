"""What streams to control planes need of the process, and who we are to them. A process without streams has no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import proxy
from proxy.api.pool import new_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.base.ids import Ids
    from proxy.http.async_client import AsyncClient
    from proxy.http.context import Node
    from proxy.network.dispatcher import Dispatcher


class Transport:
    """What streams to control planes need of the process. node: envoy.config.core.v3.Node, who we are, made by
    ``make_node`` when first asked for"""

    __slots__ = ("_make_node", "_node", "client", "dispatcher", "ids")

    def __init__(
        self, client: AsyncClient, dispatcher: Dispatcher, ids: Ids, make_node: Callable[[], Any]
    ) -> None:
        self.client = client
        self.dispatcher = dispatcher
        self.ids = ids
        self._make_node = make_node
        self._node: Any = None

    @property
    def node(self) -> Any:
        if self._node is None:
            self._node = self._make_node()
        return self._node


def node_message(node: Node) -> Any:
    """envoy.config.core.v3.Node: as configured, and what program we are."""
    from google.protobuf import json_format

    message: Any = new_message("envoy.config.core.v3.Node")
    message.id, message.cluster = node.id, node.cluster
    if node.metadata:
        json_format.ParseDict(node.metadata, message.metadata)
    locality = {"region": node.region, "zone": node.zone, "sub_zone": node.sub_zone}
    for name, value in locality.items():
        if value:
            setattr(message.locality, name, value)
    message.user_agent_name = "outrider"
    numbers = [int(part) for part in proxy.__version__.split(".")[:3] if part.isdigit()]
    version = message.user_agent_build_version.version
    for name, number in zip(("major_number", "minor_number", "patch"), numbers, strict=False):
        setattr(version, name, number)
    return message
