"""The other way round: CPython's asyncio serves, ouro's `08_client` asks."""

import asyncio
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path

from child import Child
from wire import CHUNK_BYTES, MIB, Failed, together

VERDICT = re.compile(r"^echoed (\d+) bytes, all equal$", re.MULTILINE)


class PythonEcho:
    """asyncio.start_server with a plain echo loop, able to falsify one byte."""

    def __init__(self, flip_at: int | None = None):
        self.flip_at = flip_at
        self.connection_count = 0
        self.echoed_bytes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        at = 0
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if self.flip_at is not None and at <= self.flip_at < at + len(chunk):
                    chunk = bytearray(chunk)
                    chunk[self.flip_at - at] ^= 1
                at += len(chunk)
                self.echoed_bytes += len(chunk)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass  # the client says what went wrong
        finally:
            writer.close()


class Reverse:
    """Runs `08_client` against CPython; looks like a server to the report."""

    def __init__(self, binary: Path, port: int):
        self.name, self.binary, self.port = binary.name, binary, port
        self.echo = PythonEcho()
        self.children: list[Child] = []

    @property
    def child(self) -> Child | None:
        """The one to quote: the last that failed."""
        failed = [child for child in self.children if child.process.returncode]
        return failed[-1] if failed else None

    async def close(self) -> None:
        for child in self.children:
            await child.close()

    @asynccontextmanager
    async def python_server(self, echo: PythonEcho):
        server = await asyncio.start_server(echo.serve, "127.0.0.1", self.port, limit=MIB)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def run_client(self, step, port: int, mebibytes: int) -> tuple[str, str]:
        """Returns its stdout and how it ended; never leaves it running."""
        step.doing = f"ran {self.binary} 127.0.0.1 {port} {mebibytes}"
        child = await Child.start([str(self.binary), "127.0.0.1", str(port), str(mebibytes)])
        self.children.append(child)
        try:
            output = (await child.process.stdout.read()).decode(errors="replace")
            await child.ended
        except BaseException:
            await child.kill()
            raise
        return output, child.how_it_ended()

    async def run_happy_client(self, step, port: int, mebibytes: int) -> None:
        did = f"ran {self.binary} 127.0.0.1 {port} {mebibytes}"
        output, ending = await self.run_client(step, port, mebibytes)
        verdict = VERDICT.search(output)
        if ending != "exit status 0" or not verdict or int(verdict[1]) != mebibytes * MIB:
            raise Failed(did, f'"echoed {mebibytes * MIB} bytes, all equal" and exit status 0',
                         f'"{output.strip()[-200:]}" and {ending}')

    async def one_large(self, step) -> str:
        """one 08_client sends a large pattern to CPython and compares"""
        mebibytes = step.scale.bulk_bytes // MIB
        step.progress = f"{mebibytes} MiB through CPython"
        began = time.perf_counter()
        async with self.python_server(self.echo) as port:
            await self.run_happy_client(step, port, mebibytes)
        speed = mebibytes * MIB / (time.perf_counter() - began) / 1e6
        return f"{mebibytes} MiB to CPython and back, all equal, {speed:,.0f} MB/s"

    async def several(self, step) -> str:
        """eight 08_clients at once"""
        step.progress = "8 clients"
        before = self.echo.echoed_bytes
        async with self.python_server(self.echo) as port:
            await together(*(self.run_happy_client(step, port, 2) for _ in range(8)))
        served = self.echo.echoed_bytes - before
        if served != 16 * MIB:
            raise Failed("ran 8 clients, 2 MiB each; all were content",
                         f"{16 * MIB:,} bytes counted by CPython", f"{served:,} bytes")
        return f"8 at once, 2 MiB each, {served:,} bytes counted by CPython"

    async def falsified(self, step) -> str:
        """CPython flips one bit: 08_client must notice"""
        at = 700_001
        async with self.python_server(PythonEcho(flip_at=at)) as port:
            output, ending = await self.run_client(step, port, 1)
        if ending != "exit status 1" or VERDICT.search(output):
            raise Failed(f"{step.doing}, the server flipping one bit at offset {at:,}",
                         "exit status 1 and no claim of equality",
                         f'"{output.strip()[-200:]}" and {ending}')
        return "one bit flipped by CPython: noticed, exit status 1"

    @property
    def checks(self) -> dict:
        return {"one-large": self.one_large, "several": self.several, "falsified": self.falsified}
