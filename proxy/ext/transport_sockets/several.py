"""Which certificates of a listener a client may be shown, by the name that it asks for and what it can verify.

Of those with the name the first with an elliptic key and the first with an RSA key are put into one context: OpenSSL shows
the former to clients that can verify it. Names are compared in any case; ``*.`` stands for one label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from proxy.base.x509 import DNS, Certificate

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

#: indices of certificates, in the order of what clients are rather shown: at most one of each kind of key
Shown = tuple[int, ...]
_RSA: Final = bytes.fromhex("06092a864886f70d010101")  # rsaEncryption, in the DER of a public key


def is_rsa(certificate: Certificate) -> bool:
    """Whether its key is one of RSA."""
    return _RSA in certificate.spki[:32]


@dataclass(slots=True, frozen=True)
class Several:
    """nameless: for clients that ask for no name; stranger: for those whose name no certificate has, as in Envoy the first one
    alone; named: for the others, by name."""

    nameless: Shown
    stranger: Shown
    named: dict[str, Shown]

    def __iter__(self) -> Iterator[Shown]:
        """Each once, ``nameless`` first."""
        return iter(dict.fromkeys((self.nameless, self.stranger, *self.named.values())))


def compile_several(leaves: list[Certificate]) -> Several:
    """leaves: at least one."""
    having: dict[str, list[int]] = {}
    for index, leaf in enumerate(leaves):
        for name in _names(leaf):
            having.setdefault(name, []).append(index)
    named = {}
    for name, indices in having.items():
        wider = having.get(f"*.{name.partition('.')[2]}", []) if name[:2] != "*." else []
        named[name] = _best([*indices, *wider], leaves)
    return Several(_best(range(len(leaves)), leaves), (0,), named)


def _names(leaf: Certificate) -> Iterable[str]:
    """What it is called, in lower case: as in Envoy by its common name where it has no alternative names of any kind."""
    names = leaf.names(DNS)
    if not leaf.sans:
        names = [part[3:] for part in leaf.subject.split(",") if part[:3] == "CN="]
    return dict.fromkeys(name.lower() for name in names)


def _best(indices: Iterable[int], leaves: list[Certificate]) -> Shown:
    """The first of each kind. Who cannot verify the only one with its name gets the first of all, if it can verify that."""
    kinds: dict[bool, int] = {}
    for index in indices:
        kinds.setdefault(is_rsa(leaves[index]), index)
    if True not in kinds and is_rsa(leaves[0]):
        kinds[True] = 0
    return tuple(kinds[kind] for kind in (False, True) if kind in kinds)


def choose_by_name(several: Several, contexts: dict[Shown, ssl.SSLContext]) -> Callable[..., Any]:
    """An sni_callback for the context of ``nameless``."""

    def choose(tls: Any, name: str | None, first: ssl.SSLContext) -> None:
        if name is None:
            return
        wanted = name.lower()
        shown = several.named.get(wanted) or several.named.get(f"*.{wanted.partition('.')[2]}")
        tls.context = contexts[shown or several.stranger]

    return choose
