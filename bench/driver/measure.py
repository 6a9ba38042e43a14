"""What is measured: the rows under load in interleaved rounds, and memory and CPU at rest of a fresh pair."""

import http.client
import socket
import time
from dataclasses import dataclass

from . import load
from .process import core_busy_ns
from .site import PROXY_CORE

GIB = 2**30


@dataclass(frozen=True)
class Row:
    """One kind of load: its lane, Weft's goal in floors, and a function of (site, port, seconds)."""

    key: str
    title: str
    lane: str
    goal: float
    run: object


def small(site, port, seconds):
    return load.wrk(site.tools, port, "1k", seconds)


def paced(site, port, seconds):
    return load.vegeta(site.tools, port, "1k", seconds)


def http2(site, port, seconds):
    return load.h2load(site.tools, port, "1k", f"-D{seconds}")


def unary(site, port, seconds):
    return load.grpc(site.tools, port, site.calls, f"-D{seconds}")


def bodies(site, port, seconds):
    return load.wrk(site.tools, port, "64k", seconds)


def closing(site, port, seconds):
    return load.wrk(site.tools, port, "1k", seconds, ["Connection: close"])


def bulk(site, port, seconds):
    return load.iperf3(site.tools, port, seconds)


ROWS = (
    Row("h1", "HTTP/1.1 1 KiB, 32 connections", "h1", 0.75, small),
    Row("paced", "the same at 1,000 requests/s", "h1", 1.1, paced),
    Row("h2", "HTTP/2 client, 4 × 8 streams, 1 KiB", "h2", 1.2, http2),
    Row("grpc", "gRPC unary, 4 × 8 streams, 1 KiB answers", "h2", 1.2, unary),
    Row("body", "64 KiB bodies", "h1", 0.75, bodies),
    Row("new", "a new connection for each request", "h1", 0.1, closing),
    Row("cold", "cold mutual handshake (opaque TCP, one request)", "cold", 1.0, closing),
    Row("bulk", "bulk TCP, each GiB", "bulk", 0.93, bulk),
)


def rounds(site, subjects, options, rows, say):
    """Samples of each row of each subject; the subjects' order turns from round to round."""
    samples = []
    for number in range(options.rounds):
        turn = number % len(subjects)
        for row in rows:
            for subject in subjects[turn:] + subjects[:turn]:
                if row.lane in subject.doors:
                    samples.append({"round": number, **sample(site, subject, row, options.seconds)})
            say(f"round {number + 1} of {options.rounds}: {row.title}")
    return samples


def sample(site, subject, row, seconds):
    """One load on one subject, what the pair's processes ran meanwhile, and what others took of their core."""
    begin = time.monotonic_ns(), core_busy_ns(PROXY_CORE), spent(subject)
    said = row.run(site, subject.doors[row.lane], seconds)
    end = time.monotonic_ns(), core_busy_ns(PROXY_CORE), spent(subject)
    elapsed, busy = end[0] - begin[0], end[1] - begin[1]
    cpu, user, system = (after - before for before, after in zip(begin[2], end[2]))
    units = said["bytes"] / GIB if "bytes" in said else said["requests"] / 1000
    return {"subject": subject.name, "row": row.key, **said, "cpu_ns": cpu, "user_ns": user, "system_ns": system,
            "others_share": max(0, busy - cpu) / elapsed,
            "cpu_ms_per_unit": cpu / 1e6 / units if subject.processes else None}


def spent(subject):
    """Nanoseconds of both processes so far: run time, user, system."""
    ticks = [process.user_sys_ns() for process in subject.processes]
    run = sum(process.cpu_ns() for process in subject.processes)
    return run, sum(user for user, _ in ticks), sum(system for _, system in ticks)


def at_rest(subject, seconds, connections=1000):
    """Memory (KiB, both) and CPU of a fresh pair: at rest, with idle connections that carried a request, and after."""
    time.sleep(1.5)
    found = {"idle": memory(subject), "rest_ms_per_s": rest(subject, seconds)}
    warm = [held_connection(subject.doors["h1"]) for _ in range(8)]
    for each in warm:
        each.close()
    time.sleep(1)
    found["warm"] = memory(subject)
    held = [held_connection(subject.doors["h1"]) for _ in range(connections)]
    time.sleep(seconds)
    found["with_idle_connections"] = memory(subject)
    grown = found["with_idle_connections"]["anonymous"] - found["warm"]["anonymous"]
    found["kib_per_idle_connection"] = grown / connections
    found["rest_ms_per_s_with_connections"] = rest(subject, seconds)
    for each in held:
        each.close()
    time.sleep(seconds)
    found["after_idle_connections"] = memory(subject)
    return found


def held_connection(port):
    """A connection that has carried one request and stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/1k")
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200 or connection.sock is None:
        raise load.LoadFailed(f"port {port}: expected 200 and an open connection, found {answer.status}")
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def memory(subject):
    """The sum over both processes, in KiB."""
    total = {}
    for process in subject.processes:
        for name, kib in process.memory_kib().items():
            total[name] = total.get(name, 0) + kib
    return total


def rest(subject, seconds):
    """Milliseconds of CPU in each second while nothing happens."""
    before, begin = spent(subject)[0], time.monotonic()
    time.sleep(seconds)
    return (spent(subject)[0] - before) / 1e6 / (time.monotonic() - begin)
