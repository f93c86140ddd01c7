"""Checks of 28_forward."""

import asyncio
from contextlib import suppress
from pathlib import Path

from peers import (echo_through, expect_cut, expect_reset, python_cutter, python_echo,
                   python_http)
from tools import (Talker, ends_in_order, expect, folder_for_sockets, needs, refuses_nonsense,
                   run_tool, started)
from wire import MIB, PATIENCE_SECONDS


async def command_line(step) -> str:
    """--help, and friendly refusals"""
    binary = str(step.server.binary)
    await refuses_nonsense(step, binary, "127.0.0.1:1")
    for target in ("nowhere", "host:port", "host:99999", ":80", "/a/path"):
        await run_tool(step, binary, "0", target, status=1)
    await run_tool(step, binary, "0", status=2)
    return "--help explains; wrong places and targets are refused with a reason"


async def connect(place: str):
    host, _, port = place.rpartition(":")
    return await asyncio.open_connection(host, int(port), limit=MIB)


async def there_and_back(step) -> str:
    """data both ways, to an address and to a name; half-closes pass through"""
    size = min(step.scale.bulk_bytes, 16 * MIB)
    async with python_echo() as port:
        for host in ("127.0.0.1", "localhost"):
            async with started(step, str(step.server.binary), "0", f"{host}:{port}") as place:
                step.doing = f"sent {size // MIB} MiB through the forwarder to {host}"
                await echo_through(step, await connect(place), step.data[:size])
    return f"{size // MIB} MiB there and back, all equal"


async def nobody_there(step) -> str:
    """a target that refuses: the client is let go at once, and the forwarder goes on"""
    async with started(step, str(step.server.binary), "0", "127.0.0.1:1") as place:
        for _ in range(3):
            step.doing = "asked for a target where nobody listens"
            try:
                reader, writer = await connect(place)
            except ConnectionResetError:  # it may come as early as here
                continue
            writer.write(b"anybody there?")
            await expect_reset(step, reader)
            writer.close()
    return "three clients reset, without a byte"


async def cut_short(step) -> str:
    """a target that resets in the middle of its answer: so does the forwarder"""
    async with python_cutter() as port:
        async with started(step, str(step.server.binary), "0", f"127.0.0.1:{port}") as place:
            await expect_cut(step, await connect(place))
    return "half an answer and a reset: that is what came"


@needs("curl")
async def curl_unix(step) -> str:
    """curl to a unix socket, forwarded to a web server"""
    folder = Path(__file__).parent
    with folder_for_sockets() as sockets, python_http(folder) as port:
        path = str(Path(sockets) / "web.sock")
        target = f"127.0.0.1:{port}"
        async with started(step, str(step.server.binary), f"unix:{path}", target) as place:
            expect(step, place, f"unix:{path}")
            out = await run_tool(step, "curl", "-sS", "--unix-socket", path,
                                 "http://localhost/demo.py")
            expect(step, out, (folder / "demo.py").read_text())
    return "a file through a unix socket, all equal"


async def listens(step, path: Path) -> None:
    """Waits until somebody does: the file is there a moment before."""
    step.doing = f"connected to {path}, again and again"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                _, writer = await asyncio.open_unix_connection(path)
                return writer.close()
            await asyncio.sleep(0.02)


@needs("socat", "nc")
async def socat_unix(step) -> str:
    """nc to a port, forwarded to a unix socket of socat"""
    with folder_for_sockets() as sockets:
        path = Path(sockets) / "cat.sock"
        async with Talker.start(step, "socat", f"UNIX-LISTEN:{path},fork", "EXEC:cat"):
            await listens(step, path)
            async with started(step, str(step.server.binary), "0", f"unix:{path}") as place:
                out = await run_tool(step, "nc", "-N", *place.split(":"), send=b"to the cat\n")
                expect(step, out, "to the cat\n")
    return "nc's line came back from cat"


async def interrupted(step) -> str:
    """Ctrl-C with clients connected"""
    async with python_echo() as port:
        return await ends_in_order(step, str(step.server.binary), "0", f"127.0.0.1:{port}",
                                   hello=b"hello", answer=b"hello")


CHECKS = {"command-line": command_line, "there-and-back": there_and_back,
          "nobody-there": nobody_there, "cut-short": cut_short, "curl-unix": curl_unix,
          "socat-unix": socat_unix, "interrupted": interrupted}
