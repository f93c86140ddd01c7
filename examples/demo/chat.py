"""Checks of 25_chat."""

import asyncio
import socket
import time

from tools import Talker, ends_in_order, expect, hear, needs, refuses_nonsense
from wire import KIB, MIB, PATIENCE_SECONDS, Failed, push_until_blocked

SLOTH_LIMIT_BYTES = 32 * MIB  # the kernel's buffers take a few
FLOOD_LINE = b"x" * 999 + b"\n"


async def command_line(step) -> str:
    """--help, and friendly refusals"""
    return await refuses_nonsense(step, str(step.server.binary))


async def join(step, name: str, limit: int = 4 * MIB):
    """Enters the room with Python's streams."""
    reader, writer = await asyncio.open_connection(step.target.host, step.target.port, limit=limit)
    step.target.connection_count += 1
    await hear(step, reader, "* your name?")
    writer.write(name.encode() + b"\n")
    await hear(step, reader, f"* welcome, {name}")
    return reader, writer


async def talk(step) -> str:
    """names, lines, commands and good-byes, with Python's streams"""
    ann, to_ann = await join(step, "ann")
    bob, to_bob = await join(step, "bob")
    await hear(step, ann, "* bob is here")
    to_ann.write(b"hello\r\n")
    await hear(step, bob, "ann: hello")
    to_bob.write(b"/nick ann\n")
    await hear(step, bob, "* that name is taken")
    to_bob.write(b"/nick rob\n")
    await hear(step, ann, "* bob is rob")
    to_bob.write(b"\x1b[2J\x07bell\n" + b"y" * 5000 + b"\nstill here\n")
    before = await hear(step, ann, "rob: still here")
    expect(step, before, ["rob: [2Jbell"])
    await hear(step, bob, "* that line was too long")
    to_bob.write(b"/who\n/quit\n")
    await hear(step, bob, "* ann rob")
    await hear(step, ann, "* rob left")
    to_ann.close()
    to_bob.close()
    return "heard each other; control characters and endless lines got nowhere"


@needs("nc", "socat")
async def nc_and_socat(step) -> str:
    """nc and socat in one room"""
    host, port = step.target.host, str(step.target.port)
    async with (Talker.start(step, "nc", host, port) as ann,
                Talker.start(step, "socat", "-", f"TCP:{host}:{port}") as bob):
        ann.say("ann")
        await ann.hear("* welcome, ann")
        bob.say("bob")
        await ann.hear("* bob is here")
        for number in range(100):
            ann.say(f"line {number}")
            bob.say(f"answer {number}")
        await bob.hear("ann: line 99")
        await ann.hear("bob: answer 99")
    return "200 lines, each heard by the other"


async def slow_reader(step) -> str:
    """somebody stops reading: the others go on, and all are told why the sleeper was dropped"""
    with await step.target.connect(receive_buffer_bytes=16 * KIB) as sloth:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sloth, b"sloth\n")
        ann, to_ann = await join(step, "ann")
        bob, to_bob = await join(step, "bob")
        await hear(step, ann, "* bob is here")
        step.doing = "ann talks, bob listens, sloth does not read"
        sent, waits, dropped = 0, [], False
        until = time.monotonic() + PATIENCE_SECONDS
        while not dropped:
            to_ann.write(FLOOD_LINE * 64)
            began, lines = time.perf_counter(), 0
            while lines < 64:
                line = await bob.readline()
                lines += line.startswith(b"ann: ")
                dropped = dropped or line == b"* sloth was dropped: reads too slowly\n"
            waits.append(time.perf_counter() - began)
            sent += 64 * len(FLOOD_LINE)
            step.progress = f"{sent / MIB:.1f} MiB said"
            if time.monotonic() > until or sent > SLOTH_LIMIT_BYTES:
                raise Failed(step.doing, "sloth to be dropped", f"{sent / MIB:.1f} MiB said")
        last = await tail_of(step, sloth)
    expect(step, last, b"* you were dropped: reads too slowly\n")
    await hear(step, ann, "* sloth was dropped: reads too slowly")
    to_ann.close()
    to_bob.close()
    return (f"dropped after {sent / MIB:.1f} MiB, and told so; 64 KiB reached the other in "
            f"{max(waits) * 1e3:.0f} ms at most")


async def deaf_stranger(step) -> str:
    """who has no name yet, says nonsense and reads nothing, is not read from for ever"""
    with await step.target.connect(receive_buffer_bytes=16 * KIB) as sock:
        step.doing = "offered 64 MiB of lines that are no names, without reading"
        taken = await push_until_blocked(sock, b"!\n" * (32 * MIB), quiet_seconds=0.3)
        if taken > 32 * MIB:
            raise Failed(step.doing, "the server to stop reading before 32 MiB",
                         f"{taken / MIB:.1f} MiB taken")
        ann, to_ann = await join(step, "ann")
        to_ann.write(b"/quit\n")
        await ann.read()
        to_ann.close()
    return f"{taken / MIB:.1f} MiB taken, then none; others come and go"


async def tail_of(step, sock: socket.socket) -> bytes:
    """Reads to the end; returns the last line."""
    step.doing = "sloth reads everything at last"
    loop, last = asyncio.get_running_loop(), b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while chunk := await loop.sock_recv(sock, MIB):
            last = (last + chunk)[-200:]
    return last[last.rfind(b"\n", 0, len(last) - 1) + 1:]


async def interrupted(step) -> str:
    """Ctrl-C with clients connected"""
    return await ends_in_order(step, str(step.server.binary), "0", hello=b"ann\nhello\n",
                               answer=b"* welcome, ann\n",
                               last=b"* the server is going down\n")


CHECKS = {"command-line": command_line, "talk": talk, "nc-socat": nc_and_socat,
          "slow-reader": slow_reader, "deaf-stranger": deaf_stranger,
          "interrupted": interrupted}
