"""Adds x-tenant to requests, looked up by their x-api-key in a JSON file; without a known key, 403.

config: {"file": a JSON object of key → tenant, relative to this bootstrap's folder}
"""

import json
from pathlib import Path

from proxy.http.filter import STOP


class Tenant:
    def __init__(self, config, context):
        self.tenants = json.loads(Path(context.folder, config["file"]).read_text())
        self.refused = context.counter("refused")

    def decode_headers(self, stream):
        headers = stream.request_headers
        headers.remove(b"x-tenant")  # nobody may claim one
        tenant = self.tenants.get((headers.get(b"x-api-key") or b"").decode("latin-1"))
        if tenant is None:
            self.refused.value += 1
            stream.local_reply(403, b"unknown key", b"tenant_unknown_key")
            return STOP
        headers.set(b"x-tenant", tenant.encode())
