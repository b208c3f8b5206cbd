"""Redirects that an upstream answers and the proxy follows itself: when, where to, and with which headers.

Pure: says what the request becomes; ``proxy.http.redirect`` starts it anew. Source:
envoy.config.route.v3.InternalRedirectPolicy and the three predicates of envoy.extensions.internal_redirect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.api.reader import Reader, reads

if TYPE_CHECKING:
    from proxy.base.headers import RequestHeaders, ResponseHeaders

_EXTENSIONS: Final = "envoy.extensions.internal_redirect."
PREVIOUS_ROUTES: Final = f"{_EXTENSIONS}previous_routes.v3.PreviousRoutesConfig"
ALLOW_LISTED_ROUTES: Final = f"{_EXTENSIONS}allow_listed_routes.v3.AllowListedRoutesConfig"
SAFE_CROSS_SCHEME: Final = f"{_EXTENSIONS}safe_cross_scheme.v3.SafeCrossSchemeConfig"
_CODES: Final = frozenset({301, 302, 303, 307, 308})
_URL: Final = (
    rb"(?i:(https?)://(\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?|[A-Za-z0-9._~%!$&'()*+,;=-]+(?::[0-9]{1,5})?)"
    rb"(/[\x21\x22\x24-\x3e\x40-\x7e]*)?(\?[\x21\x22\x24-\x7e]*)?(?:#[\x21-\x7e]*)?)"
)


class Trail:
    """What one request has been through: how many redirects, and from which route to which."""

    __slots__ = ("count", "followed")

    def __init__(self) -> None:
        self.count = 0
        self.followed: set[tuple[bytes, bytes]] = set()


#: accepts(trail, name of the route that is left, name of the target, is the request https, is the target https)
Predicate = Callable[[Trail, bytes, bytes, bool, bool], bool]


def accepts_once(trail: Trail, source: bytes, target: bytes, from_tls: bool, to_tls: bool) -> bool:
    """previous_routes: a redirect from this route to that one is followed once."""
    if (source, target) in trail.followed:
        return False
    trail.followed.add((source, target))
    return True


def accepts_safe_scheme(trail: Trail, source: bytes, target: bytes, from_tls: bool, to_tls: bool) -> bool:
    """safe_cross_scheme: never from http to https."""
    return from_tls or not to_tls


def accepts_listed(names: frozenset[bytes]) -> Predicate:
    """allow_listed_routes."""

    def accepts(trail: Trail, source: bytes, target: bytes, from_tls: bool, to_tls: bool) -> bool:
        return target in names

    return accepts


class Location(NamedTuple):
    """An absolute http or https URL, without its fragment."""

    scheme: bytes
    authority: bytes
    path: bytes


def parse_location(value: bytes) -> Location | None:
    """None for anything that is no absolute http or https URL, or has user information."""
    found = re.fullmatch(_URL, value)
    if found is None:
        return None
    scheme, authority, path, query = found.groups(b"")
    return Location(scheme.lower(), authority, (path or b"/") + query)


class InternalRedirectPolicy:
    """A compiled InternalRedirectPolicy."""

    __slots__ = ("codes", "copied", "cross_scheme", "most", "predicates")

    def __init__(self) -> None:
        self.most = 1
        self.codes: frozenset[int] = frozenset({302})
        self.cross_scheme = False
        self.copied: tuple[bytes, ...] = ()
        self.predicates: tuple[Predicate, ...] = ()

    def accepts(self, trail: Trail, source: bytes, target: bytes, from_tls: bool, to_tls: bool) -> bool:
        """Whether every predicate lets the redirect pass."""
        return all(predicate(trail, source, target, from_tls, to_tls) for predicate in self.predicates)

    def rewrite(self, request: RequestHeaders, response: ResponseHeaders, location: Location) -> None:
        """The request as it is to be routed anew: copied headers, then scheme, authority and path."""
        for name in self.copied:
            values = [value for key, value in response.fields if key == name]
            request.remove(name)
            for value in values:
                request.add(name, value)
        request.scheme, request.authority, request.path = location


@reads("envoy.config.route.v3.InternalRedirectPolicy")
def compile_internal_redirect(reader: Reader) -> InternalRedirectPolicy:
    """envoy.config.route.v3.InternalRedirectPolicy. Codes that are no redirects are left out, as in Envoy."""
    policy = InternalRedirectPolicy()
    policy.most = reader.wrapped("max_internal_redirects", 1)
    codes = reader.values("redirect_response_codes")
    if codes:
        policy.codes = frozenset(codes) & _CODES
    policy.cross_scheme = reader.flag("allow_cross_scheme_redirect")
    names = [name.lower() for name in reader.values("response_headers_to_copy")]
    for index, name in enumerate(names):
        if name.startswith(":") or name == "host":
            reader.fail(f"response_headers_to_copy[{index}]", ":-prefixed headers or host may not be copied")
    policy.copied = tuple(name.encode() for name in names)
    made = [_compile_predicate(one) for one in reader.each("predicates")]
    policy.predicates = tuple(one for one in made if one is not None)
    return policy


@reads("envoy.config.core.v3.TypedExtensionConfig")
def _compile_predicate(reader: Reader) -> Predicate | None:
    reader.text("name")  # the type decides; the name is for people
    config = reader.any("typed_config")
    if config is None:
        return None
    if config.type_name == PREVIOUS_ROUTES:
        return accepts_once
    if config.type_name == SAFE_CROSS_SCHEME:
        return accepts_safe_scheme
    if config.type_name == ALLOW_LISTED_ROUTES:
        return _compile_listed(config)
    reader.unsupported("typed_config", f"{config.type_name} is not supported")
    return None


@reads("envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig")
def _compile_listed(reader: Reader) -> Predicate:
    return accepts_listed(frozenset(name.encode() for name in reader.values("allowed_route_names")))
