"""The administration page: Envoy's admin interface over HTTP/1.1.

Sees the process only through ``state.AdminState``; knows no listener, worker or codec. One file per endpoint (small
ones that belong together share one); the table of them is ROUTES in ``server.py``.
"""
