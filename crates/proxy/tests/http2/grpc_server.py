"""A gRPC server whose messages are bytes; it prints its port. Method /t.T/Seen tells what became of
calls to /t.T/Hang."""
import threading
from concurrent import futures

import grpc

hung = []
ended = threading.Semaphore(0)


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.send_initial_metadata((("initial", "1"), ("echo-bin", metadata.get("key-bin", b"none"))))
    context.set_trailing_metadata((("trail-bin", b"\x00\xff\x01"),))
    return request


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100% \u00e4")


def slow(request, context):
    # The deadline came along, less what has passed.
    remaining = context.time_remaining()
    hung.append("deadline" if remaining is not None and remaining < 4 else "no deadline")
    stop = threading.Event()
    context.add_callback(stop.set)
    stop.wait(60)
    return b""


def hang(request, context):
    def over():
        hung.append("cancelled" if not context.is_active() else "active")
        ended.release()

    context.add_callback(over)
    yield b"begun"
    threading.Event().wait(60)


def seen(request, context):
    ended.acquire(timeout=60)
    found = ",".join(sorted(hung)).encode()
    hung.clear()
    return found


def client_stream(requests, context):
    return str(sum(len(r) for r in requests)).encode()


def server_stream(request, context):
    for n in range(int(request)):
        yield str(n).encode()


def bidi(requests, context):
    for request in requests:
        yield request[::-1]


METHODS = {
    "/t.T/Unary": grpc.unary_unary_rpc_method_handler(unary),
    "/t.T/Fail": grpc.unary_unary_rpc_method_handler(fail),
    "/t.T/Slow": grpc.unary_unary_rpc_method_handler(slow),
    "/t.T/Hang": grpc.unary_stream_rpc_method_handler(hang),
    "/t.T/Seen": grpc.unary_unary_rpc_method_handler(seen),
    "/t.T/ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "/t.T/ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "/t.T/Bidi": grpc.stream_stream_rpc_method_handler(bidi),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


options = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20)]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=options)
server.add_generic_rpc_handlers((Handler(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
