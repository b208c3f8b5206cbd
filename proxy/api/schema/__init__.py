"""The descriptors of the Envoy v3 API, recovered from the Envoy binary (see build.py)."""
