"""The figures that are counted, not timed: system calls, instructions, allocations, idle bytes.

Each per-request figure is the difference of two runs with N and 3N requests, divided by 2N: what
start-up, accepting and closing cost cancels out. The load runs in lockstep (all connections send,
then all are awaited), so that two runs batch alike.
"""

import re
import shutil
import tempfile
from pathlib import Path

from processes import Failure, RunningServer, run_load

IDLE_CONNECTIONS = 4000


def _requests(bin_dir, server, connections, requests):
    return run_load(bin_dir, server,
                    ["--connections", str(connections), "--requests", str(requests),
                     "--warmup", "0", "--lockstep"], with_pid=False)


def _per_request(count_in_run, small):
    """`count_in_run(requests)` for N and 3N requests, as a figure per request."""
    few, many = count_in_run(small), count_in_run(3 * small)
    return round((many - few) / (2 * small), 4)


def syscalls(bin_dir, server, connections, requests):
    """System calls per request, and which: from `strace -c -f` around the server."""
    if shutil.which("strace") is None:
        raise Failure("strace is not installed")
    calls_of = {}

    def count(total):
        with tempfile.NamedTemporaryFile("r", prefix="ouro_strace_") as summary:
            wrapper = ["strace", "-f", "-c", "-U", "name,calls", "-o", summary.name]
            with RunningServer(bin_dir, server, wrapper=wrapper) as running:
                _requests(bin_dir, running, connections, total)
                running.stop()
            rows = re.findall(r"^\s*(\w+)\s+(\d+)\s*$", summary.read(), re.MULTILINE)
        calls = {name: int(number) for name, number in rows if name != "total"}
        calls_of[total] = calls
        return sum(calls.values())

    each = _per_request(count, requests)
    few, many = calls_of[requests], calls_of[3 * requests]
    by_name = {name: round((many[name] - few.get(name, 0)) / (2 * requests), 3) for name in many}
    return each, {name: number for name, number in by_name.items() if number >= 0.005}


def user_instructions(bin_dir, server, connections, requests):
    """Instructions executed in user space per request: from valgrind's callgrind."""
    if shutil.which("valgrind") is None:
        raise Failure("valgrind is not installed")

    def count(total):
        with tempfile.TemporaryDirectory(prefix="ouro_callgrind_") as folder:
            wrapper = ["valgrind", "--tool=callgrind",
                       f"--callgrind-out-file={Path(folder) / 'out'}"]
            with RunningServer(bin_dir, server, wrapper=wrapper) as running:
                _requests(bin_dir, running, connections, total)
                said = running.stop()
        found = re.search(r"Collected : (\d+)", said)
        if found is None:
            raise Failure("valgrind gave no count: " + said.strip()[-200:])
        return int(found.group(1))

    return _per_request(count, requests)


def allocations(bin_dir, server, connections, requests):
    """Calls of malloc and its family per request: from the preloaded alloc_count.so."""
    library = bin_dir / "alloc_count.so"
    if not library.exists():
        raise Failure("alloc_count.so is not built")

    def count(total):
        with RunningServer(bin_dir, server, environment={"LD_PRELOAD": str(library)}) as running:
            _requests(bin_dir, running, connections, total)
            said = running.stop()
        found = re.search(r"allocations (\d+) frees (\d+)", said)
        if found is None:
            raise Failure("no count from alloc_count.so: " + said.strip()[-200:])
        return int(found.group(1))

    return _per_request(count, requests)


def idle_bytes(bin_dir, server, connections):
    """User memory per idle connection: growth of the server's anonymous memory (see echo_load)."""
    with RunningServer(bin_dir, server) as running:
        found = run_load(bin_dir, running,
                         ["--mode", "idle", "--connections", str(connections)])
    return found["private_bytes_each"]


FIGURES = {
    "syscalls_1": "system calls per request, 1 connection",
    "syscalls_64": "system calls per request, 64 connections",
    "user_instructions": "user instructions per request, 32 connections",
    "allocations": "heap allocations per request, 64 connections",
    "idle_bytes": "user bytes per idle connection",
}


def measure(bin_dir, server, quick):
    """All figures of one server: {figure: number or 'n/a: reason'}, plus which system calls."""
    n = 640 if quick else 6400
    idle = 1000 if quick else IDLE_CONNECTIONS
    found = {}

    def attempt(name, run):
        try:
            found[name] = run()
        except Failure as failure:
            found[name] = f"n/a: {failure}"

    def traced(name, connections, requests):
        figure = syscalls(bin_dir, server, connections, requests)
        found[f"{name}_which"] = figure[1]
        return figure[0]

    attempt("syscalls_1", lambda: traced("syscalls_1", 1, n // 4))
    attempt("syscalls_64", lambda: traced("syscalls_64", 64, n))
    attempt("user_instructions", lambda: user_instructions(bin_dir, server, 32, n))
    attempt("allocations", lambda: allocations(bin_dir, server, 64, n))
    attempt("idle_bytes", lambda: idle_bytes(bin_dir, server, idle))
    return found
