#!/usr/bin/env python3
"""Run the HTTP/1.1 differential corpus through a proxy and record what happened.

The runner owns both ends.  It is the client that writes the raw bytes of each
case, and it is the proxy's only upstream, where a recorder parses what the
proxy really sent on.  One case runs at a time, so everything seen upstream
between its first byte and its canary belongs to it.

    client (this file) --raw bytes--> proxy under test --> recorder (this file)

After every case a *canary*, an ordinary request on a fresh client connection,
must come back whole.  A proxy that left stray bytes on a pooled upstream
connection, mixed up its reply queue, hung or died fails it.

Two ways to use it (Python 3.11+, standard library only):

  run.py --label mine --template envoy-plain.yaml \\
         --launch 'ourproxy -c {config}' --out mine.json
      picks free loopback ports, renders @LISTEN@, @UPSTREAM@ and @ADMIN@ in
      the template, starts the command, waits for the port, runs, stops it.

  run.py --label mine --proxy 127.0.0.1:8080 --upstream 127.0.0.1:9090 --out mine.json
      for a proxy that is already running with that upstream configured.

Corpus bytes are written as JSON strings in which one character is one byte
(latin-1).  A case's "send", and a response case's "reply", is a string or a
list of segments: a string, {"repeat": s, "times": n}, {"pause_ms": n} or
{"half_close": true}.  See README.md for the fields of the result.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNNER_VERSION = 1
HEAD_LIMIT = 4 << 20
KEEP = 256  # bytes of anything long that a result keeps
TOKEN = re.compile(rb"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
CANARY = "/__canary"


def text(data: bytes) -> str:
    """Bytes as a JSON-safe string, one character a byte."""
    return data.decode("latin-1")


def clip(data: bytes, keep: int = KEEP) -> dict:
    """What a result keeps of a byte string: its length, digest and beginning."""
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()[:16], "head": text(data[:keep])}


def own_address() -> str:
    """This machine's address, which some proxies write into X-Forwarded-For (sends nothing)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
            return s.getsockname()[0]
        except OSError:
            return "127.0.0.1"


SELF = re.compile(rf"(?<![\d.])(127\.0\.0\.1|{re.escape(own_address())})(?![\d.])")


def condense(message: dict) -> dict:
    """The message, made comparable across machines and with huge values and lists cut."""
    for key in ("headers", "trailers"):
        message[key] = [
            [
                n,
                SELF.sub("<this-host>", v)
                if n.lower() in ("x-forwarded-for", "x-envoy-external-address")
                else v,
            ]
            for n, v in message[key]
        ]
        fields = [
            [n, v if len(v) <= 600 else f"{v[:200]}...[{clip(v.encode('latin-1'))['sha256']} of {len(v)}]"]
            for n, v in message[key]
        ]
        if len(fields) > 200:
            rest = json.dumps(fields[200:]).encode()
            fields[200:] = [["...", f"{len(fields) - 200} more, {clip(rest)['sha256']}"]]
        message[key] = fields
    return message


def segments(spec):
    """Yield ("data", bytes) | ("pause", seconds) | ("half_close", None).

    Data without a pause in between is one write: how much of it the proxy reads at once is then not for a busy machine
    to decide.
    """
    data = b""
    for part in [spec] if isinstance(spec, (str, dict)) else spec:
        if isinstance(part, str):
            data += part.encode("latin-1")
        elif "repeat" in part:
            data += part["repeat"].encode("latin-1") * part["times"]
        elif "pause_ms" in part or part.get("half_close"):
            if data:
                yield "data", data
            data = b""
            yield ("pause", part["pause_ms"] / 1000) if "pause_ms" in part else ("half_close", None)
        else:
            raise ValueError(f"unknown segment {part!r}")
    if data:
        yield "data", data


# --------------------------------------------------------------------------
# Parsing shared by both ends
# --------------------------------------------------------------------------


class Incomplete(Exception):
    """More bytes are needed."""


