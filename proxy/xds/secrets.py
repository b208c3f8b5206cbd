"""Secrets by name: those of the bootstrap, and those that come by SDS (envoy.extensions.transport_sockets.tls.v3.Secret).

A secret that names files is read whole when it comes, and again whenever something in the files' directories, or in the
watched directory, is renamed: so careful people and Kubernetes swap certificates. A content that somebody cannot use
(a key of another certificate, a file half written) changes nothing and is counted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from proxy.api.discovery import Rejected, Resource, SecretFollower, Subscription
from proxy.api.pool import new_message
from proxy.api.reader import Reader, reads
from proxy.base.init import InitManager, InitTarget
from proxy.xds.resources import SECRET

if TYPE_CHECKING:
    from proxy.base.clock import Clock
    from proxy.network.file_watch import FileWatch, FileWatcher
    from proxy.stats.store import Store
    from proxy.xds.sources import ConfigSources

log = logging.getLogger("secret")

_MOST_BYTES: Final = 16 * 1024 * 1024
UNINITIALIZED: Final = "uninitialized"


class DynamicSecret:
    """One secret that comes by SDS. Implements ``api.discovery.Secret`` and ``Receiver``.

    message: as it is in force, its files read into it; version, updated_at: of the last update, wall-clock seconds
    """

    def __init__(
        self, name: str, watcher: FileWatcher, store: Store, clock: Clock, on_unused: Callable[[], None]
    ) -> None:
        self.name = name
        self._on_unused = on_unused
        self.message: Any = None
        self.version = UNINITIALIZED
        self.updated_at = clock.wall()
        self.subscription: Subscription | None = None
        self.target = InitTarget(f"SdsApi {name}", self._begin)
        self._wall = clock.wall
        self._watcher = watcher
        self._failures = store.scope("sds").scope(name).counter("key_rotation_failed")
        self._followers: list[SecretFollower] = []
        self._watches: list[FileWatch] = []
        self._source: Any = None  # as it came, its files by name
        self._content = b""  # of those files
        self._begun = False

    def _begin(self) -> None:
        if not self._begun and self.subscription is not None:
            self._begun = True
            self.subscription.start()

    def follow(self, follower: SecretFollower) -> None:
        """See Secret."""
        self._followers.append(follower)

    def leave(self, follower: SecretFollower) -> None:
        """See Secret. Nobody's secret is forgotten."""
        if follower in self._followers:
            self._followers.remove(follower)
            if not self._followers:
                self._on_unused()

    @property
    def shown(self) -> Any:
        """The Secret for /config_dump, which hides its key; with its name alone as long as there is none."""
        return self.message if self.message is not None else _named(self.name)

    def close(self) -> None:
        """No more updates."""
        if self.subscription is not None:
            self.subscription.stop()
        self._watch(())

    # -- what comes --------------------------------------------------------------------------------------------------

    def on_update(self, resources: list[Resource], removed: list[str] | None, version: str) -> None:
        """See Receiver."""
        if not resources:
            if removed:
                return  # Envoy, too, keeps a secret that was taken away
            raise Rejected(f"Missing SDS resources for {self.name} in onConfigUpdate()")
        if len(resources) != 1:
            raise Rejected(f"Unexpected SDS secrets length: {len(resources)}")
        (resource,) = resources
        if resource.name != self.name:
            raise Rejected(f"Unexpected SDS secret (expecting {self.name}): {resource.name}")
        self._watch(watched_directories(resource.message))
        self._source = resource.message
        self.version, self.updated_at = resource.version, self._wall()
        self._use(read_files(resource.message))
        self.target.ready()

    def on_unavailable(self) -> None:
        """See Receiver."""
        self.target.ready()

    def _use(self, message: Any) -> None:
        """Put a content to use, if everybody can. Raises Rejected."""
        content: bytes = message.SerializeToString(deterministic=True)
        if content == self._content:
            return
        ready = [follower.prepare(self, message) for follower in self._followers]
        self.message, self._content = message, content
        for commit in ready:
            commit()

    def _watch(self, directories: tuple[str, ...]) -> None:
        """Raises Rejected."""
        made: list[FileWatch] = []
        for directory in directories:
            try:
                made.append(self._watcher.watch_directory(directory, self._on_moved))
            except OSError as error:
                for watch in made:
                    watch.close()
                raise Rejected(f"cannot watch {directory}: {error.strerror}") from None
        for watch in self._watches:
            watch.close()
        self._watches = made

    def _on_moved(self) -> None:
        """Something in a directory of its files is another one."""
        try:
            self._use(read_files(self._source))
        except Rejected as error:
            self._failures.value += 1
            log.warning("secret %s: failed to reload certificates: %s", self.name, error)
            return
        self.updated_at = self._wall()
        self.target.ready()


