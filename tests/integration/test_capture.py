"""Rules of ``outrider iptables`` in real kernels' namespaces: who takes which connection, and that none escapes.

The proxy is played by listeners that say where a connection was going.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.netns import APP_UID, PROXY_UID, Namespace, backend_missing, why_not

MISSING = why_not("iptables", "nft", "setpriv")
pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(MISSING), reason=MISSING)]

ROOT = Path(__file__).resolve().parents[2]
PEER = [sys.executable, "-SP", str(ROOT / "tests" / "support" / "capture_peer.py")]
OUTRIDER = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-P", "-m", "proxy", "iptables"]
POD, WORLD = "10.9.0.2", "10.9.0.1"
POD6, WORLD6 = "fd00:9::2", "fd00:9::1"
BACKENDS = [
    pytest.param(name, marks=[pytest.mark.skipif(bool(reason), reason=reason or "it is there"), *more])
    for name in ("iptables-nft", "iptables-legacy", "nft")
    for reason in (backend_missing(name),)
    for more in (
        [pytest.mark.slow] if name == "iptables-legacy" else [],
    )  # the older of two that print the same
]


class Net:
    """A pod and the world, each a namespace, with listeners in both."""

    def __init__(self, stack: ExitStack, inbound: str = "15006") -> None:
        self.pod = stack.enter_context(Namespace())
        self.world = stack.enter_context(Namespace())
        self.pod.connect(self.world, "eth0", f"{POD}/24", f"{POD6}/64")
        self.world.run("ip", "addr", "add", f"{WORLD}/24", "dev", "eth0")
        self.world.run("ip", "addr", "add", f"{WORLD6}/64", "dev", "eth0", "nodad")
        self.pod.run("ip", "route", "add", "default", "via", WORLD)
        self.pod.run("ip", "-6", "route", "add", "default", "via", WORLD6)
        self._stack = stack
        # the proxy of TPROXY holds CAP_NET_ADMIN, here as root: its own connections are made by ``ask`` as its user
        self.serve(self.pod, "15001", inbound)
        self.serve(self.pod, "8080", "15020", "9999")
        self.serve(self.world, "80", "8443", "3306")

    def serve(self, where: Namespace, *ports: str) -> None:
        self.start(where, "serve", *ports)

    def start(self, where: Namespace, *arguments: str, uid: int | None = None) -> None:
        process = where.popen([*PEER, *arguments], uid=uid)
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        self._stack.callback(process.stdout.close)
        assert process.stdout.readline() == "serving\n"

    def outrider(self, *arguments: str, expect: int = 0) -> str:
        done = self.pod.run(*OUTRIDER, *arguments, expect=expect)
        return done.stdout

    def ask(self, where: Namespace, uid: int, *calls: tuple) -> list[str]:
        text = json.dumps([[ip, port, source[0] if source else None] for ip, port, *source in calls])
        return where.run(*PEER, "ask", uid=uid, text=text).stdout.splitlines()

    def rules(self, backend: str) -> str:
        if backend == "nft":
            return self.pod.run("nft", "list", "ruleset").stdout
        saved = [self.pod.run(f"{name}-save").stdout for name in (backend, backend.replace("ip", "ip6", 1))]
        lines = "\n".join(saved).splitlines()
        return "\n".join(line for line in lines if not line.startswith("#"))


@pytest.fixture
def net():
    with ExitStack() as stack:
        yield Net(stack)


def arrived(answers: list[str]) -> list[str]:
    """Where: the port, and where the connection was going; the peer's address is left out."""
    return [answer.rpartition(" ")[0] for answer in answers]


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_takes_which_connection(net: Net, backend: str):
    """The table of Istio's rules, row by row."""
    use = ("--backend", backend, "-o", "3306", "-x", "198.51.100.0/24")
    net.outrider("apply", *use)
    assert "traffic is captured" in net.outrider("check", *use)

    inbound = net.ask(net.world, APP_UID, (POD, 8080), (POD, 15020), (POD, 15006), (POD6, 8080))
    assert arrived(inbound) == [
        f"15006 {POD} 8080",
        f"15020 {POD} 15020",
        f"15006 {POD} 15006",
        f"15006 {POD6} 8080",
    ]

    app = net.ask(
        net.pod,
        APP_UID,
        (WORLD, 80),
        (WORLD, 3306),
        ("127.0.0.1", 9999),
        (POD, 8080),
        ("192.0.2.9", 7),
        (WORLD6, 80),
    )
    assert arrived(app) == [
        f"15001 {WORLD} 80",  # captured
        f"3306 {WORLD} 3306",  # an excluded port
        "9999 127.0.0.1 9999",  # itself at localhost
        f"8080 {POD} 8080",  # itself at its own address
        "15001 192.0.2.9 7",  # nobody's address
        f"15001 {WORLD6} 80",
    ]

    proxy = net.ask(
        net.pod,
        PROXY_UID,
        (WORLD, 80),
        (POD, 8080),
        (POD, 8080, "127.0.0.6"),
        ("127.0.0.1", 8080),
        (WORLD6, 80),
    )
    assert arrived(proxy) == [
        f"80 {WORLD} 80",  # its own traffic
        f"15006 {POD} 8080",  # its own pod, by the inbound side
        f"8080 {POD} 8080",  # its inbound side to the application
        "8080 127.0.0.1 8080",
        f"80 {WORLD6} 80",
    ]
    inbound6 = net.ask(net.pod, PROXY_UID, (POD6, 8080), (POD6, 8080, "::6"))
    assert arrived(inbound6) == [f"15006 {POD6} 8080", f"8080 {POD6} 8080"]

    net.outrider("clean", *use)
    assert arrived(net.ask(net.pod, APP_UID, (WORLD, 80))) == [f"80 {WORLD} 80"]
    assert "ISTIO" not in net.rules(backend) and "OUTRIDER" not in net.rules(backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tproxy_keeps_the_clients_address(backend: str):
    """And the destination is the socket's own: no NAT is asked."""
    with ExitStack() as stack:
        net = Net(stack, inbound="15006t")
        use = ("--backend", backend, "-m", "TPROXY")
        net.outrider("apply", *use)
        net.outrider("apply", *use)
        assert "traffic is captured" in net.outrider("check", *use)
        answers = net.ask(net.world, APP_UID, (POD, 8080), (POD, 15020), (POD6, 8080), (POD6, 15020))
        assert answers == [
            f"15006 {POD} 8080 {WORLD}",
            f"15020 {POD} 15020 {WORLD}",
            f"15006 {POD6} 8080 {WORLD6}",
            f"15020 {POD6} 15020 {WORLD6}",
        ]
        for version in ("-4", "-6"):
            assert net.pod.run("ip", version, "rule").stdout.count("lookup 133") == 1
        net.outrider("clean", *use)
        for version in ("-4", "-6"):
            assert "lookup 133" not in net.pod.run("ip", version, "rule").stdout
        assert net.ask(net.world, APP_UID, (POD, 8080)) == [f"8080 {POD} 8080 {WORLD}"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_applied_twice_is_applied_once_and_other_options_leave_nothing_behind(net: Net, backend: str):
    many = (
        "-c",
        "eth8",
        "-k",
        "eth7",
        "--redirect-dns",
        "--capture-all-dns",
        "--drop-invalid",
        "--ipv6",
        "off",
    )
    net.outrider("apply", "--backend", backend, *many)
    once = net.rules(backend)
    net.outrider("apply", "--backend", backend, *many)
    assert net.rules(backend) == once
    assert "traffic is captured" in net.outrider("check", "--backend", backend, *many)
    assert (
        "missing" in net.outrider("check", "--backend", backend, "-d", "1", "--ipv6", "off", expect=1)
        or backend == "nft"
    )

    net.outrider("apply", "--backend", backend, "--ipv6", "off")
    assert "eth8" not in net.rules(backend) and "eth7" not in net.rules(backend)
    net.outrider("clean", "--backend", backend)
    net.outrider("apply", "--backend", backend, "--ipv6", "off")
    assert "traffic is captured" in net.outrider("check", "--backend", backend, "--ipv6", "off")


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_escapes_while_rules_are_applied_again(net: Net, backend: str):
    """Either way, either IP version, while rules and whole tables come and go."""
    net.outrider("apply", "--backend", backend)
    loops = [
        (net.pod.popen([*PEER, "loop", WORLD, "80", "51"], uid=APP_UID), "15001"),
        (net.pod.popen([*PEER, "loop", WORLD6, "80", "51"], uid=APP_UID), "15001"),
        (net.world.popen([*PEER, "loop", POD, "8080", "51"]), "15006"),
        (net.world.popen([*PEER, "loop", POD6, "8080", "51"]), "15006"),
    ]
    try:
        for client, _ in loops:
            assert client.stdout is not None and client.stdout.readline() == "asking\n"
        for more in (
            ["-c", "eth9"],
            ["--redirect-dns", "--capture-all-dns"],
            ["-d", "1"],
            ["-x", "203.0.113.0/24"],
        ):
            net.outrider("apply", "--backend", backend, *more)
        for client, port in loops:
            client.terminate()
            answers = json.loads(client.communicate(timeout=30)[0])
            assert set(answers) == {port} and answers[port] > 50
    finally:
        for client, _ in loops:
            client.kill()
            client.wait()


def test_rules_of_others_stay(net: Net):
    for command in (("-A", "OUTPUT", "-d", "203.0.113.7/32", "-j", "RETURN"), ("-N", "THEIRS")):
        net.pod.run("iptables", "-t", "nat", *command)
    net.outrider("apply", "-c", "eth9", "--ipv6", "off")
    net.outrider("clean")
    saved = net.pod.run("iptables-save").stdout
    assert "-A OUTPUT -d 203.0.113.7/32 -j RETURN" in saved and ":THEIRS" in saved
    assert "eth9" not in saved


def test_show_changes_nothing_and_check_says_what_is_missing(net: Net):
    before = net.rules("iptables-nft")
    shown = net.outrider("show", "--ipv6", "on")
    assert "-A ISTIO_OUTPUT -d ::1/128 -j RETURN" in shown and "# ip -6 addr replace ::6/128 dev lo" in shown
    assert net.outrider("apply", "--dry-run", "--ipv6", "on") == shown
    assert net.rules("iptables-nft") == before
    missing = net.outrider("check", "--ipv6", "off", "--probe-timeout", "0.2s", expect=1)
    assert "IPv4 nat OUTPUT: missing: -j ISTIO_OUTPUT\n" in missing
    assert "FAILED: outbound IPv4" in missing and "FAILED: inbound IPv4" in missing
    assert missing.endswith("traffic is NOT captured as asked\n")
    net.outrider("apply", "--ipv6", "off")
    net.pod.run(
        "iptables", "-t", "nat", "-D", "ISTIO_OUTPUT", "-o", "lo", "-s", "127.0.0.6/32", "-j", "RETURN"
    )
    assert "nat ISTIO_OUTPUT: missing: -o lo -s 127.0.0.6/32 -j RETURN" in net.outrider(
        "check", "--ipv6", "off", expect=1
    )
    assert "with" not in net.outrider("apply", "--ipv6", "off", "--run-validation")


def test_the_application_cannot_get_past_as_the_user_it_is(net: Net):
    """Only the proxy's user and group get out; every other is captured, root too."""
    net.outrider("apply", "--ipv6", "off")
    for uid in (0, APP_UID, 1000, PROXY_UID + 1):
        assert arrived(net.ask(net.pod, uid, (WORLD, 80))) == [f"15001 {WORLD} 80"]


def test_dns_goes_to_the_resolver_beside_the_proxy(net: Net):
    net.serve(net.pod, "15053")
    net.outrider("apply", "--redirect-dns", "--capture-all-dns", "--ipv6", "off")
    assert arrived(net.ask(net.pod, APP_UID, ("192.0.2.53", 53))) == ["15053 192.0.2.53 53"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_names_are_resolved_through_the_resolver_beside_the_proxy(net: Net, backend: str):
    """UDP: the application asks its name server and hears from it; the resolver, as the proxy's user, asks the server."""
    server, server6 = WORLD, WORLD6
    net.start(net.world, "names", "203.0.113.4")
    net.start(net.pod, "resolver", "15053", server, uid=PROXY_UID)

    def resolved(uid: int, *servers: str) -> list[str]:
        return net.pod.run(*PEER, "resolve", *servers, uid=uid).stdout.splitlines()

    assert resolved(APP_UID, server, "192.0.2.53") == ["203.0.113.4", "TimeoutError"]
    use = ("--backend", backend, "--redirect-dns", "--capture-all-dns")
    net.outrider("apply", *use)
    for _ in range(3):  # a second question finds the first one's connection in conntrack
        assert resolved(APP_UID, server, server6, "192.0.2.53") == ["203.0.113.5"] * 3
        assert resolved(PROXY_UID, server, server6) == ["203.0.113.4"] * 2
    net.outrider("clean", *use)
    assert resolved(APP_UID, server) == ["203.0.113.4"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_to_be_left_alone_is_and_check_knows_it(net: Net, backend: str):
    """Every option that takes something out or in, with connections; and none of them is called a failure."""
    both = (WORLD, 80), ("192.0.2.9", 7)
    escapes, captured = f"80 {WORLD} 80", f"15001 {WORLD} 80"
    nowhere = "15001 192.0.2.9 7"
    cases: list[tuple[tuple[str, ...], tuple, list[str]]] = [
        (("-x", f"{WORLD}/32"), both, [escapes, nowhere]),
        (("-i", "192.0.2.0/24"), both, [escapes, nowhere]),
        (("-i", "192.0.2.0/24", "-q", "80"), both, [captured, nowhere]),
        (("-i", f"{WORLD6}/128"), (*both[:1], (WORLD6, 80)), [escapes, f"15001 {WORLD6} 80"]),
        (("-i", ""), both[:1], [escapes]),
        (("-c", "eth0"), both[:1], [escapes]),
        (("-c", "eth+"), both[:1], [escapes]),
        (("--owner-groups-include", f"1000,{APP_UID}"), both, [captured, nowhere]),
        (("--owner-groups-include", "1000"), both[:1], [escapes]),
        (("--owner-groups-exclude", f"0,{APP_UID}"), both[:1], [escapes]),
        (("-u", f"{PROXY_UID},{APP_UID}"), both[:1], [escapes]),
    ]
    for options, calls, expected in cases:
        net.outrider("apply", "--backend", backend, *options)
        assert arrived(net.ask(net.pod, APP_UID, *calls)) == expected, options
        assert "traffic is captured" in net.outrider("check", "--backend", backend, *options), options
    inbound: list[tuple[tuple[str, ...], list[str]]] = [
        (("-b", "9999"), [f"8080 {POD} 8080", f"15006 {POD} 9999"]),
        (("-b", ""), [f"8080 {POD} 8080", f"9999 {POD} 9999"]),
        (("-d", "8080"), [f"8080 {POD} 8080", f"15006 {POD} 9999"]),
        (("-c", "eth0"), [f"8080 {POD} 8080", f"9999 {POD} 9999"]),
    ]
    for options, expected in inbound:
        net.outrider("apply", "--backend", backend, *options)
        assert arrived(net.ask(net.world, APP_UID, (POD, 8080), (POD, 9999))) == expected, options


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_that_are_there_say_which_backend_is_meant(net: Net, backend: str):
    net.outrider("apply", "--backend", backend)
    assert "traffic is captured" in net.outrider("check")
    net.outrider("apply", "-o", "77")
    assert "77" in net.rules(backend)
    assert (backend == "nft") is ("table ip outrider" in net.rules("nft"))
    assert backend != "nft" or "ISTIO" not in net.rules("iptables-nft")
    net.outrider("clean")
    assert "ISTIO" not in net.rules(backend)
