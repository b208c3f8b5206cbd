"""Asks a service of a configured cluster about every request before it goes on; 403 unless the answer is 200.

config: {"cluster": who is asked, "path": where, "/check" when left out}
"""

from proxy.http.filter import STOP


class Check:
    def __init__(self, config, context):
        self.cluster = config["cluster"]
        self.path = config.get("path", "/check")
        self.context = context

    async def decode_headers(self, stream):
        headers = stream.request_headers
        asked = {"x-path": headers.path.decode("latin-1")}
        for name in (b"authorization", b"traceparent", b"b3"):
            value = headers.get(name)
            if value is not None:
                asked[name.decode()] = value.decode("latin-1")
        answer = await self.context.request(self.cluster, self.path, headers=asked, timeout_s=1.0)
        if answer.status != 200:
            status = 403 if answer.status else 503
            stream.local_reply(status, answer.body, b"check_%d" % answer.status)
            return STOP
        headers.set(b"x-checked", answer.body[:64].strip() or b"yes")
