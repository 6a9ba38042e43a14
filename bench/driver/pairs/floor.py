"""The floor: the bare relay of this crate, one TLS connection for each TCP connection, 64 KiB buffers only for bulk."""

from ..process import free_ports
from ..site import CLIENT_ID, SERVER_ID
from . import REQUEST, Subject


def start(site):
    lanes = ("h1", "h2", "bulk")
    doors = dict(zip(lanes, free_ports(3)))
    between = dict(zip(lanes, free_ports(3)))
    b = half(site, "server", CLIENT_ID, between, site.server)
    a = half(site, "client", SERVER_ID, doors, between)
    return Subject(
        name="floor",
        doors={**doors, "cold": doors["h1"]},
        processes=[a, b],
        mesh_ports=between,
        hello=REQUEST,
        binary=site.tools["floor"],
        version="tokio 1.54.1, rustls 0.23.46, aws-lc-rs, fat LTO",
        wire="a TLS connection for each TCP connection, no resumption",
    )


def half(site, side, peer, listen, connect):
    argv = [site.tools["floor"], side, "--peer", peer, "--ca", site.path("ca.crt"),
            "--cert", site.path(f"{side}.crt"), "--key", site.path(f"{side}.key")]
    for lane, port in listen.items():
        buffers = "/64" if lane == "bulk" else "/16"
        argv += ["--route", f"127.0.0.1:{port}=127.0.0.1:{connect[lane]}{buffers}"]
    return site.spawn(f"floor-{side}", argv, ports=listen.values())
