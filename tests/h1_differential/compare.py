#!/usr/bin/env python3
"""Classify how a candidate's results differ from a reference's (Envoy's).

    compare.py envoy-1.40.0.json mine.json [--list smuggling-risk,broken] [--json out.json]
               [--fail-on broken,smuggling-risk]

Every case gets the first class below that fits; the order is by severity.

  broken          the candidate crashed, went silent for the canary, or let a
                  case leak into the canary, where the reference did not
  smuggling-risk  the two disagree on how many requests the upstream saw or
                  where a body ends, the candidate passed on a message whose
                  framing the reference refused, or it sent the upstream (or
                  the client) something a strict parser finds malformed
  laxer           the reference refuses, the candidate lets it through; or the
                  reference answers and the candidate holds the client waiting
  altered         same messages and bodies, but a method, target, Host or other
                  end-to-end header differs: what a policy decides on
  stricter        the candidate refuses what the reference lets through
  cosmetic        both refuse, or both pass the same messages, and only a
                  status, a reason, the framing or the connection's end differs
  same            no difference that this tool can see

A message counts as *refused* when no request reached the upstream for it (on
the request side), or when the proxy made up its own answer (on the response
side).  Python 3.11+, standard library only.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

ORDER = ["broken", "smuggling-risk", "laxer", "altered", "stricter", "cosmetic", "same"]

# Headers every proxy is free to add, drop or rewrite in ordinary cases.
HOP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "content-length",
    "te",
    "upgrade",
    "expect",
    "http2-settings",
    "trailer",
}
TRACE = {"x-request-id", "traceparent", "tracestate", "b3"} | {
    f"x-b3-{n}" for n in ("traceid", "spanid", "parentspanid", "sampled", "flags")
}
FREE = (
    HOP
    | TRACE
    | {
        "date",
        "server",
        "via",
        "user-agent",
        "x-forwarded-proto",
        "x-forwarded-for",
        "forwarded",
        "x-real-ip",
    }
)
VOLATILE = re.compile(
    r"^(x-envoy-expected-rq-timeout-ms|x-envoy-upstream-service-time|x-upstream|date|server)$"
)
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.I)
# Notes of the recorder that mean "a strict peer could read this another way".
DANGEROUS = {
    "bare-lf",
    "obs-fold",
    "field-without-colon",
    "bad-field-name",
    "nul-in-value",
    "bare-cr-in-value",
    "cl-and-te",
    "several-content-length",
    "odd-transfer-encoding",
    "bare-lf-in-chunk",
    "bad-chunk-size",
    "bad-chunk-end",
    "leading-crlf",
}


def header_map(headers, strict: bool) -> dict[str, str]:
    out: dict[str, list[str]] = defaultdict(list)
    for name, value in headers:
        name = name.lower()
        if VOLATILE.match(name) or (not strict and (name in FREE or name.startswith("x-envoy-"))):
            continue
        if name == "x-request-id" and UUID.match(value):
            value = "<uuid>"
        out[name].append(value)
    return {n: re.sub(r"\s*[,;]\s*", ",", ",".join(v)) for n, v in out.items()}


def body_of(message) -> tuple:
    return (message["body"]["len"], message["body"]["sha256"], message["complete"])


def request_key(r) -> tuple:
    return (r["method"], *body_of(r))


def dangers(messages) -> set[str]:
    return {n for m in messages for n in m["notes"]} & DANGEROUS | {
        "unreadable" for m in messages if m.get("bad")
    }


def statuses(result) -> list[int]:
    return [r["status"] for r in result["client"]["responses"]]


def answered(result) -> bool:
    c = result["client"]
    return bool(c["responses"] or c["leftover"]["len"]) or c["end"] != "open"


def altered_requests(ref, cand, strict) -> list[str]:
    why = []
    for n, (a, b) in enumerate(zip(ref, cand, strict=False), 1):
        if a["target"] != b["target"]:
            why.append(f"request {n}: target {a['target'][:60]!r} became {b['target'][:60]!r}")
        ha, hb = header_map(a["headers"], strict), header_map(b["headers"], strict)
        for name in sorted(set(ha) | set(hb)):
            if ha.get(name) != hb.get(name):
                why.append(f"request {n}: {name} {str(ha.get(name))[:50]!r} / {str(hb.get(name))[:50]!r}")
        ta, tb = header_map(a["trailers"], True), header_map(b["trailers"], True)
        if ta != tb:
            why.append(f"request {n}: trailers {sorted(ta)} / {sorted(tb)}")
    return why


def canary_ok(result) -> bool:
    return result["canary"]["answered"] and result["canary"]["clean_upstream"]


def classify(case, ref, cand) -> tuple[str, str]:
    """(class, reason) of one case."""
    if cand.get("crashed") and not ref.get("crashed"):
        return "broken", "the candidate's process ended"
    if canary_ok(ref) and not canary_ok(cand):
        return "broken", f"the canary was lost: {cand['canary']}"
    r_up, c_up = ref["upstream"]["requests"], cand["upstream"]["requests"]
    new = dangers(c_up) - dangers(r_up)
    if new:
        return "smuggling-risk", f"sent the upstream malformed requests: {', '.join(sorted(new))}"
    if cand["upstream"].get("leftover") and not ref["upstream"].get("leftover"):
        return "smuggling-risk", "left stray bytes on an upstream connection"

    # 1. What went upstream.
    a, b = [request_key(x) for x in r_up], [request_key(x) for x in c_up]
    framing = bool(case.get("framing"))
    if a != b:
        if case.get("racy") and (a[: len(b)] == b or b[: len(a)] == a):
            return "cosmetic", "the reference itself goes either way here"
        if a[: len(b)] == b:
            rest = a[len(b) :]
            only_partial = all(not x[-1] for x in rest)
            if len(statuses(cand)) > len(b) or cand["client"]["end"] != "open" or only_partial:
                return "stricter", f"passed on {len(b)} of the {len(a)} requests that the reference did"
            return "laxer", f"passed on {len(b)} of {len(a)} requests and went silent"
        if b[: len(a)] == a:
            extra = c_up[len(a) :]
            if framing and case["group"] != "response":
                return "smuggling-risk", f"passed on {len(b)} requests where the reference passed on {len(a)}"
            return "laxer", f"passed on {len(extra)} request(s) that the reference refused"
        if (
            len(a) == len(b)
            and all(x[0] == y[0] for x, y in zip(a, b, strict=False))
            and all(x == y or (not x[-1] and not y[-1]) for x, y in zip(a, b, strict=False))
        ):
            pass  # both passed on part of a body that never ended
        else:
            return (
                "smuggling-risk",
                f"upstream saw {brief(r_up)} from the reference, {brief(c_up)} from the candidate",
            )

    # 2. What came back.
    r_cl, c_cl = ref["client"]["responses"], cand["client"]["responses"]
    new = dangers(c_cl) - dangers(r_cl)
    if new:
        return "smuggling-risk", f"sent the client malformed responses: {', '.join(sorted(new))}"
    if case["group"] == "response":
        verdict = compare_replies(ref, cand)
        if verdict:
            return verdict
    elif answered(ref) and not answered(cand):
        return "laxer", "the reference answers or closes, the candidate stays silent"
    elif not answered(ref) and answered(cand):
        return (
            "stricter",
            f"the reference waits, the candidate answers {statuses(cand)} {cand['client']['end']}",
        )

    # 3. What a policy would read.
    why = altered_requests(r_up, c_up, strict=bool(case.get("trust")))
    if why:
        return "altered", "; ".join(why[:4])
    for x, y in zip(r_cl, c_cl, strict=False):
        if x["from_upstream"] or case["group"] == "response":
            hx, hy = header_map(x["headers"], False), header_map(y["headers"], False)
            if hx != hy and x["status"] == y["status"]:
                diff = sorted(n for n in set(hx) | set(hy) if hx.get(n) != hy.get(n))
                return "altered", f"response headers differ: {', '.join(diff)[:120]}"
    if statuses(ref) != statuses(cand):
        return "cosmetic", f"status {statuses(ref)} / {statuses(cand)}"
    if ref["client"]["interim"] != cand["client"]["interim"]:
        return "cosmetic", f"interim {ref['client']['interim'][:5]} / {cand['client']['interim'][:5]}"
    if ref["client"]["end"] != cand["client"]["end"]:
        return "cosmetic", f"connection {ref['client']['end']} / {cand['client']['end']}"
    if [x["framing"] for x in r_up] != [x["framing"] for x in c_up]:
        return "cosmetic", f"framing {[x['framing'] for x in r_up]} / {[x['framing'] for x in c_up]}"
    return "same", ""


def compare_replies(ref, cand):
    """Response-side cases: what the client was given of what the upstream said."""
    r, c = ref["client"]["responses"], cand["client"]["responses"]

    def made_up(x):
        return x["status"] in (400, 500, 502, 503, 504) and not x["from_upstream"]

    def through(result, xs):
        return [x for x in xs if not made_up(x)]

    pr, pc = through(ref, r), through(cand, c)
    kr, kc = [(x["status"], *body_of(x)) for x in pr], [(x["status"], *body_of(x)) for x in pc]
    if cand["client"]["leftover"]["len"] and not ref["client"]["leftover"]["len"]:
        return "smuggling-risk", "gave the client bytes that belong to no response"
    if kr == kc:
        if not answered(cand) and answered(ref):
            return "laxer", "the reference answers or closes, the candidate stays silent"
        if answered(cand) and not answered(ref):
            return "stricter", "the reference waits, the candidate answers"
        return None
    if len(pc) < len(pr) and kr[: len(kc)] == kc:
        return "stricter", f"replies {[x['status'] for x in r]} / {[x['status'] for x in c]}"
    if len(pc) > len(pr) and kc[: len(kr)] == kr:
        bad = "smuggling-risk" if len(pc) > max(1, len(cand["upstream"]["requests"])) else "laxer"
        return bad, f"replies {[x['status'] for x in r]} / {[x['status'] for x in c]}"
    if len(pc) == len(pr):
        for x, y in zip(pr, pc, strict=False):
            if body_of(x) == body_of(y):
                continue
            if x["complete"] and not y["complete"]:
                return "stricter", f"body of {x['body']['len']} whole / cut at {y['body']['len']}"
            if not x["complete"] and not y["complete"]:
                continue
            return "smuggling-risk", (
                f"body {x['body']['len']} {'whole' if x['complete'] else 'cut'} / "
                f"{y['body']['len']} {'whole' if y['complete'] else 'cut'}"
            )
        if [k[0] for k in kr] != [k[0] for k in kc]:
            return "altered", f"statuses {[k[0] for k in kr]} / {[k[0] for k in kc]}"
        return None
    return "smuggling-risk", f"replies {[x['status'] for x in r]} / {[x['status'] for x in c]}"


def brief(requests) -> str:
    return (
        "["
        + ", ".join(
            f"{r['method'][:12]} {r['target'][:30]} body={r['body']['len']}{'' if r['complete'] else '...'}"
            for r in requests[:4]
        )
        + "]"
    )


def main() -> int:
    here = Path(__file__).resolve().parent
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("reference")
    ap.add_argument("candidate")
    ap.add_argument("--corpus", default=str(here / "corpus.json"))
    ap.add_argument("--split", choices=["open", "hidden"], help="only this part of the corpus")
    ap.add_argument(
        "--list", default="broken,smuggling-risk", help="classes whose cases are printed, or 'all'"
    )
    ap.add_argument("--json", help="write every case's class and reason here")
    ap.add_argument("--fail-on", default="", help="classes that make the exit status 1")
    args = ap.parse_args()

    corpus = json.loads(Path(args.corpus).read_text())["cases"]
    ref = json.loads(Path(args.reference).read_text())["results"]
    cand = json.loads(Path(args.candidate).read_text())["results"]
    verdicts, missing = {}, 0
    for case in corpus:
        if args.split and case.get("split") != args.split:
            continue
        if case["id"] not in ref or case["id"] not in cand:
            missing += 1
            continue
        verdicts[case["id"]] = (*classify(case, ref[case["id"]], cand[case["id"]]), case["group"])

    counts = Counter(v[0] for v in verdicts.values())
    wanted = ORDER if args.list == "all" else args.list.split(",")
    for cls in ORDER:
        if cls in wanted and cls != "same":
            for cid, (c, why, _) in verdicts.items():
                if c == cls:
                    print(f"{cls:15} {cid:42} {why}")
    print(f"{len(verdicts)} cases ({missing} not in both): " + ", ".join(f"{c} {counts[c]}" for c in ORDER))
    if args.json:
        Path(args.json).write_text(
            json.dumps(
                {
                    "counts": dict(counts),
                    "cases": {i: {"class": c, "why": w} for i, (c, w, _) in verdicts.items()},
                },
                indent=1,
            )
            + "\n"
        )
    return 1 if any(counts[c] for c in args.fail_on.split(",") if c) else 0


if __name__ == "__main__":
    sys.exit(main())
