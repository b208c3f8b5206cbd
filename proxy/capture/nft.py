"""The same rules for nftables: one table of our own per IP version, replaced whole in one transaction. Pure.

Chains have the same names, with the iptables table before it: nft has no tables "nat" and "mangle", only hooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.capture.restore import canonical
from proxy.capture.rules import BUILT_IN, chains

if TYPE_CHECKING:
    from proxy.capture.rules import Rule, Rules

TABLE: Final = "outrider"
_FAMILIES: Final = {4: "ip", 6: "ip6"}
#: (iptables table, built-in chain) → nft's hook. Marks change the route of what leaves: that is a chain of type route
_HOOKS: Final = {
    ("nat", "PREROUTING"): "type nat hook prerouting priority dstnat; policy accept;",
    ("nat", "OUTPUT"): "type nat hook output priority -100; policy accept;",
    ("mangle", "PREROUTING"): "type filter hook prerouting priority mangle; policy accept;",
    ("mangle", "OUTPUT"): "type route hook output priority mangle; policy accept;",
    ("raw", "PREROUTING"): "type filter hook prerouting priority raw; policy accept;",
    ("raw", "OUTPUT"): "type filter hook output priority raw; policy accept;",
}
_STATES: Final = {"RELATED,ESTABLISHED": "{ related, established }", "INVALID": "invalid"}


def render_apply(rules: Rules) -> str:
    """Input of ``nft -f -``: the table from nothing, whatever it was before."""
    where = f"{_FAMILIES[rules.version]} {TABLE}"
    blocks = []
    for table, wanted in rules.tables().items():
        built_in = [name for name in BUILT_IN if any(rule.chain == name for rule in wanted)]
        for chain in [*chains(wanted), *built_in]:  # a chain stands before who jumps to it ...
            blocks.append(
                _render_chain(table, chain, [rule for rule in wanted if rule.chain == chain], rules.version)
            )
    # ... and all are declared first, for those that jump to one another
    declared = [
        f"\tchain {_name(table, chain)} {{ }}"
        for table, wanted in rules.tables().items()
        for chain in chains(wanted)
    ]
    return "\n".join(
        [
            f"table {where} {{ }}",
            f"delete table {where}",
            f"table {where} {{",
            *declared,
            "}",
            f"table {where} {{",
            *blocks,
            "}",
            "",
        ]
    )


def render_clean(version: int) -> str:
    """Input of ``nft -f -``: the table goes, if it is there."""
    where = f"{_FAMILIES[version]} {TABLE}"
    return f"table {where} {{ }}\ndelete table {where}\n"


def _name(table: str, chain: str) -> str:
    return f"{table}_{chain}"


def _render_chain(table: str, chain: str, rules: list[Rule], version: int) -> str:
    order: list[str] = []
    for rule in rules:
        order.insert(len(order) if rule.position is None else rule.position - 1, _statement(rule, version))
    hook = _HOOKS.get((table, chain))
    lines = ([hook] if hook else []) + order
    return "\n".join([f"\tchain {_name(table, chain)} {{", *(f"\t\t{line}" for line in lines), "\t}"])


def _statement(rule: Rule, version: int) -> str:
    """One iptables rule of ours in nft's words. Its vocabulary is that of ``capture.rules``, and no more."""
    words = dict(_split(rule.spec.replace("-m connmark --mark", "--connmark")))
    target = words.pop("-j")
    protocol = words.pop("-p", "")
    matches = [f"meta l4proto {protocol}"] if protocol else []
    for flag, value in words.items():
        match = _match(flag, value, protocol, _FAMILIES[version])
        if match:
            matches.append(match)
    return " ".join([*matches, _target(rule.table, target, words)])


def _split(spec: str) -> list[tuple[str, str]]:
    """(flag, value) pairs, negated flags with "!" before; a flag that comes twice (none of the groups) is numbered."""
    pairs: list[tuple[str, str]] = []
    for group in _groups(spec):
        flag, _, value = group.partition(" ")
        taken = sum(flag == other.partition("#")[0] for other, _ in pairs)
        pairs.append((f"{flag}#{taken}" if taken else flag, value))
    return pairs


def _groups(spec: str) -> list[str]:
    groups: list[str] = []
    negated = False
    for word in spec.split():
        if word == "!":
            negated = True
        elif word.startswith("-"):
            groups.append(("!" if negated else "") + word)
            negated = False
        else:
            groups[-1] += " " + word
    return groups


def _match(numbered: str, value: str, protocol: str, family: str) -> str:
    """One condition; "" for flags that are part of the target, or say nothing here."""
    flag = numbered.partition("#")[0]
    no = "!= " if flag.startswith("!") else ""
    match flag.lstrip("!"):
        case "--dport" | "--sport":
            return f"{protocol} {flag.lstrip('!-')} {no}{value}"
        case "--dports":
            return f"{protocol} dport {no}{{ {value} }}"
        case "-s" | "-d":
            return f"{family} {'saddr' if flag.endswith('s') else 'daddr'} {no}{_network(flag, value)}"
        case "-i" | "-o":
            return f'{"iifname" if flag.endswith("i") else "oifname"} {no}"{value.replace("+", "*")}"'
        case "--uid-owner" | "--gid-owner":
            return f"meta sk{flag.lstrip('!-')[:3]} {no}{value if value.isdigit() else _quoted(value)}"
        case "--ctstate":
            return f"ct state {_STATES[value]}"
        case "--mark" | "--connmark":
            return f"{'ct' if flag.endswith('connmark') else 'meta'} mark {no}{value}"
    return ""


def _network(flag: str, value: str) -> str:
    return canonical(f"{flag.lstrip('!')} {value}")[0].partition(" ")[2]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _target(table: str, target: str, words: dict[str, str]) -> str:
    match target:
        case "RETURN" | "ACCEPT" | "DROP":
            return target.lower()
        case "REDIRECT":
            return f"redirect to :{words.get('--to-ports') or words['--to-port']}"
        case "TPROXY":
            mark = words["--tproxy-mark"].partition("/")[0]
            return f"meta mark set {mark} tproxy to :{words['--on-port']} accept"
        case "MARK":
            return f"meta mark set {words['--set-mark']}"
        case "CONNMARK":
            return "ct mark set meta mark" if "--save-mark" in words else "meta mark set ct mark"
        case "CT":
            return f"ct zone set {words['--zone']}"
    return f"jump {_name(table, target)}"


def sizes(text: str) -> dict[str, int]:
    """How many rules each chain holds, in a file of nft's or in its listing."""
    found: dict[str, int] = {}
    chain = ""
    for line in (each.strip() for each in text.splitlines()):
        if line.startswith("chain "):
            chain = line.split()[1]
            found.setdefault(chain, 0)
        elif chain and line and not line.startswith(("type ", "}", "table ")):
            found[chain] += 1
    return found
