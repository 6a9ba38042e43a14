"""Envoy: HTTP connection manager and HTTP/2 between the two for HTTP, tcp_proxy for the opaque lanes.

Both sides match the peer's URI SAN. Access log off, statistics as by default, one worker. BoringSSL prefers AES-128
where AES has instructions; its groups are its defaults.
"""

import json
import subprocess

from ..process import free_ports
from ..site import CLIENT_ID, SERVER_ID
from . import H2_HELLO, Skip, Subject

TYPE = "type.googleapis.com/envoy.extensions"
HTTP_LANES = ("h1", "h2")
LANES = ("h1", "h2", "cold", "bulk")


def start(site):
    binary = site.tools.get("envoy")
    if not binary:
        raise Skip("envoy isn't there (bench/run --install)")
    doors = dict(zip(LANES, free_ports(4)))
    between = dict(zip(LANES, free_ports(4)))
    processes = []
    sides = ("b", between, server_side(site, between)), ("a", doors, client_side(site, doors, between))
    for side, listen, text in sides:
        file = site.write(f"envoy-{side}.json", json.dumps(text))
        argv = [binary, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        processes.append(site.spawn(f"envoy-{side}", argv, ports=listen.values()))
    said = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    return Subject("envoy", doors, processes[::-1], between, "h2", H2_HELLO, binary,
                   said.strip().split("version: ")[-1], "HTTP/2, pooled; TCP: a TLS connection each; SAN matched")


def client_side(site, doors, between):
    tls = {"name": "tls", "typed_config": {
        "@type": f"{TYPE}.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": tls_context(site, "client", SERVER_ID), "max_session_keys": 0}}
    return config([listener(lane, doors[lane]) for lane in LANES],
                  [cluster(lane, between[lane], lane in HTTP_LANES, tls) for lane in LANES])


def server_side(site, between):
    tls = {"name": "tls", "typed_config": {
        "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": tls_context(site, "server", CLIENT_ID), "require_client_certificate": True,
        "disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}}
    return config([listener(lane, between[lane], tls) for lane in LANES],
                  [cluster(lane, site.server[lane], lane == "h2") for lane in LANES])


def config(listeners, clusters):
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(lane, port, tls=None):
    filters = http_filter(lane) if lane in HTTP_LANES else tcp_filter(lane)
    chain = {"filters": [filters], **({"transport_socket": tls} if tls else {})}
    return {"name": lane, "address": address(port), "filter_chains": [chain]}


def http_filter(lane):
    return {"name": "hcm", "typed_config": {
        "@type": f"{TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": lane, "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": lane, "timeout": "0s"}}]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{TYPE}.filters.http.router.v3.Router"}}]}}


def tcp_filter(lane):
    return {"name": "tcp", "typed_config": {
        "@type": f"{TYPE}.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": lane, "cluster": lane}}


def cluster(lane, port, http2, tls=None):
    found = {"name": lane, "connect_timeout": "5s", "type": "STATIC", "load_assignment": {
        "cluster_name": lane,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}
    if http2:
        found["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": f"{TYPE}.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}}}}
    if tls:
        found["transport_socket"] = tls
    return found


def tls_context(site, who, peer):
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificates": [{"certificate_chain": {"filename": str(site.path(f"{who}.crt"))},
                              "private_key": {"filename": str(site.path(f"{who}.key"))}}],
        "validation_context": {
            "trusted_ca": {"filename": str(site.path("ca.crt"))},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"exact": peer}}]},
    }
