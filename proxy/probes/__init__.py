"""Probes of a pod's application, asked by its sidecar: the kubelet asks the sidecar (proxy/inject/probes.py rewrites that), the
sidecar the application on loopback, where nothing is captured.

    config.py   what to ask, as a listener and clusters of a bootstrap
    app.py      the Python filter that asks
"""
