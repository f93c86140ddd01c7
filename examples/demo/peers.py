"""Servers of CPython for those that pass connections on."""

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wire import CHUNK_BYTES, MIB, Comparer, Target, send_in_chunks, together


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
