"""Starts servers and load generators, pinned and bounded in time, and stops them again."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SERVER_CPU, LOAD_CPU = 1, 0
START_SECONDS = 120  # valgrind is slow to start, and a busy machine slower


class Failure(Exception):
    """A server or load run that did not do what it should; the text says what."""


def pin_to(cpu):
    """A preexec_fn: two cores or none, because on one core pinning would only add switches."""
    if cpu not in os.sched_getaffinity(0):
        return None
    return lambda: os.sched_setaffinity(0, {cpu})


class RunningServer:
    """A started server. `wrapper` is a command to run it under, `environment` is added to ours."""

    def __init__(self, bin_dir, server, unix=False, bulk=False, wrapper=(), environment=None):
        self.name = server.name
        self._folder = tempfile.TemporaryDirectory(prefix="ouro_bench_")
        socket_path = str(Path(self._folder.name) / "echo.sock")
        address = ["--unix", socket_path] if unix else ["--port", "0"]
        command = [*wrapper, str(bin_dir / server.binary), *server.arguments,
                   *(server.bulk_arguments if bulk else ()), *address]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=pin_to(SERVER_CPU), env={**os.environ, **(environment or {})})
        self._stderr = b""
        try:
            where = self._wait_until_ready()
        except Failure:
            self.stop()
            raise
        self.address = ["--unix", where] if unix else ["--port", where]
        self.pid = self._process.pid

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        descriptor = self._process.stderr.fileno()
        while time.monotonic() < deadline:
            if not select.select([descriptor], [], [], 0.1)[0]:
                continue
            piece = os.read(descriptor, 65536)
            self._stderr += piece
            for line in self._stderr.decode(errors="replace").splitlines(keepends=True):
                if line.startswith("ready ") and line.endswith("\n"):
                    return line.split(maxsplit=1)[1].strip()
            if not piece:
                break
        raise Failure(f"{self.name} did not start: {self._stderr.decode(errors='replace')[-300:]}")

    def server_pid(self):
        """The server itself: under strace it is a child of what was started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(children[0]) if children else self.pid

    def stop(self):
        """Asks the server to end and returns all it wrote to stderr."""
        if self._process.poll() is None:
            try:
                os.kill(self.server_pid(), signal.SIGTERM)
            except (AttributeError, OSError):
                self._process.terminate()
        try:
            rest = self._process.communicate(timeout=START_SECONDS)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            rest = self._process.communicate()[1]
            rest += f"\n{self.name} had to be killed\n".encode()
        self._folder.cleanup()
        return (self._stderr + rest).decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.returncode is None:
            self.stop()


def run_load(bin_dir, server, arguments, timeout=300, with_pid=True):
    """One run of echo_load against a running server; returns its JSON."""
    command = [str(bin_dir / "echo_load"), *server.address, *arguments]
    if with_pid:
        command += ["--pid", str(server.server_pid())]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, preexec_fn=pin_to(LOAD_CPU), check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{server.name}: load did not end within {timeout} s") from None
    if done.returncode != 0:
        raise Failure(f"{server.name}: {done.stderr.strip()[-300:]} {done.stdout.strip()}")
    return json.loads(done.stdout)
