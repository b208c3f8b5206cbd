"""Resources that come while we run (xDS): the words that those who subscribe and those who deliver have in common.

A room that needs a resource asks its context's ``Sources`` for a Subscription and receives what comes; who delivers it
(a file, a control plane) is the xds room's business. Likewise ``Secrets`` for TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from proxy.api.errors import Errors, Locator
from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from proxy.base.errors import ConfigError
    from proxy.base.init import InitManager
    from proxy.stats.store import Scope


class Rejected(Exception):
    """An update that cannot be used. The text is for the log, /config_dump and the one who sent it."""


class Resource(NamedTuple):
    """One resource as it came. version: its own, or the response's; path, locator: where findings about it stand."""

    name: str
    message: Any
    version: str = ""
    path: str = ""
    locator: Locator | None = None

    def reader(self) -> Reader:
        """A reader to compile it with, whose findings are its own."""
        return Reader(self.message, self.path, Errors(), self.locator)


def check(findings: list[ConfigError]) -> None:
    """After compiling (``api.reader.finish``): raises Rejected with every finding."""
    if findings:
        raise Rejected("; ".join(str(finding) for finding in findings))


class Receiver(Protocol):
    """Who subscribed."""

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """What came. removed: None when ``resources`` is all there is (what is not among them is gone), else the names
        that are gone, and others stay as they are. Raises Rejected; what was in force before then stays."""

    def on_unavailable(self) -> None:
        """The first update failed, was refused, or has not come in time: go on without. Later ones may come."""


class Subscription(Protocol):
    """Updates of one resource by its name, or of all of a type (name "")."""

    def start(self) -> None:
        """Begin; the first update may come before this returns."""

    def stop(self) -> None:
        """No more updates."""


class Sources(Protocol):
    """Makes subscriptions from an envoy.config.core.v3.ConfigSource."""

    @reads("envoy.config.core.v3.ConfigSource")
    def subscribe(
        self, source: Reader, type_name: str, name: str, receiver: Receiver, scope: Scope
    ) -> Subscription | None:
        """Not yet started; None when there were findings. scope: where update_success and the like are counted."""


class SecretFollower(Protocol):
    """Who uses secrets."""

    def prepare(self, secret: Secret, message: Message) -> Callable[[], None]:
        """The secret is to have this content. Raises Rejected when it cannot be used; what is returned puts it to use,
        and is called only if every follower can."""


class Secret(Protocol):
    """A secret that comes by SDS. message: envoy.extensions.transport_sockets.tls.v3.Secret, its files read; None as
    long as there is none."""

    name: str
    message: Any

    def follow(self, follower: SecretFollower) -> None:
        """Tell it of every content from now on."""

    def leave(self, follower: SecretFollower) -> None:
        """It is not used there any more."""


class Secrets(Protocol):
    """The secrets of static_resources, and those that come by SDS."""

    def static(self, name: str, kind: str) -> Reader | None:
        """The Secret of static_resources.secrets; kind: the member of its oneof that is wanted. One of another kind,
        when none of this one has the name."""

    @reads("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig")
    def dynamic(self, config: Reader, init: InitManager) -> Secret | None:
        """The one that an SdsSecretConfig names; None when there were findings. ``init`` waits for it."""
