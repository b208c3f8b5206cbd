"""outrider: an Envoy-compatible sidecar proxy."""

__version__ = "0.1.0"

from proxy.built import install

install(__path__[0])
