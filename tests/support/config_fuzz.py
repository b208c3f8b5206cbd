"""Mutated configurations, thousands of them: whatever stands in a file, reading it ends soon, in a message or in findings.

``python -m tests.support.config_fuzz [COUNT [PROCESSES [SEED]]]`` runs the campaign (200,000 inputs in 2 processes by
default) and prints what it found. YAML bombs and their like are always among them. ``tests/property/test_config_fuzz.py`` runs a slice of it.

Each input is YAML, JSON or wire format, made from a good configuration by a few random edits. It is read, checked and
compiled as by ``outrider validate``. Wrong is: an exception, more than MAX_SECONDS of CPU time, more than MAX_MIB of memory.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.api.load import BOOTSTRAP, load_text
from proxy.server.options import Options
from proxy.server.validate import validate

ROOT = Path(__file__).resolve().parents[2]
MAX_SECONDS = 1.0
MAX_MIB = 512
CHUNK = 2_000

#: what parsers trip over
TOKENS = (
    *("&a ", "*a", "<<: *a\n", "---\n", "...\n", "!!binary ", "!!python/object:os.system ", "!ignore ", "? ", "|\n", ">-\n"),
    *("%YAML 1.2\n", "[", "]", "{", "}", '"', "'", ",", ":", ": ", "- ", "#", "\t", "\r\n", "\x00", "\ufeff", "\u2028", "\U0001f600"),
    *('"\\ud800"', '"\\u0000"', "null", "~", "true", "yes", "NaN", ".inf", "-0", "0x", "1e999", "1e-999", "-1s", "1.0000000001s"),
    *("9" * 30, "4294967296", "-9223372036854775809", '"@type": ', "type.googleapis.com/", "type.googleapis.com/google.protobuf.Any"),
    *("type.googleapis.com/google.protobuf.Struct", "type.googleapis.com/xds.type.v3.TypedStruct", "xds.type.v3.TypedStruct"),
    *("type_url: ", "value: ", "%REQ(X)%", "%START_TIME(%s", "(a+)+$", "(?P<", "\\", "${A:-b}", "x" * 300, "../" * 20, "/", "*"),
)  # fmt: skip


@dataclass
class Report:
    """What a campaign did and found; problems: (what, the input) of the first few."""

    inputs: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    peak_mib: float = 0.0
    problems: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Join another part of the campaign."""
        self.inputs += other.inputs
        self.slowest_s = max(self.slowest_s, other.slowest_s)
        self.peak_mib = max(self.peak_mib, other.peak_mib)
        self.problems = (self.problems + other.problems)[:20]


def seeds() -> list[bytes]:
    """Good and odd configurations in YAML and JSON: our own, those of the corpus, Envoy's examples where they are."""
    from tests.parity.mutations import SHARED
    from tests.parity.validate_corpus import CASES

    texts = [case.text.encode() for cases in CASES.values() for case in cases if len(case.text) < 5_000]
    files = [*(ROOT / "config").glob("*.yaml"), *(SHARED / "envoy-examples").rglob("*.yaml")]
    return texts + [path.read_bytes() for path in sorted(files) if path.stat().st_size < 5_000]


def mutated(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """One to six edits, mostly one."""
    edited = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(edited) + 1)
        end = min(len(edited), at + rng.choice((1, 2, 8, 40, 200)))
        kind = rng.randrange(7)
        if kind == 0:
            del edited[at:end]
        elif kind == 1:
            edited[at:at] = edited[at:end] * rng.choice((1, 2, 20))
        elif kind == 2:
            edited[at:end] = rng.choice(TOKENS).encode("utf-8", "surrogatepass")
        elif kind == 3:
            edited[at:at] = rng.choice(TOKENS).encode("utf-8", "surrogatepass")
        elif kind == 4 and edited:
            edited[at - 1] ^= 1 << rng.randrange(8)
        elif kind == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            edited[at:end] = other[start : start + rng.choice((20, 200, 1000))]
        else:
            edited[at:at] = bytes(rng.choice(b"[{(-&*!") for _ in range(1)) * rng.choice((1, 3, 150))
    return bytes(edited[:20_000])


