"""What an echo server has to withstand. Each check is one coroutine; raising means it failed."""

import asyncio
import random
import socket
import time
from dataclasses import dataclass, field

from child import Server
from wire import (KIB, MIB, PATIENCE_SECONDS, Comparer, Failed, Target, close_with_reset,
                  percentile, push_until_blocked, read_back, send_in_chunks, together)

# A stalled peer may cost the kernel's socket buffers (several MiB), never the whole stream.
STALL_OFFERED_BYTES = 64 * MIB
STALL_ACCEPTED_LIMIT_BYTES = 32 * MIB
STALL_MEMORY_LIMIT_BYTES = 16 * MIB
SMALL_RECEIVE_BUFFER_BYTES = 128 * KIB
# More than its parts may take, which can say better what hangs.
STEP_SECONDS = 2 * PATIENCE_SECONDS


@dataclass(frozen=True)
class Scale:
    """How much of everything; two of these exist, full and quick."""

    bulk_bytes: int
    connections: int
    exchanges: int
    resets: int
    tiny_writes: int
    churn: int


FULL = Scale(bulk_bytes=64 * MIB, connections=1000, exchanges=5, resets=24, tiny_writes=8000,
             churn=2000)
QUICK = Scale(bulk_bytes=16 * MIB, connections=1000, exchanges=2, resets=12, tiny_writes=1500,
              churn=400)


@dataclass
class Step:
    """One check of one server, while it runs."""

    server: Server
    data: bytes
    scale: Scale
    # For the report, should the step fail right now.
    doing: str = "nothing yet, the check before had just ended"
    progress: str = ""
    notes: list[str] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        return self.server.target


async def bulk(step: Step) -> str:
    """a large transfer, compared byte for byte"""
    sent = step.data[: step.scale.bulk_bytes]
    size = f"{len(sent) // MIB} MiB"
    step.doing = f"sent {size} through asyncio streams, reading at the same time"
    echo = step.target.compare(sent, step.doing)
    reader, writer = await step.target.open_streams()

    async def receive() -> None:
        while not echo.is_complete:
            chunk = await reader.read(MIB)
            if not chunk:
                return echo.end_of_stream()
            echo.feed(chunk)
            step.progress = f"{echo.at // MIB} of {size}"

    began = time.perf_counter()
    try:
        await together(send_in_chunks(writer, sent), receive())
    finally:
        writer.close()
    speed = len(sent) / (time.perf_counter() - began) / 1e6
    sent_hash = step.target.compare(sent, "").hash
    sent_hash.update(sent)
    step.figures["throughput"] = f"{speed:,.0f} MB/s"
    step.notes += [f"sent      {sent_hash.hexdigest()}",
                   f"received  {echo.hash.hexdigest()}"]
    return f"{size} there and back, all equal, {speed:,.0f} MB/s; sha256 of both:"


async def crowd(step: Step) -> str:
    """many connections open at once, each with requests and replies"""
    scale, target, chance = step.scale, step.target, random.Random(2)
    gate = asyncio.Semaphore(64)  # bounds pending connects, so no SYN waits for a retry
    peers, alone, at_once = [], [], []

    async def join() -> None:
        async with gate:
            peers.append(await target.open_streams())
            step.progress = f"{len(peers):,} connected"

    def message() -> bytes:
        size = int(2 ** chance.uniform(0, 15))
        at = chance.randrange(len(step.data) - size)
        return step.data[at : at + size]

    async def talk(streams) -> None:
        for _ in range(scale.exchanges):
            at_once.append(await target.exchange(streams, message(), step.doing))
            step.progress = f"{len(at_once):,} replies"

    try:
        step.doing = f"opened {scale.connections:,} connections, 64 at a time"
        await together(*(join() for _ in range(scale.connections)))
        step.doing = f"{scale.connections:,} connections open, one of them asking at a time"
        for streams in peers:
            alone.append(await target.exchange(streams, step.data[:64], step.doing))
        step.doing = f"{scale.connections:,} connections, all asking at once, 1 B to 32 KiB"
        await together(*(talk(streams) for streams in peers))
    finally:
        for _, writer in peers:
            writer.close()
    step.figures["p50/p99, one asking"] = spread(alone, 1e6, "us")
    step.figures["p50/p99, all asking"] = spread(at_once, 1e3, "ms")
    one, every = percentile(alone, 99) * 1e6, percentile(at_once, 99) * 1e3
    return (f"{len(peers):,} open, {len(alone) + len(at_once):,} replies; "
            f"p99 alone {one:,.0f} us, all at once {every:,.0f} ms")