class SecretManager:
    """Implements ``api.discovery.Secrets``. statics: readers of static_resources.secrets by kind and name; used: those of them
    that some TLS context names; secrets: the ones that come by SDS."""

    def __init__(self, sources: ConfigSources, store: Store, clock: Clock) -> None:
        self._sources = sources
        self._store = store
        self._clock = clock
        self.statics: dict[tuple[str, str], Reader] = {}
        self.used: set[tuple[str, str]] = set()
        self.secrets: dict[tuple[bytes, str], DynamicSecret] = {}

    @reads(SECRET)
    def add_static(self, reader: Reader) -> None:
        """static_resources.secrets."""
        name, kind = reader.text("name"), reader.which("type") or ""
        if not kind:
            reader.fail("", "a secret of no type: tls_certificate, validation_context, ...")
        if (kind, name) in self.statics:
            reader.fail("name", f"there is a {kind} of this name already: {name}")
            reader.settle("")
            return
        self.statics[kind, name] = reader

    def finish(self) -> None:
        """Everything of the bootstrap is compiled: what no TLS context uses has no effect, as in Envoy."""
        for key, reader in self.statics.items():
            if key not in self.used:
                _ignore_unused(reader)

    def static(self, name: str, kind: str) -> Reader | None:
        """See Secrets."""
        of_name = [key for key in self.statics if key[1] == name]
        if not of_name:
            return None
        key = (kind, name) if (kind, name) in self.statics else of_name[0]
        self.used.add(key)
        return self.statics[key]

    @reads("envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig")
    def dynamic(self, config: Reader, init: InitManager) -> DynamicSecret | None:
        """See Secrets. Those who name the same secret of the same source share it."""
        source, name = config.sub("sds_config"), config.text("name")
        if source is None:
            return None
        key = (source.message.SerializeToString(deterministic=True), name)
        made = DynamicSecret(
            name, self._sources.watcher, self._store, self._clock, lambda: self._forget(key, made)
        )
        scope = self._store.scope("sds").scope(name)
        subscription = self._sources.subscribe(source, SECRET, name, made, scope)
        if subscription is None:
            return None
        secret = self.secrets.get(key)
        if secret is None:
            made.subscription = subscription
            secret = self.secrets[key] = made
        init.add(secret.target)
        return secret

    def _forget(self, key: tuple[bytes, str], secret: DynamicSecret) -> None:
        secret.close()
        if self.secrets.get(key) is secret:
            del self.secrets[key]

    def close(self) -> None:
        """The process ends."""
        for secret in self.secrets.values():
            secret.close()


@reads(SECRET)
def _ignore_unused(reader: Reader) -> None:
    reader.ignore(
        "tls_certificate",
        "validation_context",
        "session_ticket_keys",
        "generic_secret",
        why="no TLS context names this secret",
    )


def _named(name: str) -> Any:
    message: Any = new_message(SECRET)
    message.name = name
    return message


def _data_sources(message: Any) -> Iterator[Any]:
    """The set DataSources of a Secret that hold what TLS needs."""
    kind = message.WhichOneof("type")
    if kind is None:
        return
    inside = getattr(message, kind)
    for name in ("certificate_chain", "private_key", "password", "trusted_ca", "crl"):
        if name in inside.DESCRIPTOR.fields_by_name and inside.HasField(name):
            yield getattr(inside, name)


def watched_directories(message: Any) -> tuple[str, ...]:
    """Where a rename may mean that the secret's files are other ones."""
    kind = message.WhichOneof("type")
    found: dict[str, None] = {}
    inside = getattr(message, kind) if kind is not None else None
    files = [each for each in _data_sources(message) if each.filename]
    if inside is not None and files and kind in ("tls_certificate", "validation_context"):
        whole: str = inside.watched_directory.path
        if whole:
            return (whole,)
    for each in files:
        found[each.watched_directory.path or os.path.dirname(each.filename) or "."] = None
    return tuple(found)


def read_files(message: Any) -> Any:
    """A copy whose files are read into it. Raises Rejected."""
    copy = new_message(SECRET)
    copy.CopyFrom(message)
    for each in _data_sources(copy):
        if not each.filename:
            continue
        try:
            with open(each.filename, "rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise Rejected(f"Invalid path: {each.filename}: {error.strerror}") from None
        if len(data) > _MOST_BYTES:
            raise Rejected(f"{each.filename} is larger than {_MOST_BYTES} bytes")
        each.inline_bytes = data
        each.ClearField("watched_directory")
    return copy
