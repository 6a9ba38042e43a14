"""Load from tools not of our making, and what they say of it.

Each function returns a dict: requests (or bytes), errors, rate, and latencies in µs where the tool has them. Parsing is
apart from running, so that it can be tested.
"""

import csv
import io
import json
import re
import subprocess

from .site import LOAD_CORE


class LoadFailed(Exception):
    """A tool didn't do what was asked; the text is its own."""


def wrk(tools, port, path, seconds, headers=()):
    argv = [tools["wrk"], "-t1", "-c32", f"-d{seconds}s", "--timeout", "10s"]
    for header in headers:
        argv += ["-H", header]
    return parse_wrk(run([*argv, f"http://127.0.0.1:{port}/{path}"]))


def parse_wrk(text):
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    if not total:
        raise LoadFailed(f"wrk: expected a count of requests, found: {text}")
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = sum(map(int, sockets.groups())) if sockets else 0
    errors += int(status.group(1)) if status else 0
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return {"requests": int(total.group(1)), "errors": errors, "rate": float(rate.group(1))}


def h2load(tools, port, path, amount, *more):
    """`amount` is `-Dseconds` or `-nrequests`; `more` are options of its own."""
    url = f"http://127.0.0.1:{port}/{path}"
    return parse_h2load(run([tools["h2load"], "-t1", "-c4", "-m8", amount, *more, url]))


def grpc(tools, port, calls, amount):
    """Unary calls of `calls` (a `site.Calls`). A failed gRPC call has the status 200 and no message, so messages count."""
    head = ["-d", calls.request, "-H", "content-type: application/grpc", "-H", "te: trailers"]
    return unary(h2load(tools, port, calls.path, amount, *head), calls.answer_bytes)


def unary(said, answer_bytes):
    missing = max(0, said["requests"] - said["content"] // answer_bytes)
    return {**said, "errors": said["errors"] + missing}


def parse_h2load(text):
    counts = re.search(r"requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed", text)
    rate = re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", text)
    status = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    content = re.search(r"traffic:.* \((\d+)\) data", text)
    if not (counts and rate and status and content):
        raise LoadFailed(f"h2load: expected its summary, found: {text}")
    refused = sum(map(int, status.groups()[1:]))
    return {"requests": int(counts.group(1)), "errors": int(counts.group(2)) + refused, "rate": float(rate.group(1)),
            "content": int(content.group(1))}


def vegeta(tools, port, path, seconds, rate=1000):
    """Evenly paced; latencies leave out the first tenth, in which connections are made."""
    attack = [tools["vegeta"], "attack", f"-rate={rate}", f"-duration={seconds}s", "-timeout=10s", "-http2=false"]
    results = run(attack, stdin=f"GET http://127.0.0.1:{port}/{path}\n".encode(), binary=True)
    return parse_vegeta(run([tools["vegeta"], "encode", "-to", "csv"], stdin=results), rate)


def parse_vegeta(text, rate):
    rows = [(int(row[0]), int(row[1]), int(row[2])) for row in csv.reader(io.StringIO(text))]
    if not rows:
        raise LoadFailed("vegeta: expected results, found none")
    rows.sort()
    kept = sorted(latency for _, _, latency in rows[len(rows) // 10:])
    errors = sum(1 for _, code, _ in rows if code != 200)
    return {"requests": len(rows), "errors": errors, "rate": rate,
            "p50_us": at(kept, 0.50) / 1000, "p99_us": at(kept, 0.99) / 1000}


def iperf3(tools, port, seconds):
    return parse_iperf3(run([tools["iperf3"], "-c", "127.0.0.1", "-p", port, "-t", seconds, "-J"]))


def parse_iperf3(text):
    end = json.loads(text).get("end", {})
    if "sum_received" not in end:
        raise LoadFailed(f"iperf3: expected sum_received, found: {text[:500]}")
    received = end["sum_received"]
    return {"bytes": received["bytes"], "errors": 0, "rate": received["bits_per_second"] / 8 / 2**30}


def at(ordered, share):
    """The value below which `share` of the ordered values lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run(argv, stdin=None, binary=False):
    argv = ["taskset", "-c", str(LOAD_CORE), *map(str, argv)]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=120)
    if done.returncode:
        words = (done.stderr or done.stdout).decode(errors="replace")[-500:]
        raise LoadFailed(f"{argv[3]}: exit {done.returncode}: {words}")
    return done.stdout if binary else done.stdout.decode()
