"""One stream's life: the connection manager, the filter chain, local replies, forwarding headers.

Knows no socket and no HTTP version: connections reach it through ``proxy.codec.interface``.
"""
