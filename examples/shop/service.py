"""A small HTTP/1.1 server: what the programs of the shop have in common."""
import http.server
import os
import signal


def serve(answer):
    """Answers each GET with the status and the text that `answer` gives for its path; /healthz by itself."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, text = (200, "ok\n") if self.path == "/healthz" else answer(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            if self.path != "/healthz":
                print(f"{self.client_address[0]} {format % args}")

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # localhost by default: without a mesh around it, nobody else should call. PORT and HOST are often other things.
    address = (os.environ.get("SHOP_HOST", "127.0.0.1"), int(os.environ.get("SHOP_PORT", "8080")))
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()
