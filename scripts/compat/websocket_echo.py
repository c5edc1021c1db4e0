"""A WebSocket server on 127.0.0.1:PORT that sends back what it gets, up to 64 MiB a message."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve

MAX_MESSAGE_BYTES = 64 * 1024 * 1024


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    # What the cases do wrong on purpose is no news.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), max_size=MAX_MESSAGE_BYTES) as server:
        await server.serve_forever()


asyncio.run(main())