def spread(seconds: list[float], factor: float, unit: str) -> str:
    low, high = (percentile(seconds, p) * factor for p in (50, 99))
    return f"{low:,.0f} / {high:,.0f} {unit}"


async def half_close(step: Step) -> str:
    """shutdown(SHUT_WR) with echo still owed: all of it must come, then end of stream"""
    for size in (0, 1, 70_000):
        step.doing = f"sent {size:,} bytes, shutdown(SHUT_WR), then read to the end"
        with await step.target.connect() as sock:
            await asyncio.get_running_loop().sock_sendall(sock, step.data[:size])
            sock.shutdown(socket.SHUT_WR)
            await read_back(sock, step.target.compare(step.data[:size], step.doing), until_eof=True)

    # Until nothing more fits: the server learns of the end long after it stopped reading.
    with await step.target.connect(SMALL_RECEIVE_BUFFER_BYTES) as sock:
        step.doing = "sent without reading until the socket blocked"
        taken = await push_until_blocked(sock, step.data[: 16 * MIB], quiet_seconds=0.1)
        sock.shutdown(socket.SHUT_WR)
        step.doing = (f"sent {taken:,} bytes until the socket blocked, shutdown(SHUT_WR), "
                      "then read slowly to the end")
        echo = step.target.compare(step.data[:taken], step.doing)
        await read_back(sock, echo, pause_seconds=0.001, until_eof=True)

    await together(*(end_with_echo_queued(step, size * KIB) for size in range(16, 528, 8)))
    return f"0, 1, 70,000 and {taken:,} bytes, then 64 sizes at once: all came"


async def end_with_echo_queued(step: Step, size_bytes: int) -> None:
    """Some of many sizes overflow the kernel's send buffer a little: then the server meets the end
    of input while it holds output that does not fit, but not so much that it stopped reading."""
    with await step.target.connect(receive_buffer_bytes=8 * KIB, segment_bytes=1400) as sock:
        taken = await push_until_blocked(sock, step.data[:size_bytes], quiet_seconds=0.1)
        sock.shutdown(socket.SHUT_WR)
        did = f"sent {taken:,} bytes, shutdown(SHUT_WR), waited 0.1 s, then read to the end"
        await asyncio.sleep(0.1)
        await read_back(sock, step.target.compare(step.data[:taken], did), until_eof=True)


async def reset(step: Step) -> str:
    """connections torn down with RST, in the middle of everything"""
    loop, target = asyncio.get_running_loop(), step.target
    witness = await target.open_streams()
    ways = ("right after connecting", "with echo unread", "while reading echo", "after half-close")
    try:
        for count in range(step.scale.resets):
            way = ways[count % len(ways)]
            step.doing = f"reset a connection (SO_LINGER 0) {way}"
            step.progress = f"{count} of {step.scale.resets}"
            sock = await target.connect(SMALL_RECEIVE_BUFFER_BYTES)
            try:
                if way == "with echo unread":
                    await push_until_blocked(sock, step.data[: 8 * MIB], quiet_seconds=0.03)
                elif way == "while reading echo":
                    echo = target.compare(step.data[: 256 * KIB], step.doing)
                    await together(loop.sock_sendall(sock, step.data[: 256 * KIB]),
                                   read_back(sock, echo, chunk_bytes=8 * KIB,
                                             enough_bytes=64 * KIB))
                elif way == "after half-close":
                    await loop.sock_sendall(sock, step.data[: 64 * KIB])
                    sock.shutdown(socket.SHUT_WR)
            finally:
                close_with_reset(sock)
            did = step.doing + ", then asked on another connection"
            await target.exchange(witness, step.data[: 4 * KIB], did)
    finally:
        witness[1].close()
    return f"{step.scale.resets} resets, 4 kinds; a neighbour was answered after each"


