"""Servers of CPython for those that pass connections on."""

import asyncio
import socket
import struct
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools import expect
from wire import (CHUNK_BYTES, MIB, PATIENCE_SECONDS, Comparer, Failed, Target, send_in_chunks,
                  together)


@asynccontextmanager
async def python_echo(host: str = "127.0.0.1"):
    """asyncio.start_server with an echo; yields its port. Ends each connection when its client
    has."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, host, 0, limit=MIB) as server:
        yield server.sockets[0].getsockname()[1]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@asynccontextmanager
async def python_cutter():
    """A server that answers "half" and then resets; yields its port."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await reader.readexactly(1)  # the answer is there
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def expect_cut(step, streams) -> None:
    """Reads half an answer, and then meets a reset: an end would make it look whole."""
    reader, writer = streams
    step.doing = "read half an answer of a server that then reset"
    expect(step, await reader.readexactly(4), b"half")
    writer.write(b"!")
    await expect_reset(step, reader)
    writer.close()


async def expect_reset(step, reader: asyncio.StreamReader) -> None:
    try:
        heard = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
    except ConnectionResetError:
        return
    raise Failed(step.doing, "a reset", f"{heard!r} and an end")


@contextmanager
def python_http(folder: Path):
    """http.server in threads of its own; yields its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def echo_through(step, streams, data: bytes) -> None:
    """Sends and reads at the same time, half-closes, and demands the echo and then the end."""
    reader, writer = streams
    echo = Comparer(Target("", 0), data, step.doing)

    async def send() -> None:
        await send_in_chunks(writer, data)
        writer.write_eof()

    async def receive() -> None:
        while chunk := await reader.read(MIB):
            echo.feed(chunk)
            step.progress = f"{echo.at / MIB:.1f} of {len(data) / MIB:.1f} MiB"

    await together(send(), receive())
    writer.close()
    echo.end_of_stream()
