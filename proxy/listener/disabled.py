"""Connections that a listener filter does not look at (ListenerFilterChainMatchPredicate)."""

from __future__ import annotations

from collections.abc import Callable

from proxy.api.reader import Reader, reads
from proxy.listener.accepting import Inspector
from proxy.listener.chain_match import Facts

PREDICATE = "envoy.config.listener.v3.ListenerFilterChainMatchPredicate"
Predicate = Callable[[Facts], bool]


class Unless(Inspector):
    """A listener filter that looks at a connection unless the predicate holds for it."""

    __slots__ = ("disabled", "inner")

    def __init__(self, disabled: Predicate, inner: Inspector) -> None:
        self.disabled = disabled
        self.inner = inner

    def inspect(self, data: bytes, facts: Facts) -> bool | None:
        """See ``Inspector``."""
        return True if self.disabled(facts) else self.inner.inspect(data, facts)


@reads(PREDICATE)
def compile_predicate(reader: Reader) -> Predicate:
    """What of a connection's addresses is known when its listener filters run."""
    rule = reader.which("rule")
    if rule == "any_match":
        is_any = reader.flag("any_match")
        return lambda facts: is_any
    if rule == "destination_port_range":
        return _compile_ports(reader.sub("destination_port_range"))
    if rule == "not_match":
        inner = reader.sub("not_match")
        negated = compile_predicate(inner) if inner is not None else _never
        return lambda facts: not negated(facts)
    if rule == "and_match":
        every = _compile_set(reader.sub("and_match"))
        return lambda facts: all(each(facts) for each in every)
    if rule == "or_match":
        some = _compile_set(reader.sub("or_match"))
        return lambda facts: any(each(facts) for each in some)
    reader.fail(
        "rule", "one of or_match, and_match, not_match, any_match, destination_port_range is required"
    )
    return _never


@reads(f"{PREDICATE}.MatchSet")
def _compile_set(reader: Reader | None) -> list[Predicate]:
    return [] if reader is None else [compile_predicate(each) for each in reader.each("rules")]


@reads("envoy.type.v3.Int32Range")
def _compile_ports(reader: Reader | None) -> Predicate:
    """The end does not belong to it."""
    if reader is None:
        return _never
    start, end = reader.number("start"), reader.number("end")
    return lambda facts: start <= facts.destination_port < end


def _never(facts: Facts) -> bool:
    return False
