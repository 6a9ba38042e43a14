"""Weft: two `weft-proxy --records FILE`, policy and metrics on. The only module that knows what that file looks like.

B admits one identity by an ALLOW policy under STRICT, and serves all lanes on one mesh port; each lane is a port of one
service. Access log off, as for the others.
"""

import ipaddress
import json
import re
import struct
import subprocess
import urllib.request

from ..process import free_ports
from ..site import CLIENT_ID, SERVER_ID
from . import REQUEST, Skip, Subject

HOST = "server.default.svc.cluster.local"
SERVICE, WORKLOAD, CALLER = "240.240.0.9", "240.240.1.9", "240.240.1.8"
LANES = {"h1": (8080, "http"), "h2": (8081, "http2"), "cold": (8082, "tcp"), "bulk": (8083, "tcp")}


def start(site):
    binary = site.tools.get("weft-proxy")
    if not binary:
        raise Skip("weft-proxy isn't built (cargo build --profile dist -p weft-proxy)")
    if subprocess.run([binary, "--help"], capture_output=True, text=True).stdout.find("--records") < 0:
        raise Skip("this weft-proxy reads no records from a file")
    doors = dict(zip(LANES, free_ports(len(LANES))))
    mesh, admin_a, admin_b = free_ports(3)
    processes = []
    for side, text, ports in (("b", server_side(site, mesh, admin_b), (mesh, admin_b)),
                              ("a", client_side(doors, mesh, admin_a), (*doors.values(), admin_a))):
        file = site.write(f"weft-{side}.json", json.dumps(text))
        # Waiting for a port connects to it, which is a call: the doors of HTTP serve it as such.
        processes.append(site.spawn(f"weft-{side}", [binary, "--records", file], ports=ports))
    said = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    return Subject("weft", doors, processes[::-1], {"h1": mesh}, "weft/1", hello(), binary, said.strip().split()[-1],
                   "weft/1; SAN compared, STRICT, an ALLOW policy by principal, metrics",
                   counted=lambda: [requests(admin) for admin in (admin_a, admin_b)])


def requests(admin):
    """How many requests a proxy has counted, whatever became of them."""
    with urllib.request.urlopen(f"http://{loopback(admin)}/metrics", timeout=10) as page:
        counted = re.findall(r"^istio_requests_total\{.*\} (\d+)$", page.read().decode(), re.MULTILINE)
    return sum(map(int, counted))


def server_side(site, mesh, admin):
    return {
        "workload": "default/server", "identity": SERVER_ID, **credentials("server"), "addresses": [WORKLOAD],
        "mesh": loopback(mesh), "admin": loopback(admin),
        "programs": {str(port): loopback(site.server[lane]) for lane, (port, _) in LANES.items()},
        "inbound": {
            "ports": [{"port": port, "protocol": protocol} for port, protocol in LANES.values()],
            "peerAuthentication": {"mode": "STRICT"},
            "policies": [{"name": "default/only-client", "action": "ALLOW", "rules": [
                {"from": [{"principals": [CLIENT_ID.removeprefix("spiffe://")]}]}]}]},
    }


def client_side(doors, mesh, admin):
    return {
        "workload": "default/client", "identity": CLIENT_ID, **credentials("client"), "addresses": [CALLER],
        "outbound": [{"listen": loopback(doors[lane]), "destination": f"{HOST}:{port}"}
                     for lane, (port, _) in LANES.items()],
        "admin": loopback(admin),
        "destinations": [{
            "host": HOST, "addresses": [SERVICE],
            "ports": [{"port": port, "protocol": protocol} for port, protocol in LANES.values()],
            "endpoints": [{"workload": "default/server", "address": WORKLOAD, "identity": SERVER_ID,
                           "tunnel": {"mesh": loopback(mesh)}}]}],
    }


def credentials(name):
    return {"certificate": {"chain": f"{name}.crt", "key": f"{name}.key"}, "trust": {"anchors": "ca.crt"}}


def loopback(port):
    return f"127.0.0.1:{port}"


def hello():
    """A head of weft/1 (crates/wire/src/head.rs) for a TCP exchange with the opaque port, and a request."""
    def address(ip, port):
        return b"\x04" + ipaddress.ip_address(ip).packed + struct.pack(">H", port)

    rest = b"\x01\x00" + address(WORKLOAD, LANES["cold"][0]) + address(CALLER, 40000)
    return struct.pack(">H", len(rest)) + rest + REQUEST
