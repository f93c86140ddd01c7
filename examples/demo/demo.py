#!/usr/bin/env python3
"""Drives ouro's example servers with clients nobody of ouro wrote, and says what happened.

First the echo servers, with CPython's asyncio streams and the `socket` module. Then the other way
round: CPython serves, ouro's 08_client asks. Then services, with the programs people use for such:
nc, socat, curl, redis-cli, redis-benchmark. Everything stays on this machine, every step has a time
limit, and no server outlives the demo.
"""

import argparse
import asyncio
import os
import platform
import resource
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.dont_write_bytecode = True  # leaves the source tree as it was

from checks import CHECKS, FULL, QUICK, STEP_SECONDS, Scale, Step
from child import STOPPED, Server
from report import Outcome, Report
from reverse import Reverse
from services import SERVICES, ServiceServer
from tools import missing_tools
from wire import MIB, PATIENCE_SECONDS, Failed, test_data

SERVERS = ("02_echo_streams", "03_echo_protocol", "04_echo_buffered")
CLIENT = "08_client"
SEED = 20240229
RESERVED_DESCRIPTORS = 100  # of the limit: for everything but the crowd's connections


def parse(argv: list[str]) -> argparse.Namespace:
    checks = "\n".join(f"  {name:16}{check.__doc__}" for name, check in CHECKS.items())
    reverse = "\n".join(f"  {name:16}{check.__doc__}"
                        for name, check in Reverse(Path(CLIENT), 0).checks.items())
    services = "\n\n".join(
        f"checks of {each.name}:\n" + "\n".join(f"  {name:16}{check.__doc__}"
                                               for name, check in each.checks.items())
        for each in SERVICES)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"checks of {', '.join(SERVERS)}:\n{checks}\n\nchecks of {CLIENT}:\n{reverse}\n\n"
        f"{services}\n\n"
        "exit status: 0 all passed, 1 a check failed, 2 the demo could not begin, 130 interrupted")
    parser.add_argument("--bin", required=True, type=Path, metavar="DIR",
                        help="folder of the built example binaries")
    parser.add_argument("--quick", action="store_true", help="smaller amounts of everything")
    parser.add_argument("--port-base", type=int, default=0, metavar="PORT",
                        help="first of four ports for the echoes; 0 (default) takes free ones")
    parser.add_argument("--only", action="append", metavar="BINARY[/CHECK]",
                        help="part of a binary's name, a check, or both: 03, /reset, 03/reset; "
                        "may be repeated")
    parser.add_argument("--seed", type=int, default=SEED, help="of the data sent (%(default)s)")
    return parser.parse_args(argv)


def is_wanted(only: list[str] | None, binary: str, check: str) -> bool:
    def matches(pattern: str) -> bool:
        name, _, wanted = pattern.partition("/")
        return name in binary and check.startswith(wanted)
    return not only or any(map(matches, only))


