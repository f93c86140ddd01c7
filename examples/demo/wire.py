"""The client's side of the wire: test data, comparison, and sockets that count what they do.

Nothing here comes from ouro: connections are CPython's asyncio streams or plain `socket` objects.
"""

import asyncio
import hashlib
import random
import socket
import struct
import time

KIB = 1024
MIB = 1024 * KIB
CHUNK_BYTES = 256 * KIB
# For what takes a moment: only a hang takes longer, however busy the machine is.
PATIENCE_SECONDS = 60


class Failed(Exception):
    """A check that did not hold: what was done, what should have happened, what happened."""

    def __init__(self, did: str, expected: str, got: str):
        super().__init__(f"{did}: expected {expected}, got {got}")
        self.did, self.expected, self.got = did, expected, got


def test_data(seed: int, size_bytes: int) -> bytes:
    """Pseudo-random bytes: a lost, doubled or swapped block cannot go unnoticed."""
    return random.Random(seed).randbytes(size_bytes)


class Comparer:
    """Compares an echo with what was sent, while it arrives."""

    def __init__(self, target: "Target", sent: bytes, did: str):
        self.target, self.sent, self.did = target, sent, did
        self.at = 0
        self.hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> None:
        wanted = self.sent[self.at : self.at + len(chunk)]
        if chunk != wanted:
            self.explain(chunk, wanted)
        self.at += len(chunk)
        self.target.echoed_bytes += len(chunk)
        self.hash.update(chunk)

    def explain(self, chunk: bytes, wanted: bytes) -> None:
        pairs = enumerate(zip(chunk, wanted))
        first = next((i for i, (a, b) in pairs if a != b), None)
        if first is None:
            raise Failed(self.did, f"{len(self.sent):,} bytes back",
                         f"at least {self.at + len(chunk):,} bytes: more came back than was sent")
        raise Failed(self.did, f"at offset {self.at + first:,}: {hexdump(wanted[first:])}",
                     f"at offset {self.at + first:,}: {hexdump(chunk[first:])}")

    def end_of_stream(self) -> None:
        if self.at != len(self.sent):
            raise Failed(self.did, f"{len(self.sent):,} bytes back",
                         f"end of stream after {self.at:,} bytes")

    @property
    def is_complete(self) -> bool:
        return self.at >= len(self.sent)


def hexdump(data: bytes) -> str:
    return data[:16].hex(" ") + (" ..." if len(data) > 16 else "")


class Target:
    """The address under test, and how much was done to it."""

    def __init__(self, host: str, port: int):
        self.host, self.port = host, port
        self.connection_count = 0
        self.echoed_bytes = 0

    async def open_streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        streams = await asyncio.open_connection(self.host, self.port, limit=MIB)
        self.connection_count += 1
        return streams

    async def connect(self, receive_buffer_bytes: int | None = None,
                      segment_bytes: int | None = None) -> socket.socket:
        """A non-blocking socket. A small receive buffer makes the peer feel backpressure soon;
        with small segments the kernel also keeps the peer's send buffer small."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            if segment_bytes is not None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
            await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        except BaseException:
            sock.close()
            raise
        self.connection_count += 1
        return sock

    def compare(self, sent: bytes, did: str) -> Comparer:
        return Comparer(self, sent, did)

    async def exchange(self, streams, message: bytes, did: str) -> float:
        """One request and its reply; returns the seconds between them."""
        reader, writer = streams
        began = time.perf_counter()
        writer.write(message)
        await writer.drain()
        try:
            reply = await reader.readexactly(len(message))
        except asyncio.IncompleteReadError as short:
            raise Failed(did, f"{len(message):,} bytes back",
                         f"end of stream after {len(short.partial):,} bytes") from None
        seconds = time.perf_counter() - began
        self.compare(message, did).feed(reply)
        return seconds


async def send_in_chunks(writer: asyncio.StreamWriter, data: bytes) -> None:
    for at in range(0, len(data), CHUNK_BYTES):
        writer.write(data[at : at + CHUNK_BYTES])
        await writer.drain()


async def read_back(sock: socket.socket, comparer: Comparer, pause_seconds: float = 0,
                    until_eof: bool = False, chunk_bytes: int = CHUNK_BYTES,
                    enough_bytes: int | None = None) -> None:
    """Reads the echo until it is complete, enough came, or (until_eof) the server closes."""
    loop = asyncio.get_running_loop()
    while until_eof or not comparer.is_complete:
        if enough_bytes is not None and comparer.at >= enough_bytes:
            return
        chunk = await loop.sock_recv(sock, chunk_bytes)
        if not chunk:
            comparer.end_of_stream()
            return
        comparer.feed(chunk)
        if pause_seconds:
            await asyncio.sleep(pause_seconds)


async def push_until_blocked(sock: socket.socket, data: bytes, quiet_seconds: float) -> int:
    """Sends without reading until the socket takes nothing for a while; returns bytes taken."""
    taken, last = 0, time.monotonic()
    view = memoryview(data)
    while taken < len(data):
        try:
            taken += sock.send(view[taken : taken + CHUNK_BYTES])
            last = time.monotonic()
            await asyncio.sleep(0)
        except BlockingIOError:
            if time.monotonic() - last > quiet_seconds:
                break
            await asyncio.sleep(0.01)
    return taken


def close_with_reset(sock: socket.socket) -> None:
    """SO_LINGER of zero: close() drops what is queued and sends RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def together(*coroutines) -> list:
    """Runs them at once; the first failure cancels the others and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in coroutines]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


def percentile(values: list[float], percent: float) -> float:
    """Nearest rank: a value that was really measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