def parse_fields(lines: list[bytes], notes: list[str]) -> list[list[str]]:
    """Header or trailer lines to [name, value] pairs; oddities go to notes."""
    out: list[list[str]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            notes.append("obs-fold")
            if out:
                out[-1][1] += " " + text(line.strip(b" \t"))
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            notes.append("field-without-colon")
        elif not TOKEN.match(name):
            notes.append("bad-field-name")
        value = value.strip(b" \t")
        if b"\0" in value:
            notes.append("nul-in-value")
        if b"\r" in value:
            notes.append("bare-cr-in-value")
        out.append([text(name), text(value)])
    return out


def split_head(buf: bytes, notes: list[str]) -> tuple[list[bytes], int]:
    """Lines of a head and the offset just past it; Incomplete if not all there."""
    lines, at = [], 0
    while True:
        nl = buf.find(b"\n", at)
        if nl < 0:
            raise Incomplete
        line, at = buf[at:nl], nl + 1
        if line.endswith(b"\r"):
            line = line[:-1]
        else:
            notes.append("bare-lf")
        if not line:
            return lines, at
        lines.append(line)


def values(fields, name: str) -> list[str]:
    return [v for n, v in fields if n.lower() == name]


def read_chunks(buf: bytes, at: int, notes: list[str]):
    """(body, trailers, end offset); raises Incomplete with .partial set."""
    body = bytearray()
    try:
        while True:
            nl = buf.find(b"\n", at)
            if nl < 0:
                raise Incomplete
            line = buf[at:nl]
            if line.endswith(b"\r"):
                line = line[:-1]
            else:
                notes.append("bare-lf-in-chunk")
            size, semi, _ = line.partition(b";")
            if semi:
                notes.append("chunk-extension")
            if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
                notes.append("bad-chunk-size")
                raise ValueError("bad chunk size")
            n, at = int(size, 16), nl + 1
            if n == 0:
                lines, used = split_head(buf[at:], notes)
                return bytes(body), parse_fields(lines, notes), at + used
            if len(buf) < at + n + 2:
                body += buf[at : at + n]
                raise Incomplete
            body += buf[at : at + n]
            if buf[at + n : at + n + 2] != b"\r\n":
                notes.append("bad-chunk-end")
                raise ValueError("bad chunk end")
            at += n + 2
    except Incomplete as e:
        e.partial = bytes(body)
        raise


# --------------------------------------------------------------------------
# The upstream: records every request, answers it
# --------------------------------------------------------------------------


class Upstream:
    """An HTTP/1.1 server that writes down exactly what a proxy sends it."""

    def __init__(self):
        self.case = None  # response case in force, if any
        self.requests: list[dict] = []
        self.leftovers: list[dict] = []
        self.canaries: list[dict] = []
        self.opened = 0
        self.writers: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task] = set()
        self.replied = False

    async def start(self, host: str, port: int):
        self.server = await asyncio.start_server(self.serve, host, port, limit=1 << 20)
        return self.server.sockets[0].getsockname()[1]

    def begin(self, case):
        self.case, self.replied = case, False
        self.requests, self.leftovers, self.canaries, self.opened = [], [], [], 0

    async def hang_up(self):
        """Close every upstream connection so that cases cannot touch each other."""
        for w in list(self.writers):
            w.close()
        for t in list(self.tasks):
            t.cancel()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=1)

    async def serve(self, reader, writer):
        self.opened += 1
        self.writers.add(writer)
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            await self.connection(reader, writer)
        except (ConnectionError, asyncio.CancelledError, OSError):
            pass
        finally:
            self.writers.discard(writer)
            self.tasks.discard(task)
            writer.close()

    async def connection(self, reader, writer):
        buf = b""

        async def more() -> bool:
            nonlocal buf
            data = await reader.read(1 << 16)
            buf += data
            return bool(data) and len(buf) < 64 << 20

        while True:
            notes: list[str] = []
            while buf[:2] == b"\r\n":
                buf = buf[2:]
                notes.append("leading-crlf")
            record = None
            try:
                while True:
                    seen: list[str] = []
                    try:
                        lines, at = split_head(buf, seen)
                        break
                    except Incomplete:
                        if len(buf) > HEAD_LIMIT or not await more():
                            return
                notes += seen
                record = self.head(lines, notes)
                (self.canaries if record["canary"] else self.requests).append(record)
                if record["bad"]:
                    record["raw"] = clip(buf)
                    writer.write(
                        b"HTTP/1.1 400 Bad Request\r\nx-upstream: bad\r\n"
                        b"content-length: 0\r\nconnection: close\r\n\r\n"
                    )
                    await writer.drain()
                    return
                if any("100-continue" in v.lower() for v in values(record["headers"], "expect")):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                ok, buf = await self.body(record, buf, at, more, lambda: buf)  # noqa: B023
                if not ok:
                    return
            finally:
                if buf and record is None:
                    self.leftovers.append(clip(buf))
            if not await self.answer(record, writer):
                return

    def head(self, lines: list[bytes], notes: list[str]) -> dict:
        parts = (lines[0] if lines else b"").split(b" ")
        bad = len(parts) != 3 or not TOKEN.match(parts[0]) or not re.fullmatch(rb"HTTP/1\.[01]", parts[2])
        fields = parse_fields(lines[1:], notes)
        te, cl = values(fields, "transfer-encoding"), values(fields, "content-length")
        framing = "none"
        if te:
            framing = "chunked" if te[-1].lower().split(",")[-1].strip() == "chunked" else "bad-te"
            if len(te) > 1 or te[-1].lower() != "chunked":
                notes.append("odd-transfer-encoding")
            if cl:
                notes.append("cl-and-te")
        elif cl:
            framing = "length"
            if len(cl) > 1:
                notes.append("several-content-length")
            if not all(re.fullmatch(r"[0-9]{1,60}", v) for v in cl) or len(set(cl)) > 1:
                framing = "bad-length"
        bad = bad or framing.startswith("bad-")
        target = text(parts[1]) if len(parts) > 1 else ""
        return {
            "method": text(parts[0]),
            "target": target,
            "version": text(parts[-1]),
            "headers": fields,
            "framing": framing,
            "bad": bad,
            "notes": notes,
            "canary": CANARY in target,
            "body": clip(b""),
            "trailers": [],
            "complete": False,
        }

    async def body(self, record, buf, at, more, current):
        """Read the body named by the head; (complete?, bytes after it)."""
        while True:
            data, seen = current(), []
            try:
                if record["framing"] == "chunked":
                    body, trailers, end = read_chunks(data, at, seen)
                    record["trailers"] = trailers
                else:
                    n = (
                        int(values(record["headers"], "content-length")[0])
                        if record["framing"] == "length"
                        else 0
                    )
                    if len(data) < at + n:
                        e = Incomplete()
                        e.partial = data[at:]
                        raise e
                    body, end = data[at : at + n], at + n
                record["body"], record["complete"] = clip(body), True
                record["notes"] += seen
                return True, data[end:]
            except Incomplete as e:
                record["body"] = clip(e.partial)
                if not await more():
                    return False, b""
            except ValueError as e:
                record["notes"] += seen + [str(e)]
                record["raw"] = clip(data)
                return False, b""

    async def answer(self, record, writer) -> bool:
        """Answer one request; whether the connection goes on."""
        case = self.case or {}
        if "reply" in case and not record["canary"] and not self.replied:
            self.replied = True
            for kind, arg in segments(case["reply"]):
                if kind == "data":
                    writer.write(arg)
                    await writer.drain()
                elif kind == "pause":
                    await asyncio.sleep(arg)
            after = case.get("after", "keep")
            if after == "rst":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await asyncio.sleep(0.02)
                writer.transport.abort()
                return False
            return after == "keep"
        mine = self.canaries if record["canary"] else self.requests
        body = (
            f"upstream {'canary' if record['canary'] else len(mine)} {record['method']} "
            f"{record['target'][:100]} body={record['body']['len']}\n"
        ).encode("latin-1")
        writer.write(
            b"HTTP/1.1 200 OK\r\nx-upstream: %d\r\ncontent-type: text/plain\r\n"
            b"content-length: %d\r\n\r\n" % (len(mine), len(body))
        )
        if record["method"] != "HEAD":
            writer.write(body)
        await writer.drain()
        return True