def raise_descriptor_limit(needed: int) -> int:
    """Children inherit it. Returns the limit that then holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return needed if soft == resource.RLIM_INFINITY else soft


class Demo:
    """The run: which checks, on what, and what became of them."""

    def __init__(self, options: argparse.Namespace, report: Report):
        self.options, self.report = options, report
        scale = QUICK if options.quick else FULL
        limit = raise_descriptor_limit(4096)
        connections = min(scale.connections, limit - RESERVED_DESCRIPTORS)
        self.scale: Scale = replace(scale, connections=connections)
        self.data = test_data(options.seed, 64 * MIB)
        self.outcomes: list[Outcome] = []
        self.figures: dict[str, dict[str, str]] = {}

    def wanted(self, binary: str, checks: dict) -> dict:
        only = self.options.only
        return {name: check for name, check in checks.items() if is_wanted(only, binary, name)}

    async def run(self) -> None:
        base, folder = self.options.port_base, self.options.bin
        servers = [Server(folder / name, base and base + number)
                   for number, name in enumerate(SERVERS) if self.wanted(name, CHECKS)]
        try:
            for server in servers:
                await self.start(server)
            for server in servers:
                await self.drive(server)
        finally:
            for server in servers:
                if server.child:
                    await server.child.close()
        reverse = Reverse(folder / CLIENT, base and base + len(SERVERS))
        if checks := self.wanted(CLIENT, reverse.checks):
            self.report.section(CLIENT, "asks, CPython's asyncio.start_server serves")
            try:
                for name, check in checks.items():
                    await self.step(reverse, name, check)
            finally:
                await reverse.close()

        for service in SERVICES:
            if self.wanted(service.name, service.checks):
                await self.drive_service(ServiceServer(service, folder))

    async def drive_service(self, server: ServiceServer) -> None:
        """All checks of one service, then Ctrl-C."""
        service = server.service
        waiting = self.wanted(server.name, service.checks)
        self.report.section(server.name, service.about)
        try:
            if service.is_started:
                await self.start(server)
            is_usable = server.target is not None or not service.is_started
            while waiting and is_usable:
                name = next(iter(waiting))
                is_usable = await self.step(server, name, waiting.pop(name))
            self.skip(server, list(waiting))
            if server.child and server.child.is_alive:
                await self.stop(server, signal.SIGINT, endings=(0,))
        finally:
            if server.child:
                await server.child.close()

    async def start(self, server: Server) -> None:
        try:
            await server.start()
            await server.learn_idle_state()
            self.report.line(f"  {server.name:18}  listening on {server.target.host}:"
                             f"{server.target.port}, pid {server.child.process.pid}")
        except (Failed, OSError) as error:
            if not isinstance(error, Failed):
                error = Failed(f"started {server.binary} and asked it once", "a reply", repr(error))
            self.report.line(f"  {server.name:18}  did not start")
            stderr = server.child.stderr_tail() if server.child else []
            self.outcomes.append(
                Outcome(server.name, "start", "FAIL", failure=error, stderr=stderr))
            server.target = None

    async def drive(self, server: Server) -> None:
        """All checks of one server, then SIGTERM."""
        checks = self.wanted(server.name, CHECKS)
        self.report.section(server.name, "serves, CPython's asyncio streams and sockets ask")
        figures = self.figures[server.name] = {}
        is_usable, waiting = server.target is not None, dict(checks)
        while waiting and is_usable:
            name = next(iter(waiting))
            figures["RSS now / peak"] = memory(server)
            is_usable = await self.step(server, name, waiting.pop(name), figures)
        self.skip(server, list(waiting))
        if server.target:
            figures["connections"] = f"{server.target.connection_count:,}"
            figures["bytes echoed"] = f"{server.target.echoed_bytes / MIB:,.1f} MiB"
        if server.child and server.child.is_alive:
            figures["RSS now / peak"] = memory(server)
        if is_usable or (server.target and server.child.is_alive):
            await self.stop(server)

    def skip(self, server: Server, names: list[str]) -> None:
        if names:
            self.outcomes += [Outcome(server.name, name, "skip") for name in names]
            self.report.outcome(Outcome(server.name, "the rest", "skip",
                                        detail=f"not run: {', '.join(names)}"))

    async def step(self, server, name: str, check, figures: dict | None = None) -> bool:
        """Runs one check in its time limit. False: no use asking this server more."""
        if missing := missing_tools(check):
            self.record(Outcome(server.name, name, "skip",
                                detail=f"not installed: {', '.join(missing)}"))
            return True
        step = Step(server, self.data, self.scale)
        began = time.monotonic()
        work = asyncio.create_task(check(step))
        ticker = asyncio.create_task(self.tick(name, step, began))
        died = {server.child.ended} if is_running(server) else set()
        outcome = Outcome(server.name, name, "ok")
        try:
            await asyncio.wait({work} | died, timeout=STEP_SECONDS,
                               return_when=asyncio.FIRST_COMPLETED)
            is_late = not work.done() and not any(task.done() for task in died)
            outcome.failure = await self.judge(server, step, work)
            if not outcome.failure:
                outcome.detail, outcome.notes = work.result(), step.notes
        finally:
            ticker.cancel()
            work.cancel()
            await asyncio.wait({work})
        outcome.seconds = time.monotonic() - began
        if outcome.failure:
            outcome.status, outcome.detail = "FAIL", outcome.failure.got
            outcome.stderr = server.child.stderr_tail() if server.child else []
        if figures is not None:
            figures.update(step.figures)
        self.record(outcome)
        return not is_late and (not died or server.child.is_alive)

    async def judge(self, server, step: Step, work: asyncio.Task) -> Failed | None:
        """What went wrong, if anything: the server's death explains more than its echo."""
        error = work.exception() if work.done() else None
        leftovers = None
        if is_running(server):
            if error:  # perhaps because the server is dying
                await asyncio.wait({server.child.ended}, timeout=0.2)
            if work.done():
                leftovers = await self.leftovers(server, step)
            if not server.child.is_alive:
                return Failed(step.doing, "the server to go on serving",
                              f"the server ended: {server.child.how_it_ended()}")
        if not work.done():
            return Failed(step.doing, f"an end within {STEP_SECONDS} s",
                          f"still waiting; last seen: {step.progress or 'no progress'}")
        if isinstance(error, OSError):
            return Failed(step.doing, "no error", f"{type(error).__name__}: {error}")
        if error and not isinstance(error, Failed):
            raise error
        return error or leftovers

    async def leftovers(self, server: Server, step: Step) -> Failed | None:
        """All clients are gone after a check: the server must have let go of them too."""
        if await server.is_settled(server.idle_fd_count):
            return None
        fds, sockets = server.idle_fd_count, server.idle_connection_count
        server.take_as_idle()  # so that the next check answers only for itself
        return Failed(f"{step.doing}; closed every connection, waited {PATIENCE_SECONDS} s",
                      f"the server to hold {fds} descriptors and {sockets} connections, as before",
                      f"it holds {server.fd_count()} descriptors, "
                      f"{server.connection_count()} connections")

    async def tick(self, name: str, step: Step, began: float) -> None:
        while True:
            await asyncio.sleep(0.15)
            self.report.progress(name, step.progress or step.doing, began)

    async def stop(self, server: Server, how: signal.Signals = signal.SIGTERM,
                   endings: tuple[int, ...] = STOPPED) -> None:
        began = time.monotonic()
        outcome = Outcome(server.name, "stop", "ok", detail=f"{how.name}: ended")
        problem = await server.child.stop(how, endings)
        outcome.seconds = time.monotonic() - began
        if problem:
            outcome.status, outcome.detail = "FAIL", problem
            outcome.stderr = server.child.stderr_tail()
            wanted = "exit status " + " or ".join(map(str, endings))
            outcome.failure = Failed(f"sent {how.name}, no connection open",
                                     f"{wanted} within {PATIENCE_SECONDS} s", problem)
        self.record(outcome)

    def record(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.report.outcome(outcome)

    def summary(self) -> None:
        """The table of all servers, then every failure in full."""
        columns = list(self.figures)
        rows = {label: [self.figures[name].get(label, "-") for name in columns] for label in (
            "bytes echoed", "connections", "throughput", "p50/p99, one asking",
            "p50/p99, all asking", "stalled peer holds", "RSS now / peak")}
        for label, status in (("checks passed", "ok"), ("errors", "FAIL")):
            rows[label] = [str(sum(o.server == name and o.status == status for o in self.outcomes))
                           for name in columns]
        if columns:
            self.report.table(columns, rows)
            self.report.line("  p50/p99 is request to reply, as one Python process sees it for "
                             "all clients, its own work included")
        for outcome in self.outcomes:
            if outcome.status == "FAIL":
                self.report.failure(outcome, self.again(outcome))

    def again(self, outcome: Outcome) -> str:
        check = outcome.check if outcome.check not in ("start", "stop") else ""
        parts = ["python3", sys.argv[0], "--bin", str(self.options.bin)]
        parts += ["--quick"] if self.options.quick else []
        parts += ["--seed", str(self.options.seed)] if self.options.seed != SEED else []
        return shlex.join([*parts, "--only", f"{outcome.server.split('_')[0]}/{check}"])


def is_running(server) -> bool:
    """A server under test that may die; not a client, and not what its checks start."""
    return isinstance(server, Server) and server.child is not None


def memory(server: Server) -> str:
    now, peak = server.memory_bytes(), server.memory_bytes("VmHWM")
    return f"{now / MIB:.1f} / {peak / MIB:.1f} MiB"


def why_not(options: argparse.Namespace) -> str | None:
    """What keeps the demo from beginning."""
    names = [*((name, name, CHECKS) for name in SERVERS),
             (CLIENT, CLIENT, Reverse(Path(CLIENT), 0).checks),
             *((Path(each.folder) / each.name, each.name, each.checks) for each in SERVICES)]
    needed = [str(path) for path, name, checks in names
              if any(is_wanted(options.only, name, check) for check in checks)]
    if not needed:
        return f"--only {' '.join(options.only)} matches nothing; --help lists binaries and checks"
    missing = [name for name in needed if not os.access(options.bin / name, os.X_OK)]
    if missing:
        return f"{options.bin} holds no program {', '.join(missing)}: build the examples first"
    if (limit := raise_descriptor_limit(4096)) < 2 * RESERVED_DESCRIPTORS:
        return f"{limit} open files are too few: try `ulimit -n 4096`"
    if options.port_base and not 1024 <= options.port_base <= 65532:
        return "--port-base must be 0 or 1024..65532"
    return None


async def run(demo: Demo) -> None:
    """SIGTERM ends the demo as Ctrl-C does: children first."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    await demo.run()


def main(argv: list[str]) -> int:
    # Ignored by what a shell runs in the background, and then by what that starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options, report = parse(argv), Report()
    if problem := why_not(options):
        print(f"demo: {problem}", file=sys.stderr)
        return 2
    began = time.monotonic()
    size = "quick" if options.quick else "full"
    report.line(f"{report.paint('ouro demo', 'bold')}  {size} run, seed {options.seed}, CPython "
                f"{platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores")
    demo = Demo(options, report)
    try:
        asyncio.run(run(demo))
    except (KeyboardInterrupt, asyncio.CancelledError):
        report.line("interrupted; every server was stopped")
        return 130
    demo.summary()
    report.verdict(demo.outcomes, time.monotonic() - began)
    return int(any(outcome.status == "FAIL" for outcome in demo.outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
