"""The pairs that are measured, one module each: client side proxy A, server side proxy B, mutual TLS between them.

A pair's module offers `start(site)`, which returns a `Subject`. It knows how its proxy is configured and nothing of
load or measuring.
"""

from dataclasses import dataclass, field


REQUEST = b"GET /1k HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n"
H2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # preface, empty SETTINGS


class Skip(Exception):
    """The pair can't be measured here; the text says why, and the table repeats it."""


@dataclass
class Subject:
    """What a running pair looks like from outside."""

    name: str
    # Lane -> port where the load enters. Lanes: h1, h2, cold (opaque TCP to the HTTP/1.1 server), bulk (to iperf3).
    doors: dict
    # The processes whose cost counts; none for "direct".
    processes: list = field(default_factory=list)
    # Lane -> port on which B accepts mutual TLS, the ALPN name to offer there, and the first bytes that B answers:
    # strangers are tried on them.
    mesh_ports: dict = field(default_factory=dict)
    alpn: str = ""
    hello: bytes = b""
    binary: str = ""
    version: str = ""
    wire: str = ""
    # What each of its proxies says of how many requests it has served, so far; nothing where it isn't asked.
    counted: object = list
