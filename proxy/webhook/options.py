"""What the webhook is told on its command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from proxy.inject.pod import Policy

#: where injection could keep a cluster from starting again
SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


@dataclass(slots=True, frozen=True)
class WebhookOptions:
    """listen, operations: (ip, port) of reviews and of health and metrics; certificate, key: files
    client_ca: certificates that a caller's must be signed by, "" for any caller
    namespaces: patterns, one of which a namespace must fit (() for all); ignored: patterns of those left alone
    fails_open: where something goes wrong the pod is admitted as it is; else it is refused
    """

    policy: Policy
    certificate: str
    key: str
    listen: tuple[str, int] = ("0.0.0.0", 8443)
    operations: tuple[str, int] = ("0.0.0.0", 8080)
    client_ca: str = ""
    namespaces: tuple[str, ...] = ()
    ignored: tuple[str, ...] = field(default=SYSTEM)
    fails_open: bool = True

    def wants(self, namespace: str) -> bool:
        """Whether pods of the namespace are injected at all."""
        if any(fnmatchcase(namespace, pattern) for pattern in self.ignored):
            return False
        return not self.namespaces or any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)
