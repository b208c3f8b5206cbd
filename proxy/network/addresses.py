"""Socket names as text."""

from __future__ import annotations


def address_text(name: object) -> str:
    """A socket name as "ip:port" ("[ip]:port" for IPv6); unix sockets by their path.

    An IPv4 peer of a dual-stack socket (ipv4_compat) is told as IPv4, as Envoy does.
    """
    if isinstance(name, tuple):
        host, port = str(name[0]).partition("%")[0], name[1]
        if "." in host:
            host = host.removeprefix("::ffff:")
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(name or "-")
