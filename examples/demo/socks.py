"""Checks of 27_socks5."""

import asyncio
import ipaddress
import socket
import struct
from pathlib import Path

from peers import echo_through, expect_cut, python_cutter, python_echo, python_http
from tools import ends_in_order, expect, needs, refuses_nonsense, run_tool
from wire import KIB, MIB, Failed

CONNECT, BIND = 1, 2
SUCCEEDED, REFUSED, NO_COMMAND, NO_ADDRESS = 0, 5, 7, 8


async def command_line(step) -> str:
    """--help, and friendly refusals"""
    return await refuses_nonsense(step, str(step.server.binary))


def place(host: str, port: int) -> bytes:
    """A host as SOCKS has it: its kind, its bytes, the port."""
    try:
        address = ipaddress.ip_address(host)
        kind = b"\1" if address.version == 4 else b"\4"
        return kind + address.packed + struct.pack("!H", port)
    except ValueError:
        return b"\3" + bytes([len(host)]) + host.encode() + struct.pack("!H", port)


async def ask(step, where: bytes, command: int = CONNECT):
    """Greets and asks; returns the reply's code and the streams."""
    reader, writer = streams = await step.target.open_streams()
    writer.write(b"\5\2\0\2")  # two methods, one of which is none
    expect(step, await reader.readexactly(2), b"\5\0")
    writer.write(bytes([5, command, 0]) + where)
    head = await reader.readexactly(4)
    expect(step, (head[0], head[2]), (5, 0))
    await reader.readexactly({1: 6, 4: 18}[head[3]])
    return head[1], streams


def has_ipv6() -> bool:
    """Not in every container."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
        return True
    except OSError:
        return False


async def kinds(step) -> str:
    """IPv4, IPv6 and names; data both ways, and half-closes pass through"""
    size = min(step.scale.bulk_bytes, 16 * MIB)
    hosts = ("127.0.0.1", "::1", "localhost") if has_ipv6() else ("127.0.0.1", "localhost")
    for host in hosts:
        async with python_echo(host) as port:
            step.doing = f"connected with {host} through the proxy"
            code, streams = await ask(step, place(host, port))
            expect(step, code, SUCCEEDED)
            step.doing = f"sent {size // MIB} MiB to {host} and back through the proxy"
            await echo_through(step, streams, step.data[:size])
    return f"{', '.join(hosts)}: {size // MIB} MiB there and back each, all equal"


async def refusals(step) -> str:
    """what cannot be had is said with the right code"""
    cases = [("a closed port", place("127.0.0.1", 1), CONNECT, REFUSED),
             ("BIND", place("127.0.0.1", 1), BIND, NO_COMMAND),
             ("an address of no kind", b"\7", CONNECT, NO_ADDRESS)]
    for name, where, command, wanted in cases:
        step.doing = f"asked for {name}"
        code, (reader, writer) = await ask(step, where, command)
        expect(step, code, wanted)
        expect(step, await reader.read(), b"")
        writer.close()
    step.doing = "asked for a name that does not exist"
    code, (_, writer) = await ask(step, place("no-such-name.invalid", 80))
    expect(step, code != SUCCEEDED, True)
    writer.close()
    for name, greeting, wanted in (("SOCKS4", b"\4\1", b""), ("a password", b"\5\1\2", b"\5\xff")):
        step.doing = f"came with {name}"
        reader, writer = await step.target.open_streams()
        writer.write(greeting)
        expect(step, await reader.read(), wanted)
        writer.close()
    return "closed ports, unknown names, BIND, SOCKS4 and passwords"


async def cut_short(step) -> str:
    """a server that resets in the middle of its answer: so does the proxy"""
    async with python_cutter() as port:
        code, streams = await ask(step, place("127.0.0.1", port))
        expect(step, code, SUCCEEDED)
        await expect_cut(step, streams)
    return "half an answer and a reset: that is what came"


async def many(step) -> str:
    """a hundred at once"""
    async with python_echo() as port:
        async def one(number: int) -> None:
            code, streams = await ask(step, place("127.0.0.1", port))
            expect(step, code, SUCCEEDED)
            await echo_through(step, streams, step.data[number : number + 64 * KIB])

        step.doing = "100 connections at once, 64 KiB each"
        await asyncio.gather(*(one(number) for number in range(100)))
    return "100 connections, 64 KiB each way, all equal"


@needs("curl")
async def curl(step) -> str:
    """curl through the proxy: by name, by address, and where nobody listens"""
    folder = Path(__file__).parent
    wanted = (folder / "demo.py").read_text()
    proxy = f"{step.target.host}:{step.target.port}"
    with python_http(folder) as port:
        for option, host in (("--socks5-hostname", "localhost"), ("--socks5", "127.0.0.1")):
            out = await run_tool(step, "curl", "-sS", "--noproxy", "", option, proxy,
                                 f"http://{host}:{port}/demo.py")
            if out != wanted:
                raise Failed(step.doing, "the file", f"{len(out)} of {len(wanted)} characters")
    await run_tool(step, "curl", "-sS", "--noproxy", "", "--socks5", proxy, "http://127.0.0.1:1/",
                   status=97)
    return "a file by name and by address, all equal; a closed port: curl says so"


async def interrupted(step) -> str:
    """Ctrl-C with clients connected"""
    return await ends_in_order(step, str(step.server.binary), "0", hello=b"\5\1\0\5\1",
                               answer=b"\5\0")


CHECKS = {"command-line": command_line, "kinds": kinds, "refusals": refusals,
          "cut-short": cut_short, "many": many, "curl": curl, "interrupted": interrupted}
