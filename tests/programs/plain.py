"""Runs a server, and once it accepts connections its client, in a network of their own that has no mesh: what
both do without Weft. It ends as the client does, and what it prints is what the client prints.

    unshare --map-current-user --keep-caps --net --pid --kill-child python3 plain.py PORT SERVER... -- CLIENT...
"""

import fcntl
import socket
import struct
import subprocess
import sys
import time

SIOCSIFFLAGS, IFF_UP = 0x8914, 1

with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


port, between = int(sys.argv[1]), sys.argv.index("--")
server = subprocess.Popen(sys.argv[2:between], stdin=subprocess.DEVNULL, stdout=sys.stderr)
deadline = time.monotonic() + 60
while not accepts(port):
    if server.poll() is not None or time.monotonic() > deadline:
        sys.exit(f"the server doesn't accept: {server.poll()}")
    time.sleep(0.02)
client = subprocess.run(sys.argv[between + 1 :], stdin=subprocess.DEVNULL)
server.terminate()
server.wait(60)
sys.exit(client.returncode)