def inputs(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(suffix of the file, its content)."""
    rng = random.Random(seed)
    texts = seeds()
    wires = [load_text(BOOTSTRAP, text.decode(errors="replace")).message for text in texts[::3]]
    messages = [message.SerializePartialToString() for message in wires if message.ByteSize()]
    for _ in range(count):
        kind = rng.choice((".yaml", ".json", ".pb", ".yaml"))
        pool = messages if kind == ".pb" else texts
        if kind == ".json":
            pool = [text for text in texts if text.lstrip().startswith(b"{")] or texts
        yield kind, mutated(rng, rng.choice(pool), pool)


def run_one(report: Report, path: Path, data: bytes) -> None:
    """Read, check and compile one input."""
    path.write_bytes(data)
    begun = time.process_time()
    try:
        errors = validate(Options(config_path=str(path), expand_env=len(data) % 2 == 0)).errors
        outcome = "refused" if errors else "accepted"
    except Exception:
        outcome = "raised"
        report.problems.append((traceback.format_exc(), data))
    took = time.process_time() - begun
    report.inputs[f"{path.suffix[1:]} {outcome}"] += 1
    report.slowest_s = max(report.slowest_s, took)
    if took > MAX_SECONDS:
        report.problems.append((f"took {took:.2f} s", data))
    report.peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if report.peak_mib > MAX_MIB:
        report.problems.append((f"used {report.peak_mib:.0f} MiB", data))
        raise SystemExit(f"more than {MAX_MIB} MiB")


def campaign(seed: int, count: int) -> Report:
    """A part of the campaign, in this process."""
    report = Report()
    with TemporaryDirectory() as folder:
        for kind, data in inputs(seed, count):
            run_one(report, Path(folder) / f"envoy{kind}", data)
    return report


def bombs() -> dict[str, Callable[[], tuple[str, bytes]]]:
    """Small (or cheap to make) texts that are large inside, or deep, or slow for naive readers."""
    aliases = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )
    long = "x" * 100_000
    texts: dict[str, tuple[str, str]] = {
        "billion laughs": (".yaml", aliases),
        "long text, many aliases": (".yaml", f"node: {{id: &a {long}, metadata: {{b: [{','.join(['*a'] * 9000)}]}}}}"),
        "merged laughs": (".yaml", "a: &a {b: c}\n" + "".join(f"b{n}: {{<<: *a, c{n}: *a}}\n" for n in range(2000))),
        "lists in lists": (".yaml", "a: " + "[" * 200_000),
        "mappings in mappings": (".yaml", "a: " + "{a: " * 100_000),
        "dashes": (".yaml", "- " * 100_000),
        "JSON lists": (".json", '{"node":{"metadata":{"a":' + "[" * 200_000),
        "JSON objects": (".json", '{"node":' * 50_000),
        "a long number": (".json", '{"node":{"metadata":{"a":' + "9" * 200_000 + "}}}"),
        "a long number in YAML": (".yaml", "node: {metadata: {a: " + "9" * 200_000 + "}}"),
        "a large exponent": (".json", '{"node":{"metadata":{"a":1e999999999}}}'),
        "many keys": (".yaml", "".join(f"k{n}: {{}}\n" for n in range(20_000))),
        "the same key": (".yaml", "node: {}\n" * 20_000),
        "the same key in JSON": (".json", "{" + ",".join(['"node":{}'] * 50_000) + "}"),
        "many anchors": (".yaml", "node: {metadata: {a: [" + ",".join(f"&a{n} x" for n in range(20_000)) + "]}}"),
        "many documents": (".yaml", "---\n{}\n" * 20_000),
        "a long line": (".yaml", f"node: {{id: {long * 20}}}"),
        "a long key": (".yaml", f"{long}: 1\n"),
        "a slow regex": (
            ".yaml",
            "stats_config: {stats_tags: [{tag_name: a, regex: '" + "(a*)*" * 200 + "$'}]}\n",
        ),
        "a slow look-ahead": (".yaml", "stats_config: {stats_tags: [{tag_name: a, regex: '(?=(a+)+$)(b)'}]}\n"),
        "many mistakes": (".yaml", "static_resources: {clusters: [" + "{nmae: a}," * 5000 + "]}\n"),
        "many near types": (
            ".yaml",
            "bootstrap_extensions: ["
            + "".join(f"{{name: a, typed_config: {{'@type': x/envoy.extensions.filters.http.router.v3.Rout{n}}}}}," for n in range(500))
            + "]\n",
        ),
    }  # fmt: skip
    nested = b""
    for _ in range(5000):
        nested = b"\x0a" + _varint(len(nested)) + nested
    made: dict[str, Callable[[], tuple[str, bytes]]] = {
        name: partial(_encoded, kind, text) for name, (kind, text) in texts.items()
    }
    made["deep wire"] = lambda: (".pb", nested)
    made["a length beyond the end"] = lambda: (".pb", b"\x0a\xff\xff\xff\xff\x0f")
    made["zeroes"] = lambda: (".pb", b"\x00" * 1_000_000)
    return made


def _encoded(kind: str, text: str) -> tuple[str, bytes]:
    return kind, text.encode()


def explode() -> Report:
    """Every bomb, in this process."""
    report = Report()
    with TemporaryDirectory() as folder:
        for make in bombs().values():
            kind, data = make()
            run_one(report, Path(folder) / f"bomb{kind}", data)
    return report


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def main(arguments: list[str]) -> int:
    """The whole campaign; the exit code."""
    count, processes, seed = (int(one) for one in [*arguments, *("200000", "2", "1")[len(arguments) :]])
    begun = time.monotonic()
    report = Report()
    parts = [(seed * 1_000_000 + at, min(CHUNK, count - at)) for at in range(0, count, CHUNK)]
    with ProcessPoolExecutor(processes) as pool:
        report.add(pool.submit(explode).result())
        for part in pool.map(campaign, *zip(*parts, strict=True)):
            report.add(part)
    for name, many in sorted(report.inputs.items()):
        print(f"{name:<16} {many:>8}")
    print(f"{'inputs':<16} {sum(report.inputs.values()):>8}")
    print(f"slowest {report.slowest_s:.3f} s of CPU time, peak {report.peak_mib:.0f} MiB")
    print(f"{len(report.problems)} problems, {time.monotonic() - begun:.0f} s")
    for what, data in report.problems:
        print("-" * 80, what, repr(data[:2000]), sep="\n")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
