"""Clients of others as processes: run to their end, or talked to line by line."""

import asyncio
import re
import shlex
import shutil
import signal
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from child import Child
from wire import PATIENCE_SECONDS, Failed



def needs(*tools: str):
    """Marks a check that cannot run without these programs."""
    def mark(check):
        check.needs = tools
        return check
    return mark


def missing_tools(check) -> list[str]:
    return [tool for tool in getattr(check, "needs", ()) if not shutil.which(tool)]


async def run_tool(step, *argv: str, send: bytes = b"", status: int = 0) -> str:
    """Runs a client to its end, which must be in time and with this exit status. Returns what it
    printed."""
    step.doing = f"ran `{shlex.join(argv)}`"
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    try:
        out, errors = await asyncio.wait_for(process.communicate(send), PATIENCE_SECONDS)
    except TimeoutError:
        raise Failed(step.doing, f"an end within {PATIENCE_SECONDS} s", "still running") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode != status:
        said = errors.decode(errors="replace").strip()[-200:]
        raise Failed(step.doing, f"exit status {status}", f"{process.returncode}; {said}")
    return out.decode(errors="replace")


def expect(step, got, wanted) -> None:
    """The one comparison of most checks."""
    if got != wanted:
        raise Failed(step.doing, repr(wanted)[:300], repr(got)[:300])


class Talker:
    """A program like nc that sends what is said to it and prints what it hears."""

    def __init__(self, step, process):
        self.step, self.process = step, process

    @classmethod
    @asynccontextmanager
    async def start(cls, step, *argv: str):
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL)
        try:
            yield cls(step, process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def say(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")

    async def hear(self, wanted: str) -> None:
        """Reads lines until one is the wanted one."""
        await hear(self.step, self.process.stdout, wanted)


async def hear(step, reader: asyncio.StreamReader, wanted: str) -> list[str]:
    """Reads lines until one is the wanted one; returns those before."""
    before: list[str] = []
    step.doing = f'waited for the line "{wanted}"'
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := (await reader.readline()).decode(errors="replace").rstrip("\r\n"):
                if line == wanted:
                    return before
                before.append(line)
            got = "the end"
    except TimeoutError:
        got = "nothing more"
    raise Failed(step.doing, "this line", f"{got}, after {before[-5:]}")


def folder_for_sockets():
    """A new folder with a short name: paths of unix sockets have at most 107 bytes."""
    return tempfile.TemporaryDirectory(prefix="ouro_", dir="/tmp")


def binary_of(step, name: str) -> str:
    """An example beside the one under test."""
    return str(step.server.folder / name)


@asynccontextmanager
async def started(step, *argv: str, endings: tuple[int, ...] = (0,)):
    """A further program for one check: yields the place it says it listens on; ends it with SIGINT
    and demands that it ends in order, with one of these exit statuses."""
    child = await Child.start(list(argv))
    step.doing = f"started {shlex.join([Path(argv[0]).name, *argv[1:]])}"
    try:
        place = await asyncio.wait_for(listening_place(step, child), PATIENCE_SECONDS)
        rest = asyncio.create_task(child.process.stdout.read())  # or it would wait for a reader
        yield place
        if problem := await child.stop(signal.SIGINT, endings):
            raise Failed(f"{step.doing}; then sent SIGINT", f"exit status {endings[0]}", problem)
        await rest
    except TimeoutError:
        raise Failed(step.doing, "the line that says where it listens", "no line") from None
    finally:
        await child.close()


async def listening_place(step, child: Child) -> str:
    while line := (await child.process.stdout.readline()).decode(errors="replace"):
        if place := re.match(r"^listening on (\S+)$", line):
            return place[1]
    await asyncio.wait({child.ended}, timeout=1)
    raise Failed(step.doing, "listening on ...",
                 f"{child.how_it_ended()}; {' '.join(child.stderr_tail(3))}")


async def ends_in_order(step, *argv: str, hello: bytes, answer: bytes, last: bytes = b"") -> str:
    """SIGINT while clients are connected, one of whom says nothing and one who says `hello` and has
    heard `answer`: both see the end, the latter after `last`; the program ends with 0, and its
    place is free again."""
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(started(step, *argv))
        host, port = place.split(":")
        silent = await asyncio.open_connection(host, int(port))
        polite = await asyncio.open_connection(host, int(port))
        polite[1].write(hello)
        step.doing = f"said {hello!r} and waited for {answer!r}"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await polite[0].readuntil(answer)  # it has seen this one, and the silent one before it
    step.doing = "sent SIGINT with two clients connected"
    await asyncio.wait_for(silent[0].read(), PATIENCE_SECONDS)
    heard = await asyncio.wait_for(polite[0].read(), PATIENCE_SECONDS)
    expect(step, heard[len(heard) - len(last):], last)
    silent[1].close()
    polite[1].close()
    async with started(step, argv[0], place, *argv[2:]):
        return "SIGINT with two clients inside: both saw the end, and the port is free again"


async def refuses_nonsense(step, *argv: str) -> str:
    """--help explains, a wrong command line is refused, and so is a place that cannot be had."""
    binary = argv[0]
    usage = await run_tool(step, binary, "--help")
    if not usage.startswith("usage: "):
        raise Failed(step.doing, "usage: ...", repr(usage[:80]))
    await run_tool(step, binary, "--nonsense", status=2)
    for place in ("nonsense", "999.0.0.1:1", "203.0.113.1:1"):
        await run_tool(step, binary, place, *argv[1:], status=1)
    return "--help explains; wrong options and places are refused with a reason"
