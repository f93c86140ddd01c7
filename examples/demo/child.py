"""The programs under test as child processes, and what /proc tells about them."""

import asyncio
import os
import re
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from wire import PATIENCE_SECONDS, Failed, Target

STOPPED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)  # how a server may end that is terminated
LISTENING = re.compile(r"^listening on (127\.0\.0\.1):(\d+)$")


class Child:
    """One process. Its stderr goes to a file, so it can neither block nor get lost."""

    def __init__(self, argv: list[str], process, stderr):
        self.argv, self.process, self.stderr = argv, process, stderr
        self.ended = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, argv: list[str]) -> "Child":
        stderr = tempfile.TemporaryFile()
        # Own session: Ctrl-C reaches only the demo, which then stops its children in order.
        process = await asyncio.create_subprocess_exec(
            *dies_with_parent(), *argv, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=stderr, start_new_session=True)
        return cls(argv, process, stderr)

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    def how_it_ended(self) -> str:
        code = self.process.returncode
        if code is None:
            return "still running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def stderr_tail(self, line_count: int = 15) -> list[str]:
        self.stderr.flush()
        size = os.fstat(self.stderr.fileno()).st_size
        text = os.pread(self.stderr.fileno(), 16384, max(0, size - 16384))
        return text.decode(errors="replace").splitlines()[-line_count:]

    async def stop(self, with_signal: int = signal.SIGTERM,
                   endings: tuple[int, ...] = STOPPED) -> str | None:
        """A signal, then SIGKILL for the deaf. Returns what was wrong, if anything."""
        if not self.is_alive:
            return f"it had ended before: {self.how_it_ended()}"
        try:
            self.process.send_signal(with_signal)
            await asyncio.wait_for(asyncio.shield(self.ended), PATIENCE_SECONDS)
        except TimeoutError:
            await self.kill()
            return f"still running {PATIENCE_SECONDS} s later; killed"
        if self.process.returncode not in endings:
            return self.how_it_ended()
        return None

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.ended

    async def close(self) -> None:
        await self.kill()
        self.stderr.close()


def dies_with_parent() -> list[str]:
    """With setpriv (util-linux) even a SIGKILLed demo leaves no server behind."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


class Server:
    """A server under test: started, found, watched, stopped."""

    def __init__(self, binary: Path, port: int, arguments: tuple[str, ...] = ()):
        self.name, self.binary, self.port = binary.name, binary, port
        self.arguments = arguments or (str(port),)
        self.child: Child | None = None
        self.target: Target | None = None
        self.idle_fd_count = 0
        self.idle_connection_count = 0

    async def start(self) -> None:
        did = f"started {self.binary} {' '.join(self.arguments)}"
        wanted = 'the line "listening on 127.0.0.1:PORT"'
        self.child = await Child.start([str(self.binary), *self.arguments])
        try:
            line = await asyncio.wait_for(self.child.process.stdout.readline(),
                                          PATIENCE_SECONDS)
        except TimeoutError:
            raise Failed(did, wanted, f"no line within {PATIENCE_SECONDS} s") from None
        text = line.decode(errors="replace").rstrip("\n")
        if not line:
            await asyncio.wait({self.child.ended}, timeout=1)
            raise Failed(did, wanted, f"end of its output; {self.child.how_it_ended()}")
        match = LISTENING.match(text)
        if not match or (self.port and int(match[2]) != self.port):
            raise Failed(did, wanted, f'"{text[:70]}"')
        self.target = Target(match[1], int(match[2]))
        self.drain = asyncio.create_task(self.child.process.stdout.read())

    async def learn_idle_state(self) -> None:
        """One served client first, so that descriptors opened on first use are counted."""
        streams = await self.target.open_streams()
        await self.target.exchange(streams, b"hello", "sent 5 bytes to the fresh server")
        streams[1].close()
        await self.is_settled(fd_count=1 << 20)
        self.take_as_idle()

    def take_as_idle(self) -> None:
        """What is held now is where later checks must return to."""
        self.idle_fd_count, self.idle_connection_count = self.fd_count(), self.connection_count()

    async def is_settled(self, fd_count: int) -> bool:
        """Whether the server soon holds no more than that; closing takes it a moment."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.connection_count() > self.idle_connection_count or self.fd_count() > fd_count:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True

    def fd_count(self) -> int:
        try:
            return len(os.listdir(f"/proc/{self.child.process.pid}/fd"))
        except OSError:
            return 0  # it died; whoever watches the process says so

    def connection_count(self) -> int:
        """Sockets the server still owns, also those that io_uring keeps outside the fd table."""
        local, count = f"0100007F:{self.target.port:04X}", 0
        with open("/proc/net/tcp") as table:
            for row in table:
                if local not in row:
                    continue
                field = row.split()
                is_listener, is_owned = field[3] == "0A", field[9] != "0"
                count += field[1] == local and is_owned and not is_listener
        return count

    def memory_bytes(self, which: str = "VmRSS") -> int:
        """VmRSS is now, VmHWM the highest so far; 0 if it died."""
        try:
            status = Path(f"/proc/{self.child.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(rf"^{which}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
