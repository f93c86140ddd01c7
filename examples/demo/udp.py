"""Checks of 20_udp_echo_server."""

import asyncio
import signal

from tools import Talker, binary_of, expect, needs, run_tool, started
from wire import PATIENCE_SECONDS, Failed

INTERRUPTED = 128 + signal.SIGINT


class Asker(asyncio.DatagramProtocol):
    """CPython's datagrams: what came back, in order."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, _) -> None:
        self.answers.put_nowait(data)


def serving(step):
    return started(step, str(step.server.binary), "0", endings=(0, INTERRUPTED))


async def sizes(step) -> str:
    """CPython's datagrams, from none to the largest; each comes back as it was"""
    async with serving(step) as place:
        host, port = place.split(":")
        loop = asyncio.get_running_loop()
        link, asker = await loop.create_datagram_endpoint(Asker, remote_addr=(host, int(port)))
        total = 0
        for size in [*range(1, 200), 1400, 1472, 9000, 32768, 65507] * 2:
            step.doing = f"sent a datagram of {size:,} bytes"
            link.sendto(step.data[total : total + size])
            try:
                got = await asyncio.wait_for(asker.answers.get(), PATIENCE_SECONDS)
            except TimeoutError:
                raise Failed(step.doing, "the same back", "nothing") from None
            if got != step.data[total : total + size]:
                raise Failed(step.doing, "the same back", f"{len(got):,} bytes, not the same")
            total += size
        link.close()
    return "408 datagrams of 1 to 65,507 bytes, all equal"


@needs("socat", "nc")
async def socat_and_nc(step) -> str:
    """socat and nc -u"""
    async with serving(step) as place:
        for name, *argv in (("socat", "-", f"UDP:{place}"), ("nc", "-u", *place.split(":"))):
            async with Talker.start(step, name, *argv) as talker:
                talker.say(f"over {name}")
                await talker.hear(f"over {name}")
    return "a line each, and the same back"


async def client(step) -> str:
    """ouro's own client"""
    async with serving(step) as place:
        out = await run_tool(step, binary_of(step, "21_udp_echo_client"), place.split(":")[1])
    expect(step, "Received: Hello World!" in out, True)
    return "Hello World! and back"


CHECKS = {"sizes": sizes, "socat-nc": socat_and_nc, "client": client}
