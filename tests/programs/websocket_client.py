"""Talks WebSocket with the host that is its argument, and prints what comes."""

import asyncio
import sys

import websockets

ADDRESS = f"ws://{sys.argv[1]}:8765/path?query"


async def closing(socket):
    try:
        return await socket.recv()
    except websockets.ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


async def main():
    try:
        first = await websockets.connect(ADDRESS, subprotocols=["test"], max_size=None)
    except websockets.InvalidStatusCode as error:
        sys.exit(f"refused: {error.status_code}")
    print("subprotocol:", first.subprotocol)
    for message in ("text ☃", b"\0\1\2", "", b""):
        await first.send(message)
        print("echo:", repr(await first.recv()))
    await (await first.ping(b"from the client"))
    print("the server answers pings")
    await first.send("ping")
    print("the client answers pings:", await first.recv())
    await first.send(iter(["frag", "men", "ted"]))
    print("fragments:", await first.recv())
    for compression in ("deflate", None):
        async with websockets.connect(ADDRESS, max_size=None, compression=compression) as socket:
            large = bytes(range(256)) * 32768
            await socket.send(large)
            print("8 MiB there and back:", await socket.recv() == large)
    await first.send("close")
    print("the server closes:", await closing(first))
    last = await websockets.connect(ADDRESS)
    await last.close(3001, "the client's wish")
    async with websockets.connect(ADDRESS) as socket:
        told = []
        for _ in range(4):
            await socket.send("how did one close?")
            told.append(await socket.recv())
        print("closed:", sorted(told))


asyncio.run(main())
