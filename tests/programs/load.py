"""Asks `web` in every way that makes or keeps connections, until its standard input ends and it was
answered as often as its first argument says, or not answered once. Prints one line of JSON: how many
requests of each kind were answered, the slowest answer in seconds, and each failure with its kind
and time.

The second argument is how many requests a second each kind is to make at most; further ones name the
kinds, if not all.
"""

import http.client
import json
import socket
import sys
import threading
import time

LEAST, PACE = int(sys.argv[1]), float(sys.argv[2])
TIMEOUT = 30
began = time.monotonic()
answered = {}
slowest = {}
failures = []
over = threading.Event()


def page(connection, number):
    path = f"/{number}"
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if (response.status, body) != (200, path.encode()):
        raise OSError(f"status {response.status}, {response.getheader('weft-error')}, {body[:80]!r}")


def echo(connection, number):
    line = b"%d\n" % number
    connection.sendall(line)
    found = connection.recv(64)
    while found and not found.endswith(b"\n"):
        found += connection.recv(64)
    if found != line:
        raise OSError(f"expected {line!r}, found {found!r}")


def http_connection():
    return http.client.HTTPConnection("web", 8080, timeout=TIMEOUT)


def tcp_connection():
    connection = socket.create_connection(("web", 9000), timeout=TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def kept(connect, ask):
    """One connection for all. When it breaks that is a failure, and there is another."""
    connection = connect()

    def again(number):
        nonlocal connection
        try:
            ask(connection, number)
        except Exception:
            connection.close()
            connection = connect()
            raise

    return again


def new(connect, ask):
    """A connection for each."""

    def once(number):
        connection = connect()
        try:
            ask(connection, number)
        finally:
            connection.close()

    return once


def run(kind, asking):
    number = 0
    due = time.monotonic()
    while not over.is_set():
        number += 1
        asked = time.monotonic()
        try:
            asking(number)
            answered[kind] += 1
            slowest[kind] = max(slowest[kind], round(time.monotonic() - asked, 3))
        except Exception as error:
            failures.append({"kind": kind, "at": round(time.monotonic() - began, 3), "error": repr(error)})
        due = max(due + 1 / PACE, time.monotonic() - 1)
        time.sleep(max(0, due - time.monotonic()))


KINDS = {
    "kept HTTP": kept(http_connection, page),
    "new HTTP": new(http_connection, page),
    "kept TCP": kept(tcp_connection, echo),
    "new TCP": new(tcp_connection, echo),
}
KINDS = {kind: asking for kind, asking in KINDS.items() if kind in (sys.argv[3:] or KINDS)}
answered.update(dict.fromkeys(KINDS, 0))
slowest.update(dict.fromkeys(KINDS, 0))
threads = [threading.Thread(target=run, args=kind) for kind in KINDS.items()]
for thread in threads:
    thread.start()
print("started", flush=True)
sys.stdin.read()
while sum(answered.values()) < LEAST and not failures:
    time.sleep(0.05)
over.set()
for thread in threads:
    thread.join()
print(json.dumps({"answered": answered, "slowest": slowest, "failures": failures[:20], "failed": len(failures)}))
