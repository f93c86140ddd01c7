"""Checks of the proxy that copies nothing."""

import asyncio
import signal
from pathlib import Path

from peers import echo_through, python_echo, python_http
from tools import expect, needs, run_tool, started
from wire import KIB, MIB

INTERRUPTED = 128 + signal.SIGINT


def proxy_to(step, port: int):
    return started(step, str(step.server.binary), "0", f"127.0.0.1:{port}",
                   endings=(0, INTERRUPTED))


async def connect(place: str):
    host, port = place.split(":")
    return await asyncio.open_connection(host, int(port), limit=MIB)


async def bulk(step) -> str:
    """a large transfer both ways; half-closes pass through"""
    size = min(step.scale.bulk_bytes, 64 * MIB)
    async with python_echo() as port, proxy_to(step, port) as place:
        step.doing = f"sent {size // MIB} MiB through the proxy and back"
        await echo_through(step, await connect(place), step.data[:size])
    return f"{size // MIB} MiB there and back, all equal"


async def many(step) -> str:
    """a hundred at once"""
    async with python_echo() as port, proxy_to(step, port) as place:
        step.doing = "100 connections at once, 64 KiB each"

        async def one(number: int) -> None:
            await echo_through(step, await connect(place), step.data[number : number + 64 * KIB])

        await asyncio.gather(*(one(number) for number in range(100)))
    return "100 connections, 64 KiB each way, all equal"


@needs("curl")
async def curl(step) -> str:
    """curl to a web server behind the proxy"""
    folder = Path(__file__).parent
    with python_http(folder) as port:
        async with proxy_to(step, port) as place:
            for _ in range(20):
                out = await run_tool(step, "curl", "-sS", f"http://{place}/demo.py")
                expect(step, out, (folder / "demo.py").read_text())
    return "20 files, all equal"


CHECKS = {"bulk": bulk, "many": many, "curl": curl}
