"""Sends the mark that is its second argument to the host that is its first, in every way that proxies carry
bytes between them, and checks that it comes back: short and long over HTTP, and over TCP."""

import http.client
import socket
import sys

host, mark = sys.argv[1], sys.argv[2]
line = (mark + "\n").encode()
connection = http.client.HTTPConnection(host, 8080)
for method, path, body in (("GET", "/" + mark, None), ("POST", "/", line * 10), ("POST", "/", line * 20000)):
    connection.request(method, path, body, {"X-Mark": mark})
    assert connection.getresponse().read() == (body or path.encode()), (method, path)

with socket.create_connection((host, 9000)) as echo:
    for _ in range(1000):
        echo.sendall(line * 10)
        received = b""
        while len(received) < len(line) * 10:
            received += echo.recv(65536)
        assert received == line * 10
print("all came back")