# --------------------------------------------------------------------------
# The client: writes raw bytes, reads whatever comes
# --------------------------------------------------------------------------


class RawClient(asyncio.Protocol):
    """Keeps all bytes received, even those that came just before a reset."""

    def __init__(self):
        self.data = bytearray()
        self.end = "open"
        self.last = time.monotonic()
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        self.last = time.monotonic()
        self.changed.set()

    def eof_received(self):
        self.end = "fin"
        self.changed.set()
        return False

    def connection_lost(self, exc):
        if self.end == "open":
            self.end = "reset" if exc else "fin"
        self.changed.set()


async def converse(host, port, spec, quiet: float, timeout: float, enough=None) -> tuple[bytes, str]:
    """Send a case and read until the peer ends, or is silent for long enough."""
    loop = asyncio.get_running_loop()
    try:
        transport, proto = await asyncio.wait_for(loop.create_connection(RawClient, host, port), timeout)
    except (TimeoutError, OSError):
        return b"", "refused"
    start = time.monotonic()
    for kind, arg in segments(spec):
        if proto.end != "open":
            break
        if kind == "data":
            transport.write(arg)
        elif kind == "pause":
            await asyncio.sleep(arg)
        elif kind == "half_close":
            transport.write_eof()
    proto.last = max(proto.last, time.monotonic())
    while proto.end == "open":
        now = time.monotonic()
        if enough and enough(bytes(proto.data)):
            break
        limit = proto.last + quiet if proto.data else start + timeout
        if now >= limit or now - start > 10 * timeout:
            break
        proto.changed.clear()
        try:
            await asyncio.wait_for(proto.changed.wait(), limit - now)
        except TimeoutError:
            pass
    end = proto.end
    transport.abort()
    return bytes(proto.data), end


