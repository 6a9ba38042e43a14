"""The programs of the mesh, as text for `python3 -c`: a server, and a caller that tells whenever its answer changes."""

SERVER = """
import http.server, socketserver
class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def log_message(self, *_):
        pass
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server(('', 8080), Pages).serve_forever()
"""

# HOST PAUSE GO: asks while the file GO is there, and prints time and status of the first answer of each kind.
CALLER = """
import http.client, os, sys, time
host, pause, go = sys.argv[1], float(sys.argv[2]), sys.argv[3]
kept, last = None, None
while True:
    if not os.path.exists(go):
        kept = None
        time.sleep(0.5)
        continue
    try:
        kept = kept or http.client.HTTPConnection(host, 8080, timeout=10)
        kept.request('GET', '/')
        answer = kept.getresponse()
        answer.read()
        status = str(answer.status)
    except OSError as error:
        kept, status = None, type(error).__name__
    except http.client.HTTPException as error:
        kept, status = None, type(error).__name__
    if status != last:
        print(time.time(), status, flush=True)
        last = status
    time.sleep(pause)
"""
