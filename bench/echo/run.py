#!/usr/bin/env python3
"""What does an echo cost with ouro, with raw io_uring or epoll, with Asio and with libuv?

Runs every workload against every server, in turn, in short bursts, and prints medians, minima and
ratios, then the counted figures and the bars. README.md in the folder above explains the method.
"""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
sys.dont_write_bytecode = True

import counted as counting  # noqa: E402
import report  # noqa: E402
from machine import (  # noqa: E402
    describe, heading, keep, options, print_verdicts, progress, selected)
from processes import LOAD_CPU, SERVER_CPU  # noqa: E402
from rounds import BURST_SECONDS, measure_all  # noqa: E402
from workloads import SERVERS, WORKLOADS  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments():
    parser = options(__doc__, "echo", 5)
    parser.add_argument("--bin", type=Path, help="folder of the binaries (default: the newest "
                        "build/*/bench that has echo_load)")
    parser.add_argument("--seconds", type=float, default=1.0,
                        help="measured seconds per round, server and workload; split into bursts")
    parser.add_argument("--quick", action="store_true", help="a smoke run, under 60 s: one burst")
    parser.add_argument("--servers", help="comma-separated: "
                        + ",".join(server.name for server in SERVERS))
    parser.add_argument("--workloads", help="comma-separated, or 'none': "
                        + ",".join(workload.name for workload in WORKLOADS))
    parser.add_argument("--no-counted", action="store_true", help="skip the counted figures")
    return parser.parse_args()


def find_binaries(given):
    if given is not None:
        return given.resolve()
    found = list(ROOT.glob("build/*/bench/echo_load"))
    if not found:
        sys.exit("no build/*/bench/echo_load: build the benchmarks first, or pass --bin")
    return max(found, key=lambda path: path.stat().st_mtime).parent


def burst_plan(arguments):
    """How many bursts each server gets, and how long one is."""
    if arguments.quick:
        return 1, 0.15
    length = min(BURST_SECONDS, arguments.seconds)
    return arguments.rounds * max(1, round(arguments.seconds / length)), length


def measure_counted(bin_dir, servers, quick):
    found = {}
    for server in servers:
        if not server.bulk_only:
            progress(f"counting {server.name}")
            found[server.name] = counting.measure(bin_dir, server, quick)
    return found


def main():
    arguments = parse_arguments()
    bin_dir = find_binaries(arguments.bin)
    workloads = selected(WORKLOADS, arguments.workloads)
    servers = []
    for server in selected(SERVERS, arguments.servers):
        if (bin_dir / server.binary).exists():
            servers.append(server)
        else:
            progress(f"{server.name}: not built, left out")
    bursts, length = burst_plan(arguments)
    machine = {**describe(bin_dir), "server_cpu": SERVER_CPU, "load_cpu": LOAD_CPU}
    began = time.monotonic()
    runs, summaries = measure_all(bin_dir, workloads, servers, bursts, length)
    counted = {} if arguments.no_counted else measure_counted(bin_dir, servers, arguments.quick)

    print(heading(machine, f"{bursts} bursts of {length:g} s each, "
                           f"{time.monotonic() - began:.0f} s in all"))
    for workload in workloads:
        if workload.name in summaries:
            report.print_workload(workload, summaries[workload.name], print)
    if counted:
        report.print_counted(counted, print)
    rows = report.verdicts(summaries, counted)
    print_verdicts(rows)
    for failure in runs.get("failures", []):
        print(f"  FAIL  {failure}")
    keep(arguments.json or bin_dir / "echo_results.json", {
        "machine": machine, "bursts": bursts, "burst_seconds": length, "summaries": summaries,
        "counted": counted, "bars": [{"passed": passed, "bar": text} for passed, text in rows],
        "runs": runs})
    missed = any(passed is False for passed, _ in rows) or bool(runs.get("failures"))
    return 1 if arguments.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
