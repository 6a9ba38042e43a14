"""Calls the gRPC server at its argument in every way and prints what it saw, which mustn't depend on
what is between."""
import sys
import time

import grpc

options = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20)]
channel = grpc.insecure_channel(sys.argv[1], options=options)


def status(error):
    return f"{error.code().name}: {error.details()}"


unary = channel.unary_unary("/t.T/Unary")
answer, call = unary.with_call(b"hello", metadata=(("key-bin", bytes(range(256))),), timeout=60)
print("unary", answer, dict(call.trailing_metadata())["trail-bin"])
initial = dict(call.initial_metadata())
print("metadata", initial["initial"], initial["echo-bin"] == bytes(range(256)))
big = bytes(range(256)) * (4 << 12)
print("big", unary(big, timeout=60) == big)
print("empty", unary(b"", timeout=60))
try:
    channel.unary_unary("/t.T/Fail")(b"x", timeout=60)
except grpc.RpcError as error:
    print("fail", status(error))
try:
    channel.unary_unary("/t.T/None")(b"x", timeout=60)
except grpc.RpcError as error:
    print("none", status(error))
try:
    # Long enough to reach the server on a busy machine.
    channel.unary_unary("/t.T/Slow")(b"x", timeout=3)
except grpc.RpcError as error:
    print("slow", error.code().name)
hang = channel.unary_stream("/t.T/Hang")(b"x")
print("hang", next(hang))
hang.cancel()
print("seen", channel.unary_unary("/t.T/Seen")(b"", timeout=60))
print("client stream", channel.stream_unary("/t.T/ClientStream")((b"x" * 1000 for _ in range(1000)), timeout=60))
print("server stream", len(list(channel.unary_stream("/t.T/ServerStream")(b"2000", timeout=60))))


def paced():
    for n in range(5):
        yield f"message {n}".encode()
        time.sleep(0.01)


print("bidi", list(channel.stream_stream("/t.T/Bidi")(paced(), timeout=60)))
many = [unary.future(str(n).encode(), timeout=60) for n in range(500)]
print("many", [f.result() for f in many] == [str(n).encode() for n in range(500)])
