"""Which of several certificates a client may be shown."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.base.x509 import Certificate, read_pem
from proxy.ext.transport_sockets.several import Shown, compile_several, is_rsa
from tests.support.certs import Authority

CA = Authority()
RSA_KEY = rsa.generate_private_key(65537, 2048)


def leaf(kind: str, *names: str, common: str = "x") -> Certificate:
    pair = CA.signs(common, dns=names, key=RSA_KEY if kind == "rsa" else None)
    return read_pem(pair.certificate.encode())[0]


@pytest.mark.parametrize(
    ("leaves", "nameless", "named"),
    [
        ([("ec", "a.x"), ("ec", "b.x")], (0,), {"a.x": (0,), "b.x": (1,)}),
        ([("rsa", "a.x"), ("ec", "a.x")], (1, 0), {"a.x": (1, 0)}),
        ([("ec", "a.x"), ("rsa", "a.x"), ("ec", "a.x"), ("rsa", "a.x")], (0, 1), {"a.x": (0, 1)}),
        ([("rsa", "a.x"), ("ec", "b.x")], (1, 0), {"a.x": (0,), "b.x": (1, 0)}),
        ([("ec", "a.x"), ("rsa", "b.x")], (0, 1), {"a.x": (0,), "b.x": (1,)}),
        ([("ec", "*.x"), ("ec", "A.x")], (0,), {"*.x": (0,), "a.x": (1,)}),
        ([("ec", "*.x"), ("rsa", "a.x")], (0, 1), {"*.x": (0,), "a.x": (0, 1)}),
        ([("rsa", "*.x", "a.x"), ("ec", "*.x")], (1, 0), {"*.x": (1, 0), "a.x": (1, 0)}),
    ],
)
def test_by_name(leaves: list[tuple[str, ...]], nameless: Shown, named: dict[str, Shown]) -> None:
    several = compile_several([leaf(*each) for each in leaves])
    assert (several.nameless, several.stranger, several.named) == (nameless, (0,), named)


def test_a_common_name_is_one_where_there_are_no_others() -> None:
    certificates = [leaf("ec", common="cn.x"), leaf("ec", "san.x", common="not.x")]
    assert compile_several(certificates).named == {"cn.x": (0,), "san.x": (1,)}


def test_each_context_once() -> None:
    several = compile_several([leaf("rsa", "a.x", "b.x"), leaf("ec", "a.x", "b.x")])
    assert list(several) == [(1, 0), (0,)]


def test_kinds_of_keys() -> None:
    assert is_rsa(leaf("rsa")) and not is_rsa(leaf("ec"))
