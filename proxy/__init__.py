"""outrider: an Envoy-compatible sidecar proxy."""

__version__ = "0.1.0"
