"""The demo: a client, two services, a sidecar in front of each, and an in-memory Zipkin collector, in one command.

    client → [frontend sidecar: inbound] → frontend → [frontend sidecar: outbound] → [backend sidecar] → backend

The sidecars are real processes (``python -m proxy run -c FILE``) with real files; services, collector and client are
coroutines of this process and know no tracing library. Stands on the front door only, never on the rooms: what it
shows, it has scraped, collected or read from a log like anybody else could.

    config      the sidecars' bootstraps          sidecar     a child process, its addresses
    wire        HTTP/1.1 for services and client  services    frontend, backend
    collector   POST /api/v2/spans and queries    script      which requests are sent, what each must cause
    trace       spans → tree                      metrics     /stats/prometheus → one row per hop
    check       does it all agree?                report      what is shown; plain and pretty print it
    run         the whole life
"""
