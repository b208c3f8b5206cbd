"""What a connection's first bytes tell: readers of bytes, no sockets."""
