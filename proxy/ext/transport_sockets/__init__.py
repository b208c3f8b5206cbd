"""How connections are carried: TLS (see proxy.extensions)."""
