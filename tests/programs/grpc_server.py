"""gRPC at port 50051: each kind of call, and what there is beside the messages. Messages are bytes."""

import threading
from concurrent import futures

import grpc

cancelled = threading.Semaphore(0)


def echo(request, context):
    sent = {key: value for key, value in context.invocation_metadata() if key.startswith("x-")}
    context.send_initial_metadata((("began", sent.get("x-mark", "")),))
    context.set_trailing_metadata((("ended", sent.get("x-mark", "")), ("raw-bin", sent.get("x-raw-bin", b""))))
    return request


def fail(request, context):
    code, details = request.decode().split(" ", 1)
    context.set_trailing_metadata((("why", "asked for"),))
    context.abort(grpc.StatusCode[code], details)


def count(request, _context):
    return (str(number).encode() for number in range(int(request)))


def total(requests, _context):
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, _context):
    for request in requests:
        yield request.upper()


def forever(_request, context):
    """One message; then nothing until the caller has gone."""
    gone = threading.Event()

    def told():
        gone.set()
        cancelled.release()

    # What follows a yield may never run: grpcio goes on with no generator whose caller has gone.
    if not context.add_callback(told):
        told()
    yield b"here"
    gone.wait()


def was_cancelled(_request, _context):
    return b"yes" if cancelled.acquire(timeout=60) else b"no"


unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
handlers = {
    "Echo": unary(echo),
    "Fail": unary(fail),
    "Count": stream(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Forever": stream(forever),
    "WasCancelled": unary(was_cancelled),
}
limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(32), options=limits)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", handlers),))
server.add_insecure_port("[::]:50051")
server.start()
server.wait_for_termination()