def parse_responses(data: bytes, methods: list[str], ended: bool) -> tuple[list[dict], bytes]:
    """Every response in what the client read, and the bytes that fit none."""
    out, at, k = [], 0, 0
    while at < len(data):
        notes: list[str] = []
        if not data[at:].startswith(b"HTTP/1."):
            break
        try:
            lines, used = split_head(data[at:], notes)
        except Incomplete:
            break
        m = re.match(rb"(HTTP/1\.\d) (\d{3}) ?(.*)", lines[0], re.S)
        if not m:
            break
        status, fields = int(m[2]), parse_fields(lines[1:], notes)
        at += used
        rec = {
            "version": text(m[1]),
            "status": status,
            "reason": text(m[3]),
            "headers": fields,
            "framing": "none",
            "body": clip(b""),
            "trailers": [],
            "complete": True,
            "notes": notes,
            "from_upstream": bool(values(fields, "x-upstream")),
        }
        out.append(rec)
        if 100 <= status < 200 and status != 101:
            continue
        method = methods[min(k, len(methods) - 1)] if methods else "GET"
        k += 1
        if status == 101 or (method == "CONNECT" and 200 <= status < 300):
            break
        if method == "HEAD" or status in (204, 304):
            continue
        te, cl = values(fields, "transfer-encoding"), values(fields, "content-length")
        try:
            if te:
                rec["framing"] = "chunked"
                body, rec["trailers"], end = read_chunks(data, at, notes)
                rec["body"], at = clip(body), end
            elif cl:
                rec["framing"] = "length"
                n = int(cl[0])
                rec["body"], rec["complete"] = clip(data[at : at + n]), len(data) >= at + n
                at = min(len(data), at + n)
            else:
                rec["framing"] = "until-close"
                rec["body"], rec["complete"] = clip(data[at:]), ended
                at = len(data)
        except Incomplete as e:
            rec["body"], rec["complete"], at = clip(e.partial), False, len(data)
        except ValueError as e:
            rec["complete"] = False
            notes.append(str(e))
            break
    return out, data[at:]


