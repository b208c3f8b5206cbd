"""Rules ↔ the text of iptables-restore --noflush and of iptables-save. Pure.

Each table is one transaction of the kernel, old rules out and new ones in: no packet meets half of them. What we have
put into built-in chains is found again by its jump to a chain of ours, or else by its copy in a chain
OUTRIDER_<built-in chain> that nothing jumps to: so rules go away whatever options they were made with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from proxy.capture.rules import BUILT_IN, OWN, chains

if TYPE_CHECKING:
    from proxy.capture.rules import Rule, Rules

COPIES: Final = "OUTRIDER_"
#: iptables-save text by table: (chain, rule) pairs in order, and the chains that are there
Saved = dict[str, "SavedTable"]


class SavedTable:
    """One table of iptables-save. rules: (chain, specification) in order; chains: those that are not built in."""

    __slots__ = ("chains", "rules")

    def __init__(self) -> None:
        self.rules: list[tuple[str, str]] = []
        self.chains: list[str] = []

    def ours_in_built_in(self) -> list[tuple[str, str]]:
        """What an earlier ``apply`` (ours or Istio's) has put into built-in chains, in order."""
        copies = [
            (chain.removeprefix(COPIES), spec) for chain, spec in self.rules if chain.startswith(COPIES)
        ]
        return [
            (chain, spec)
            for chain, spec in self.rules
            if chain in BUILT_IN and (jumps_to_ours(spec) or (chain, spec) in copies)
        ]

    def our_chains(self) -> list[str]:
        """Chains that are ours, by their names."""
        return [chain for chain in self.chains if chain.startswith((OWN, COPIES))]

    def in_chain(self, name: str) -> list[str]:
        """The specifications of one chain."""
        return [spec for chain, spec in self.rules if chain == name]


def jumps_to_ours(spec: str) -> bool:
    """Whether a rule's target is one of our chains."""
    return f"-j {OWN}" in spec


def parse_save(text: str) -> Saved:
    """iptables-save's output."""
    saved: Saved = {}
    table = SavedTable()
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word.startswith("*"):
            table = saved.setdefault(word[1:], SavedTable())
        elif word.startswith(":") and word[1:] not in BUILT_IN:
            table.chains.append(word[1:])
        elif word == "-A":
            chain, _, spec = rest.partition(" ")
            table.rules.append((chain, spec))
    return saved


def render_apply(rules: Rules, saved: Saved) -> str:
    """What iptables-restore --noflush does to have exactly ``rules`` of ours, where ``saved`` is. "" never."""
    wanted = rules.tables()
    names = sorted({*wanted, *(name for name, table in saved.items() if table.our_chains())})
    return "".join(_render_table(name, wanted.get(name, []), saved.get(name, SavedTable())) for name in names)


def render_clean(saved: Saved) -> str:
    """What iptables-restore --noflush does to have none of ours; "" where there is none."""
    return "".join(
        _render_table(name, [], table)
        for name, table in sorted(saved.items())
        if table.our_chains() or table.ours_in_built_in()
    )


def _render_table(name: str, rules: list[Rule], saved: SavedTable) -> str:
    """A chain that is declared begins empty; one that is no longer wanted is declared and then deleted."""
    keep = [*chains(rules), *dict.fromkeys(COPIES + rule.chain for rule in _to_copy(rules))]
    drop = [chain for chain in saved.our_chains() if chain not in keep]
    lines = [f"*{name}"]
    lines += [f":{chain} - [0:0]" for chain in [*keep, *drop]]
    lines += [f"-D {chain} {spec}" for chain, spec in saved.ours_in_built_in()]
    lines += [rule.line for rule in rules]
    lines += [f"-A {COPIES}{rule.chain} {rule.spec}" for rule in _to_copy(rules)]
    lines += [f"-X {chain}" for chain in drop]
    return "\n".join([*lines, "COMMIT", ""])


def _to_copy(rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.chain in BUILT_IN and not jumps_to_ours(rule.spec)]


def differences(rules: Rules, saved: Saved) -> list[str]:
    """What is not as ``rules`` want it: "table chain: missing ...", one line each. Order within a chain counts."""
    found: list[str] = []
    for name, wanted in rules.tables().items():
        table = saved.get(name, SavedTable())
        for chain in dict.fromkeys(rule.chain for rule in wanted):
            expected = _in_order([rule for rule in wanted if rule.chain == chain])
            there = [canonical(spec) for spec in table.in_chain(chain)]
            if chain in BUILT_IN:  # others may have rules there as well
                there = [each for each in there if each in map(canonical, expected)]
            found += _chain_differences(f"{name} {chain}", expected, there)
    return found


def _chain_differences(where: str, expected: list[str], there: list[tuple[str, ...]]) -> list[str]:
    wanted = [canonical(spec) for spec in expected]
    if wanted == there:
        return []
    missing = [f"{where}: missing: {spec}" for spec in expected if canonical(spec) not in there]
    extra = [f"{where}: not ours: {' '.join(each)}" for each in there if each not in wanted]
    return missing + extra or [f"{where}: the rules stand in another order, or twice"]


def _in_order(rules: list[Rule]) -> list[str]:
    """The specifications as they stand once all rules have been added and inserted."""
    order: list[str] = []
    for rule in rules:
        if rule.position is None:
            order.append(rule.spec)
        else:
            order.insert(rule.position - 1, rule.spec)
    return order


def canonical(spec: str) -> tuple[str, ...]:
    """A rule's meaning, however it is written: iptables-save prints other flags, in another order, than were given."""
    words = spec.replace("--set-xmark", "--set-mark").replace("--to-port ", "--to-ports ").split()
    groups: list[list[str]] = []
    negated = False
    for word in words:
        if word == "!":
            negated = True
        elif word.startswith("-"):
            groups.append(["!" + word if negated else word])
            negated = False
        elif groups:
            groups[-1].append(word)
    return tuple(sorted(_canonical_group(group) for group in groups if not _means_nothing(group)))


#: ``-m tcp`` follows from ``-p tcp``; masks that are all ones; the address that TPROXY takes by default
_SAYS_NOTHING: Final = (["-m", "tcp"], ["-m", "udp"], ["--on-ip", "0.0.0.0"], ["--on-ip", "::"])


def _means_nothing(group: list[str]) -> bool:
    return group in _SAYS_NOTHING or group[0] in ("--nfmask", "--ctmask")


def _canonical_group(group: list[str]) -> str:
    from ipaddress import ip_network

    flag, values = group[0], group[1:]
    if flag.lstrip("!") in ("-s", "-d"):
        values = [str(ip_network(value, strict=False)) for value in values]
    elif "mark" in flag:
        values = [str(int(value.partition("/")[0], 0)) for value in values]
    elif flag.endswith("dports") or flag == "--ctstate":
        values = [",".join(sorted(value.split(","))) for value in values]
    elif flag.endswith("--gid-owner"):
        values = [group_number(value) for value in values]
    return " ".join([flag, *values])


def group_number(name: str) -> str:
    """A group's number: iptables-save knows only numbers."""
    if name.isdigit():
        return name
    import grp

    try:
        return str(grp.getgrnam(name).gr_gid)
    except KeyError:
        return name
