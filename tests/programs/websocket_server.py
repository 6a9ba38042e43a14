"""WebSocket at port 8765: echoes, pings, and closes as it is asked to."""

import asyncio

import websockets

closed = asyncio.Queue()


async def serve(socket):
    try:
        await answer(socket)
    except websockets.ConnectionClosed:
        pass  # with another code than 1000
    finally:
        await closed.put(f"{socket.close_code} {socket.close_reason}")


async def answer(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as asked")
        elif message == "ping":
            await (await socket.ping(b"from the server"))
            await socket.send("ponged")
        elif message == "how did one close?":
            await socket.send(await asyncio.wait_for(closed.get(), 20))
        else:
            await socket.send(message)


async def main():
    async with websockets.serve(serve, None, 8765, subprotocols=["test"], max_size=None):
        await asyncio.Future()


asyncio.run(main())