# --------------------------------------------------------------------------
# Driving a proxy
# --------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rss_kib(pid: int) -> int:
    """Resident memory of a process and its children, in KiB."""
    total, todo = 0, [pid]
    while todo:
        p = todo.pop()
        try:
            for line in Path(f"/proc/{p}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1])
            for task in Path(f"/proc/{p}/task").iterdir():
                todo += [int(c) for c in (task / "children").read_text().split()]
        except (OSError, ValueError):
            pass
    return total


class Launched:
    """The proxy under test, when this runner starts it."""

    def __init__(self, command: str, template: Path, listen: int, upstream: int):
        self.dir = Path(tempfile.mkdtemp(prefix="h1diff-"))
        self.port = listen
        config = self.dir / template.name
        rendered = template.read_text()
        for key, value in {
            "@LISTEN@": listen,
            "@UPSTREAM@": upstream,
            "@ADMIN@": free_port(),
            "@DIR@": self.dir,
        }.items():
            rendered = rendered.replace(key, str(value))
        config.write_text(rendered)
        self.argv = [a.format(config=config, dir=self.dir, port=listen) for a in shlex.split(command)]
        self.restarts = -1
        self.start()

    def start(self):
        self.restarts += 1
        self.log = open(self.dir / "proxy.log", "ab")  # noqa: SIM115
        self.proc = subprocess.Popen(self.argv, stdout=self.log, stderr=self.log)
        for _ in range(200):
            if self.proc.poll() is not None:
                sys.exit(f"the proxy ended with {self.proc.returncode}; see {self.dir}/proxy.log")
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit(f"the proxy never listened on {self.port}; see {self.dir}/proxy.log")

    def stop(self) -> int | None:
        if self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(5)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        return self.proc.returncode


async def run_case(case, host, port, upstream: Upstream, quiet, timeout) -> dict:
    upstream.begin(case)
    began = time.monotonic()
    data, end = await converse(host, port, case["send"], quiet, timeout)
    took = time.monotonic() - began
    first = next((a for k, a in segments(case["send"]) if k == "data"), b"")
    methods = case.get("methods") or [text(first.split(b" ", 1)[0]) or "GET"]
    responses, rest = parse_responses(data, methods, end != "open")
    interim = [r["status"] for r in responses if 100 <= r["status"] < 200 and r["status"] != 101]
    final = [r for r in responses if r["status"] >= 200 or r["status"] == 101]

    # The canary must come through whole, and reach the upstream as it was sent.
    path = f"{CANARY}/{case['id']}"
    want = f"GET {path[:100]} body=0\n".encode()
    ask = f"GET {path} HTTP/1.1\r\nHost: t.test\r\nConnection: close\r\n\r\n"
    got, _ = await converse(host, port, ask, quiet * 4, max(timeout, 2), enough=lambda d: want in d)
    seen, _ = parse_responses(got, ["GET"], True)
    clean = [
        c["method"] == "GET" and c["target"] == path and c["framing"] == "none" for c in upstream.canaries
    ]
    canary = {
        "status": seen[0]["status"] if seen else None,
        "answered": want in got,
        "clean_upstream": clean == [True],
    }
    await asyncio.sleep(0)
    result = {
        "client": {
            "responses": [condense(r) for r in final],
            "interim": interim,
            "leftover": clip(rest),
            "end": end,
        },
        "upstream": {"connections": upstream.opened, "requests": [condense(r) for r in upstream.requests]},
        "canary": canary,
        "ms": round(took * 1000),
    }
    await upstream.hang_up()
    await asyncio.sleep(0.015)  # let the proxy notice its pool is gone
    result["upstream"]["leftover"] = list(upstream.leftovers)
    return result


async def main_async(args) -> int:
    corpus_bytes = Path(args.corpus).read_bytes()
    corpus = json.loads(corpus_bytes)
    cases = [c for c in corpus["cases"] if not args.only or re.search(args.only, c["id"])]
    upstream, launched = Upstream(), None
    if args.launch:
        host, port = "127.0.0.1", free_port()
        up = await upstream.start("127.0.0.1", 0)
        launched = await asyncio.to_thread(Launched, args.launch, Path(args.template), port, up)
    else:
        host, port = args.proxy.rsplit(":", 1)
        port = int(port)
        up_host, up_port = args.upstream.rsplit(":", 1)
        await upstream.start(up_host, int(up_port))

    results, crashes = {}, []
    rss = [rss_kib(launched.proc.pid)] if launched else []
    try:
        await run_case(
            {"id": "warm-up", "send": "GET / HTTP/1.1\r\nHost: t.test\r\n\r\n"},
            host,
            port,
            upstream,
            args.quiet,
            args.timeout,
        )
        for n, case in enumerate(cases, 1):
            results[case["id"]] = await run_case(case, host, port, upstream, args.quiet, args.timeout)
            if launched and launched.proc.poll() is not None:
                crashes.append({"case": case["id"], "exit": launched.proc.returncode})
                results[case["id"]]["crashed"] = True
                await asyncio.to_thread(launched.start)
            if args.verbose:
                r = results[case["id"]]
                print(
                    f"{n:4} {case['id']:44} {[x['status'] for x in r['client']['responses']]} "
                    f"{r['client']['end']} up={len(r['upstream']['requests'])}",
                    file=sys.stderr,
                )
        if launched:
            rss.append(rss_kib(launched.proc.pid))
    finally:
        code = launched.stop() if launched else None
    Path(args.out).write_text(
        json.dumps(
            {
                "meta": {
                    "label": args.label,
                    "runner": RUNNER_VERSION,
                    "cases": len(results),
                    "corpus_sha256": hashlib.sha256(corpus_bytes).hexdigest(),
                    "quiet_s": args.quiet,
                    "timeout_s": args.timeout,
                    "crashes": crashes,
                    "rss_kib_first_last": rss,
                    "exit_on_sigterm": code,
                },
                "results": results,
            },
            indent=1,
            sort_keys=True,
        )
        + "\n"
    )
    bad = [i for i, r in results.items() if not (r["canary"]["answered"] and r["canary"]["clean_upstream"])]
    print(
        f"{args.label}: {len(results)} cases, {len(crashes)} crashes, {len(bad)} canaries lost"
        + (f" ({', '.join(bad[:8])})" if bad else "")
        + f", rss {rss} KiB -> {args.out}"
    )
    return 1 if crashes else 0


def main() -> int:
    here = Path(__file__).resolve().parent
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--corpus", default=str(here / "corpus.json"))
    ap.add_argument("--out", required=True)
    ap.add_argument("--label", required=True, help="name of the proxy, for the result")
    ap.add_argument("--launch", help="command that starts the proxy; {config} {dir} {port} are filled in")
    ap.add_argument("--template", help="configuration with @LISTEN@ @UPSTREAM@ @ADMIN@ @DIR@")
    ap.add_argument("--proxy", help="host:port of a running proxy")
    ap.add_argument("--upstream", help="host:port this runner listens on as that proxy's upstream")
    ap.add_argument("--only", help="regular expression on case ids")
    ap.add_argument("--quiet", type=float, default=0.25, help="seconds of silence that end a case")
    ap.add_argument("--timeout", type=float, default=1.0, help="seconds to wait for a first byte")
    ap.add_argument("--verbose", action="store_true")
    args = ap.parse_args()
    if bool(args.launch) != bool(args.template) or bool(args.launch) == bool(args.proxy and args.upstream):
        ap.error("give --launch with --template, or --proxy with --upstream")
    return asyncio.run(main_async(args))


if __name__ == "__main__":
    sys.exit(main())
