"""HAProxy, twice: `haproxy-h2` reads HTTP and speaks HTTP/2 between the two, `haproxy-tcp` relays bytes.

It checks the peer's chain only, for it has no match on a URI SAN. OpenSSL's first suite would be AES-256, so AES-128
is named, as for the floor; OpenSSL 3.0 has no post-quantum group. `http-reuse always` lets all clients share one HTTP/2
connection, without which it costs two and a half times as much.
"""

import subprocess

from ..process import free_ports
from . import H2_HELLO, REQUEST, Skip, Subject


def start_h2(site):
    doors = dict(zip(("h1", "h2"), free_ports(2)))
    between = dict(zip(doors, free_ports(2)))
    ends = {"h1": "", "h2": " proto h2"}
    a = b = HEAD.format(mode="http") + "  http-reuse always\n"
    for lane in doors:
        a += section(f"a_{lane}", f"127.0.0.1:{doors[lane]}{ends[lane]}",
                     f"127.0.0.1:{between[lane]} {tls(site, 'client', 'server', 'alpn h2')}")
        b += section(f"b_{lane}", f"127.0.0.1:{between[lane]} {tls(site, 'server', 'bind', 'alpn h2')}",
                     f"127.0.0.1:{site.server[lane]}{ends[lane]}")
    wire = "HTTP/2, pooled; chain checked, no SAN"
    return pair(site, Subject("haproxy-h2", doors, mesh_ports=between, alpn="h2", hello=H2_HELLO, wire=wire), a, b)


def start_tcp(site):
    lanes = ("h1", "h2", "bulk")
    doors = dict(zip(lanes, free_ports(3)))
    between = dict(zip(lanes, free_ports(3)))
    a = b = HEAD.format(mode="tcp")
    for lane in lanes:
        a += section(f"a_{lane}", f"127.0.0.1:{doors[lane]}",
                     f"127.0.0.1:{between[lane]} {tls(site, 'client', 'server', 'no-ssl-reuse')}")
        b += section(f"b_{lane}", f"127.0.0.1:{between[lane]} {tls(site, 'server', 'bind', 'no-tls-tickets')}",
                     f"127.0.0.1:{site.server[lane]}")
    doors["cold"] = doors["h1"]
    wire = "a TLS connection for each TCP connection, no resumption; chain checked, no SAN"
    return pair(site, Subject("haproxy-tcp", doors, mesh_ports=between, hello=REQUEST, wire=wire), a, b)


def section(name, bind, server):
    return f"listen {name}\n  bind {bind}\n  server next {server}\n"


def tls(site, who, where, extra):
    versions = "ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256"
    # Only a listener can name its groups in this version; the client's first is X25519 anyway.
    groups = "curves X25519:P-256" if where == "bind" else ""
    return (f"ssl crt {site.path(f'{who}.pem')} ca-file {site.path('ca.crt')} verify required "
            f"{versions} {groups} {extra}")


def pair(site, subject, a, b):
    binary = site.tools.get("haproxy")
    if not binary:
        raise Skip("haproxy isn't installed")
    subject.binary = binary
    said = subprocess.run([binary, "-v"], capture_output=True, text=True).stdout
    subject.version = said.split(" - ")[0].splitlines()[0]
    for side, text, ports in (("a", a, subject.doors), ("b", b, None)):
        config = site.write(f"{subject.name}-{side}.cfg", text)
        listening = set((ports or subject.mesh_ports).values())
        subject.processes.append(site.spawn(f"{subject.name}-{side}", [binary, "-db", "-f", config], ports=listening))
    return subject


HEAD = """global
  nbthread 1
  maxconn 8192
  tune.ssl.cachesize 0
defaults
  mode {mode}
  timeout client 1h
  timeout server 1h
  timeout connect 5s
  timeout http-keep-alive 1h
"""
