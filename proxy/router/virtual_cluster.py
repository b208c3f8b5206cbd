"""Virtual clusters: names for kinds of requests within a virtual host, for statistics only.

Source: envoy.config.route.v3.VirtualCluster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.api.matchers import HeadersMatcher, compile_header_matcher
from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.base.headers import HeaderMap


class VirtualClusters:
    """``names`` in their order; the first whose matchers all match a request has it."""

    __slots__ = ("_matchers", "names")

    def __init__(self, names: list[str], matchers: list[tuple[HeadersMatcher, ...]]) -> None:
        self.names = names
        self._matchers = matchers

    def find(self, headers: HeaderMap) -> int:
        """The index of a request's virtual cluster, -1 when it has none ("other")."""
        for index, matchers in enumerate(self._matchers):
            for matches in matchers:
                if not matches(headers):
                    break
            else:
                return index
        return -1


@reads("envoy.config.route.v3.VirtualHost")
def compile_virtual_clusters(reader: Reader) -> VirtualClusters | None:
    """None where the virtual host has none."""
    compiled = [_compile(one) for one in reader.each("virtual_clusters")]
    if not compiled:
        return None
    return VirtualClusters([name for name, _ in compiled], [matchers for _, matchers in compiled])


@reads("envoy.config.route.v3.VirtualCluster")
def _compile(reader: Reader) -> tuple[str, tuple[HeadersMatcher, ...]]:
    name = reader.text("name")
    if not name:
        reader.fail("name", "value length must be at least 1 characters")
    matchers = tuple(map(compile_header_matcher, reader.each("headers")))
    if not matchers:
        reader.fail("headers", "virtual clusters must define headers")
    return name, matchers
