"""Before anything counts: every door serves the right bytes, and B refuses whoever has no certificate."""

import http.client
import socket
import ssl
import time

from .load import grpc, h2load
from .pairs import REQUEST


class Unsound(Exception):
    """The pair doesn't do what it is measured for."""


def check(site, subject):
    expected = (site.path("www") / "1k").read_bytes()
    for lane in ("h1", "cold"):
        if lane in subject.doors:
            fetch(subject, lane, expected)
    if "h2" in subject.doors:
        streams(subject, "HTTP/2 requests", lambda port, amount: h2load(site.tools, port, "1k", amount))
        streams(subject, "gRPC calls", lambda port, amount: grpc(site.tools, port, site.calls, amount))
    for lane, port in subject.mesh_ports.items():
        if lane != "bulk":  # iperf3 serves one caller at a time
            refuse_strangers(site, subject, port)


def fetch(subject, lane, expected):
    connection = http.client.HTTPConnection("127.0.0.1", subject.doors[lane], timeout=10)
    connection.request("GET", "/1k")
    body = connection.getresponse().read()
    connection.close()
    if body != expected:
        raise Unsound(f"{subject.name} {lane}: expected {len(expected)} bytes of the file, found {body[:60]!r}")


def streams(subject, what, load, amount=1000):
    """All are answered, and a proxy that counts requests counts each of them: bytes weren't passed on unread."""
    before = subject.counted()
    if load(subject.doors["h2"], f"-n{amount}")["errors"]:
        raise Unsound(f"{subject.name}: {what} failed")
    expected = [count + amount for count in before]
    deadline = time.monotonic() + 2  # a request is counted when it has ended, which its caller may know first
    while (found := subject.counted()) != expected:
        if time.monotonic() > deadline:
            raise Unsound(f"{subject.name}: {what}: expected {expected} counted, found {found}")
        time.sleep(0.02)


def refuse_strangers(site, subject, port):
    """A caller with a certificate gets bytes for its hello, which proves that the hello would; a stranger gets none."""
    with encrypted(site, subject, port, "client") as known:
        if known.version() != "TLSv1.3":
            raise Unsound(f"{subject.name}: port {port}: expected TLS 1.3, found {known.version()}")
        if not answer(known, subject.hello):
            raise Unsound(f"{subject.name}: port {port} has no answer to a caller with a certificate")
    if stranger(lambda: encrypted(site, subject, port, None), subject.hello):
        raise Unsound(f"{subject.name}: port {port} serves a caller without a certificate")
    if b"200 OK" in stranger(lambda: socket.create_connection(("127.0.0.1", port), 5), REQUEST):
        raise Unsound(f"{subject.name}: port {port} between the proxies serves plain HTTP")


def stranger(connect, hello):
    """What a stranger gets; with TLS 1.3 a refusal shows on the first read only."""
    try:
        with connect() as stream:
            return answer(stream, hello)
    except OSError:  # ssl.SSLError is one
        return b""


def answer(stream, hello):
    stream.settimeout(5)
    stream.sendall(hello)
    return stream.recv(4096)


def encrypted(site, subject, port, certificate):
    context = ssl.create_default_context(cafile=str(site.path("ca.crt")))
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if subject.alpn:
        context.set_alpn_protocols([subject.alpn])
    if certificate:
        context.load_cert_chain(site.path(f"{certificate}.crt"), site.path(f"{certificate}.key"))
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5))
