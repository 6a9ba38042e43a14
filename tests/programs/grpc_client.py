"""Makes every kind of gRPC call to the host that is its argument, and prints what comes."""

import queue
import sys

import grpc

limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
channel = grpc.insecure_channel(f"{sys.argv[1]}:50051", options=limits)
echo, fail = channel.unary_unary("/test.Calls/Echo"), channel.unary_unary("/test.Calls/Fail")
count, total = channel.unary_stream("/test.Calls/Count"), channel.stream_unary("/test.Calls/Total")
chat, forever = channel.stream_stream("/test.Calls/Chat"), channel.unary_stream("/test.Calls/Forever")
was_cancelled = channel.unary_unary("/test.Calls/WasCancelled")


def refusal(method, request):
    """Why a call failed: code, details and trailers."""
    try:
        return method(request)
    except grpc.RpcError as error:
        trailers = [f"{key}={value}" for key, value in error.trailing_metadata() if key == "why"]
        return error.code().name, error.details(), *trailers


def ending(call):
    """How a stream ended."""
    try:
        return list(call)
    except grpc.RpcError as error:
        return error.code().name


try:
    print("unary:", echo(b"hello", timeout=60).decode())
except grpc.RpcError as error:
    sys.exit(f"refused: {error.code().name}: {error.details()}")

metadata = (("x-mark", "seen"), ("x-raw-bin", bytes(range(256))))
call = echo.future(b"", metadata=metadata)
print("empty:", call.result())
print("metadata:", [value for key, value in call.initial_metadata() if key == "began"])
print("trailers:", [value for key, value in call.trailing_metadata() if key in ("ended", "raw-bin")])

for code in grpc.StatusCode:
    if code is not grpc.StatusCode.OK:
        print("status:", refusal(fail, f"{code.name} 100% naïve ☃".encode()))
print("no such method:", refusal(channel.unary_unary("/test.Calls/Nothing"), b""))

print("server streams:", sum(int(message) for message in count(b"1000")))
print("server streams nothing:", list(count(b"0")))
print("client streams:", total(b"x" * size for size in range(1000)))

# Each message is written after the answer to the one before: no side waits for the other's end.
said = queue.Queue()
answers = chat(iter(said.get, None))
for word in (b"a", b"b", b"c"):
    said.put(word)
    print("both stream:", next(answers))
said.put(None)
print("both stream:", list(answers))

large = bytes(range(256)) * 65536
print("16 MiB there and back:", echo(large) == large)
many = [echo.future(str(number).encode()) for number in range(200)]
print("at once:", sum(int(call.result()) for call in many))

print("deadline:", ending(forever(b"", timeout=3)))
print("its server was told:", was_cancelled(b"", timeout=60))
call = forever(b"")
print("cancelled:", next(call), call.cancel(), ending(call))
print("its server was told:", was_cancelled(b"", timeout=60))
