"""The place of one run: its temporary folder, certificates, the server behind every pair, and what was started."""

import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .process import Process, free_ports, wait_for_port

CLIENT_ID = "spiffe://cluster.local/ns/default/sa/client"
SERVER_ID = "spiffe://cluster.local/ns/default/sa/server"
LOAD_CORE = 0
PROXY_CORE = 1


@dataclass(frozen=True)
class Calls:
    """Unary gRPC calls: the file with the request's message, the method's path, and how long an answer's message is."""

    request: Path
    path: str
    answer_bytes: int


class Site:
    """Owns every process and file of a run; `close` ends and removes them."""

    def __init__(self, tools):
        self.tools = tools
        self.folder = Path(tempfile.mkdtemp(prefix="weft-bench-"))
        self.processes = []
        self.server = {}
        self.calls = None

    def prepare(self):
        """Certificates and the server behind every pair: nginx with HTTP/1.1 and h2c, and iperf3, as lane -> port."""
        self.path("www").mkdir()
        self.calls = self.make_calls()
        make_certificates(self.folder, self.tools["openssl"])
        self.server = self.start_server()

    def path(self, name):
        return self.folder / name

    def write(self, name, text):
        path = self.path(name)
        path.write_text(text)
        return path

    def spawn(self, name, argv, core=PROXY_CORE, ports=()):
        """Starts a program and waits until it accepts on all of `ports`."""
        process = Process(argv, core, self.path(f"{name}.log"))
        self.processes.append(process)
        for port in ports:
            wait_for_port(port, process)
        return process

    def stop(self, processes):
        for process in processes:
            process.stop()
            self.processes.remove(process)

    def close(self):
        self.stop(list(reversed(self.processes)))
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_calls(self):
        """100 B there and 1 KiB back. The program's server looks at no message, so that any bytes will do."""
        request, answer = grpc_message(os.urandom(100)), grpc_message(os.urandom(1024))
        (self.path("www") / "unary").write_bytes(answer)
        self.path("unary-request").write_bytes(request)
        return Calls(self.path("unary-request"), "unary", len(answer))

    def start_server(self):
        h1, h2, bulk = free_ports(3)
        for name, size in (("1k", 1024), ("64k", 65536)):
            (self.path("www") / name).write_bytes(os.urandom(size))
        config = self.write("nginx.conf", NGINX.format(folder=self.folder, h1=h1, h2=h2))
        argv = [self.tools["nginx"], "-p", self.folder, "-e", "stderr", "-c", config]
        self.spawn("nginx", argv, LOAD_CORE, (h1, h2))
        self.spawn("iperf3-server", [self.tools["iperf3"], "-s", "-B", "127.0.0.1", "-p", bulk], LOAD_CORE, (bulk,))
        return {"h1": h1, "h2": h2, "cold": h1, "bulk": bulk}


def grpc_message(content):
    """A message as gRPC frames it: not compressed, its length, itself (gRPC over HTTP/2, Length-Prefixed-Message)."""
    return struct.pack(">BI", 0, len(content)) + content


def make_certificates(folder, openssl):
    """An authority and two leaves, ECDSA P-256, with SPIFFE IDs; NAME.pem holds certificate and key for HAProxy."""
    def run(*words):
        subprocess.run([openssl, *map(str, words)], check=True, capture_output=True, cwd=folder)

    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256"]
    run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/O=weft-bench",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-addext", "subjectAltName=URI:spiffe://cluster.local")
    for name, uri in (("client", CLIENT_ID), ("server", SERVER_ID)):
        run("req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/")
        (folder / f"{name}.ext").write_text(EXTENSIONS.format(uri=uri))
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-sha256",
            "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.crt")
        joined = (folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text()
        (folder / f"{name}.pem").write_text(joined)
        (folder / f"{name}.pem").chmod(0o600)


EXTENSIONS = """basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=critical,URI:{uri}
"""

NGINX = """daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  keepalive_timeout 3600;
  keepalive_requests 1000000000;
  http2_recv_timeout 3600;
  tcp_nopush on;
  sendfile on;
  open_file_cache max=16;
  open_file_cache_valid 3600;
  server {{
    listen 127.0.0.1:{h1} backlog=4096;
    listen 127.0.0.1:{h2} http2 backlog=4096;
    root {folder}/www;
    location = /unary {{
      default_type application/grpc;
      add_trailer grpc-status 0;
      error_page 405 =200 $uri;  # a file is served to POST, too
    }}
  }}
}}
"""