async def stalled_reader(step: Step) -> str:
    """a client that never reads: the server must stop reading it, and serve the others"""
    server, target = step.server, step.target
    before = server.memory_bytes()
    with await target.connect(SMALL_RECEIVE_BUFFER_BYTES) as sock:
        offered = f"{STALL_OFFERED_BYTES // MIB} MiB"
        step.doing = step.progress = f"offered up to {offered} on a socket that is never read"
        offer = step.data[:STALL_OFFERED_BYTES]
        taken = await push_until_blocked(sock, offer, quiet_seconds=0.3)
        grown = server.memory_bytes() - before
        if taken > STALL_ACCEPTED_LIMIT_BYTES:
            raise Failed(step.doing, "the server to stop reading before "
                         f"{STALL_ACCEPTED_LIMIT_BYTES // MIB} MiB (kernel buffers included)",
                         f"{taken / MIB:.1f} MiB accepted, RSS {grown / MIB:+.1f} MiB")
        if grown > STALL_MEMORY_LIMIT_BYTES:
            raise Failed(step.doing,
                         f"RSS to grow by at most {STALL_MEMORY_LIMIT_BYTES // MIB} MiB",
                         f"{grown / MIB:+.1f} MiB for {taken / MIB:.1f} MiB accepted")

        waits = await ask_meanwhile(step)
        step.doing = f"read {taken:,} bytes back after the stall"
        step.progress = "reading it all back"
        await read_back(sock, target.compare(offer[:taken], step.doing))
        step.doing = "sent and read 1 MiB more on the connection that had stalled"
        await there_and_back(sock, step.data[:MIB], target.compare(step.data[:MIB], step.doing))
    step.figures["stalled peer holds"] = f"{taken / MIB:.1f} MiB"
    return (f"took {taken / MIB:.1f} MiB, then none; RSS {grown / MIB:+.1f} MiB; "
            f"others' p99 {percentile(waits, 99) * 1e6:,.0f} us")


async def ask_meanwhile(step: Step) -> list[float]:
    """Other clients, while one connection is stalled."""
    step.doing = "asked on 5 other connections while one was stalled"
    waits = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(5):
                streams = await step.target.open_streams()
                for _ in range(20):
                    message = step.data[: 4 * KIB]
                    waits.append(await step.target.exchange(streams, message, step.doing))
                streams[1].close()
    except TimeoutError:
        raise Failed(step.doing, f"100 replies within {PATIENCE_SECONDS} s",
                     f"{len(waits)} replies") from None
    return waits


async def there_and_back(sock: socket.socket, data: bytes, echo: Comparer) -> None:
    loop = asyncio.get_running_loop()
    await together(loop.sock_sendall(sock, data), read_back(sock, echo))


async def tiny_writes(step: Step) -> str:
    """one byte at a time, then random splits, with Nagle's algorithm off"""
    count, chance, loop = step.scale.tiny_writes, random.Random(6), asyncio.get_running_loop()
    sizes = [1] * count + [chance.randint(1, 40) for _ in range(count)]
    sent = step.data[: sum(sizes)]
    step.doing = f"sent {len(sent):,} bytes in {len(sizes):,} writes of 1 to 40 bytes"
    echo = step.target.compare(sent, step.doing)

    async def send(sock: socket.socket) -> None:
        at = 0
        for number, size in enumerate(sizes):
            await loop.sock_sendall(sock, sent[at : at + size])
            at += size
            if chance.random() < 0.3:  # let the reader in, at random places
                await asyncio.sleep(0)
            step.progress = f"{number:,} of {len(sizes):,} writes"

    async def receive(sock: socket.socket) -> None:
        while not echo.is_complete:
            await read_once(sock, echo, chance.choice((1, 3, 50, 4096)))

    with await step.target.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await together(send(sock), receive(sock))
    return f"{len(sizes):,} writes of 1 to 40 bytes, {len(sent):,} bytes, all equal"


async def read_once(sock: socket.socket, echo: Comparer, most_bytes: int) -> None:
    chunk = await asyncio.get_running_loop().sock_recv(sock, most_bytes)
    echo.feed(chunk) if chunk else echo.end_of_stream()


async def churn(step: Step) -> str:
    """connect and close, over and over; descriptors must return to where they were"""
    total, server = step.scale.churn, step.server
    before = server.fd_count()
    step.doing = f"connected and closed {total:,} times"
    numbers = iter(range(total))

    async def come_and_go() -> None:
        for number in numbers:
            with await step.target.connect() as sock:
                if number % 4 == 0:
                    message = step.data[:16]
                    await there_and_back(sock, message, step.target.compare(message, step.doing))
                elif number % 4 == 1:
                    sock.send(b"closed without waiting for the reply")
            step.progress = f"{number:,} of {total:,}"

    await together(*(come_and_go() for _ in range(16)))
    await server.is_settled(before)
    after = server.fd_count()
    if after > before:
        raise Failed(step.doing, f"{before} descriptors in /proc/{server.child.process.pid}/fd "
                     f"as before, within {PATIENCE_SECONDS} s", f"{after} descriptors")
    return f"{total:,} times; descriptors {before} before, {after} after"


CHECKS = {"bulk": bulk, "crowd": crowd, "half-close": half_close, "reset": reset,
          "stalled-reader": stalled_reader, "tiny-writes": tiny_writes, "churn": churn}
