"""Checks of 26_kv."""

import asyncio
import random
import re
import time
from pathlib import Path

from tools import (binary_of, ends_in_order, expect, folder_for_sockets, needs, refuses_nonsense,
                   run_tool, started)
from wire import KIB, MIB, PATIENCE_SECONDS, Failed, push_until_blocked, read_back

RATE = re.compile(r"^(.+?): ([\d.]+) requests per second", re.MULTILINE)


def request(*words: bytes) -> bytes:
    """As programs send it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


async def command_line(step) -> str:
    """--help, and friendly refusals"""
    return await refuses_nonsense(step, str(step.server.binary))


async def pieces(step) -> str:
    """requests in pieces of any size, and many in one piece"""
    reader, writer = await step.target.open_streams()
    value = bytes(range(256)) * 4
    step.doing = "sent a SET and a GET byte by byte"
    for each in request(b"SET", b"key", value) + request(b"GET", b"key"):
        writer.write(bytes([each]))
        await writer.drain()
        if each == 0x0a:
            await asyncio.sleep(0)
    wanted = b"+OK\r\n$1024\r\n" + value + b"\r\n"
    expect(step, await reader.readexactly(len(wanted)), wanted)
    step.doing = "sent 5,000 INCR and as many PING at once"
    writer.write((request(b"INCR", b"n") + b"PING\r\n") * 5000)
    wanted = b"".join(b":%d\r\n+PONG\r\n" % number for number in range(1, 5001))
    expect(step, await reader.readexactly(len(wanted)), wanted)
    step.doing = "sent QUIT"
    writer.write(request(b"QUIT"))
    expect(step, await reader.read(), b"+OK\r\n")
    writer.close()
    return "byte by byte, and 10,000 at once: all answered, in order"


async def large_values(step) -> str:
    """16 MiB in one value, there and back"""
    reader, writer = await step.target.open_streams()
    value = step.data[: 16 * MIB]
    step.doing = "set 16 MiB, then got it"
    writer.write(request(b"SET", b"large", value) + request(b"GET", b"large"))
    head = b"+OK\r\n$%d\r\n" % len(value)
    expect(step, await reader.readexactly(len(head)), head)
    if await reader.readexactly(len(value)) != value:
        raise Failed(step.doing, "the same bytes", "others")
    writer.write(request(b"DEL", b"large"))
    expect(step, await reader.readexactly(6), b"\r\n:1\r\n")
    writer.close()
    return "16 MiB, all equal"


async def expiry(step) -> str:
    """a key that lives for a moment"""
    reader, writer = await step.target.open_streams()
    step.doing = "set a key with PX 1000, asked until it was gone"
    writer.write(request(b"SET", b"brief", b"x", b"PX", b"1000") + request(b"GET", b"brief"))
    expect(step, await reader.readexactly(12), b"+OK\r\n$1\r\nx\r\n")
    asked = 0
    while True:
        writer.write(request(b"EXISTS", b"brief"))
        asked += 1
        if await reader.readexactly(4) == b":0\r\n":
            break
        await asyncio.sleep(0.02)
    writer.close()
    return f"gone after {asked} questions"


async def nonsense(step) -> str:
    """random bytes, cut off anywhere: an error and an end, never a crash"""
    chance, refused = random.Random(7), 0
    seeds = [request(b"SET", b"a", b"b"), request(b"GET", b"a"), b"*3\r\n$3\r\nSE",
             b"*1\r\n$-1\r\n", b"*100000000\r\n", b"$5\r\nhello\r\n",
             b"*1\r\n$999999999999999999999\r\n"]
    for number in range(200):
        reader, writer = await step.target.open_streams()
        text = b"".join(chance.choice(seeds) for _ in range(chance.randint(1, 5)))
        text = bytearray(text + chance.randbytes(chance.randint(0, 50)))
        for _ in range(chance.randint(0, 5)):
            text[chance.randrange(len(text))] = chance.randrange(256)
        step.doing, step.progress = f"sent {bytes(text)[:100]!r} and ended", f"{number} of 200"
        writer.write(text)
        writer.write_eof()
        try:
            refused += b"-ERR Protocol error: " in await asyncio.wait_for(reader.read(),
                                                                         PATIENCE_SECONDS)
        except ConnectionResetError:  # it did not read what came after the nonsense
            refused += 1
        writer.close()
    if refused == 0:
        raise Failed("sent 200 kinds of nonsense", "some of it to be refused", "none was")
    return f"200 connections, {refused} refused, the others answered"


async def stalled_reader(step) -> str:
    """a client that asks for much and reads nothing: bounded memory, and others are served"""
    server, target = step.server, step.target
    reader, writer = await target.open_streams()
    value = step.data[: 64 * KIB]
    writer.write(request(b"SET", b"value", value))
    expect(step, await reader.readexactly(5), b"+OK\r\n")
    before = server.memory_bytes()
    questions = request(b"GET", b"value") * 1000
    with await target.connect(receive_buffer_bytes=64 * KIB) as sock:
        step.doing = "asked 1,000 times for 64 KiB without reading"
        expect(step, await push_until_blocked(sock, questions, quiet_seconds=0.3), len(questions))
        grown = server.memory_bytes() - before
        if grown > 8 * MIB:
            raise Failed(step.doing, "RSS to grow by at most 8 MiB", f"{grown / MIB:+.1f} MiB")
        writer.write(request(b"PING"))
        expect(step, await asyncio.wait_for(reader.readexactly(7), PATIENCE_SECONDS), b"+PONG\r\n")
        writer.close()
        step.doing = "then read all 1,000 replies"
        replies = (b"$%d\r\n" % len(value) + value + b"\r\n") * 1000
        await read_back(sock, target.compare(replies, step.doing))
    return f"RSS {grown / MIB:+.1f} MiB while 62.5 MiB were owed; then all of it came"


@needs("redis-cli")
async def redis_cli(step) -> str:
    """redis-cli over TCP, and over a unix socket"""
    cli = ("redis-cli", "-h", step.target.host, "-p", str(step.target.port))
    count = await conversation(step, cli)
    with folder_for_sockets() as folder:
        path = str(Path(folder) / "kv.sock")
        async with started(step, binary_of(step, "26_kv/26_kv"), f"unix:{path}") as place:
            expect(step, place, f"unix:{path}")
            count += await conversation(step, ("redis-cli", "-s", path))
    return f"{count} commands, half of them over a unix socket"


async def conversation(step, cli: tuple[str, ...]) -> int:
    dialogue = [("flushall", "OK"), ("set greeting hello", "OK"), ("get greeting", "hello"),
                ("exists greeting nobody", "1"), ("incr n", "1"), ("incr n", "2"),
                ("mset a 1 b 2", "OK"), ("mget a b c", "1\n2\n"), ("expire n 100", "1"),
                ("ttl b", "-1"), ("del a b", "2"), ("ping", "PONG"),
                ("echo hi", "hi"), ("config get appendonly", "appendonly\nno"),
                ("nonsense", "ERR unknown command 'nonsense'")]
    for words, wanted in dialogue:
        expect(step, (await run_tool(step, *cli, *words.split())).rstrip("\n"),
               wanted.rstrip("\n"))
    left = await run_tool(step, *cli, "ttl", "n")
    if not 100 - PATIENCE_SECONDS <= int(left) <= 100:
        raise Failed(step.doing, "100, less what it took to ask", left)
    # Of the clients before this one the last may have gone a moment ago.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "connected_clients:1\r" not in (info := await run_tool(step, *cli, "info")):
        if time.monotonic() > deadline:
            raise Failed(step.doing, "connected_clients:1", repr(info[:300]))
    # From a file redis-cli sends all lines on one connection.
    lines = "".join(f"set key{number} {number}\n" for number in range(1000)).encode()
    out = await run_tool(step, *cli, send=lines)
    expect(step, out.split(), ["OK"] * 1000)
    return len(dialogue) + 1001


@needs("redis-benchmark")
async def redis_benchmark(step) -> str:
    """redis-benchmark, plain and with 16 requests at a time"""
    quick = step.scale.churn < 1000
    rates = {}
    for pipeline, count in ((1, 2000 if quick else 50000), (16, 20000 if quick else 1000000)):
        out = await run_tool(
            step, "redis-benchmark", "-h", step.target.host, "-p", str(step.target.port), "-q",
            "-n", str(count), "-P", str(pipeline), "-t", "ping,set,get,incr,mset")
        found = RATE.findall(out.replace("\r", "\n"))
        if len(found) != 6:
            raise Failed(step.doing, "six lines with requests per second", repr(out[-300:]))
        rates[pipeline] = {name: float(rate) for name, rate in found}
        step.notes.append(f"{pipeline:2} at a time  " + ", ".join(
            f"{name.split()[0]} {rate / 1e3:,.0f}k/s" for name, rate in rates[pipeline].items()))
    return "all kinds answered; requests per second:"


@needs("nc")
async def plain_text(step) -> str:
    """nc: requests as people type them"""
    out = await run_tool(step, "nc", step.target.host, str(step.target.port),
                         send=b"PING\r\nset x  5\nget x\n\nQUIT\n")
    expect(step, out, "+PONG\r\n+OK\r\n$1\r\n5\r\n+OK\r\n")
    return "four lines typed, four answers"


async def interrupted(step) -> str:
    """Ctrl-C with clients connected"""
    return await ends_in_order(step, str(step.server.binary), "0",
                               hello=b"PING\r\n*2\r\n$3\r\nGE", answer=b"+PONG\r\n")


# The stalled reader comes before what leaves the allocator with memory to spare.
CHECKS = {"command-line": command_line, "pieces": pieces, "stalled-reader": stalled_reader,
          "large-values": large_values, "expiry": expiry, "nonsense": nonsense,
          "redis-cli": redis_cli, "redis-bench": redis_benchmark, "plain-text": plain_text,
          "interrupted": interrupted}
