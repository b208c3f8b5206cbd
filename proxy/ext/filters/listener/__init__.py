"""Listener filters: look at the first bytes (see proxy.extensions)."""
