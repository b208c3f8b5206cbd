"""``outrider webhook``: injection as a mutating admission webhook of Kubernetes. What is decided, and the patch, come from
the room inject; this one has the sockets.

    options.py   what it is told
    server.py    the two servers: reviews over TLS, health and metrics in plain text
    tls.py       the certificate, read again when its files are swapped
    run.py       the process
    certs.py     an authority and a certificate of our own making
"""
