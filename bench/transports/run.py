#!/usr/bin/env python3
"""What connections cost beyond an echo over TCP: AF_UNIX echoes, accepting and closing, and the
memory of connections that rest.

The servers, the load and the way of measuring are those of the echo benchmark; README.md in the
folder above explains them.
"""

import resource
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCH / "echo"), str(BENCH)]
sys.dont_write_bytecode = True

import report  # noqa: E402
from machine import (  # noqa: E402
    describe, heading, keep, options, print_verdicts, progress, selected)
from processes import LOAD_CPU, SERVER_CPU, Failure, RunningServer, run_load  # noqa: E402
from rounds import BURST_SECONDS, measure_all  # noqa: E402
from workloads import BURSTS_TO_JUDGE, SERVERS, Workload  # noqa: E402

TIMED = [
    Workload("unix_1", "AF_UNIX, 1 connection, 64 B", 1, unix=True),
    Workload("unix_64", "AF_UNIX, 64 connections, 64 B", 64, unix=True),
    Workload("unix_4k", "AF_UNIX, 64 connections, 4 KiB", 64, size=4096, unix=True),
    Workload("unix_64k", "AF_UNIX, 16 connections, 64 KiB", 16, size=65536, unix=True, bulk=True),
    Workload("accept", "TCP: accept, notice the end, close; 16 at a time", 16, mode="accept"),
    Workload("accept_unix", "the same over AF_UNIX", 16, mode="accept", unix=True),
]
IDLE = [
    Workload("idle", "TCP connections that echoed once and rest", 10_000, mode="idle"),
    Workload("idle_unix", "AF_UNIX connections that echoed once and rest", 10_000, mode="idle",
             unix=True),
]
SMOKE_IDLE_CONNECTIONS = 1000
# Of the limit on descriptors: the connections that warm the server up, and everything else.
OTHER_DESCRIPTORS = 300

# CPU of ours, as a multiple of the raw server's, and user bytes of a resting connection.
CPU_BARS = [("unix_64", "protocol", 1.05), ("unix_64", "streams", 1.09)]
IDLE_BARS = [("protocol", 256), ("streams", 768)]


def parse_arguments():
    parser = options(__doc__, "transports", 5)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the binaries")
    parser.add_argument("--seconds", type=float, default=1.0,
                        help="measured seconds per round, server and line; split into bursts")
    parser.add_argument("--smoke", action="store_true",
                        help="for CI: every server does every line once and briefly, "
                        f"{SMOKE_IDLE_CONNECTIONS:,} connections rest; nothing is judged, "
                        "and what does not run fails")
    parser.add_argument("--servers", help="comma-separated: "
                        + ",".join(server.name for server in SERVERS))
    parser.add_argument("--lines", help="comma-separated: "
                        + ",".join(line.name for line in TIMED + IDLE))
    return parser.parse_args()


def raise_descriptor_limit(needed):
    """Servers and load inherit it. Returns the limit that then holds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= needed:
        return needed
    if hard != unlimited and hard < needed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
            return needed
        except (ValueError, OSError):
            needed = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return needed


def connections_possible(wanted):
    """As many as the limit on descriptors allows, and a line that says so when these are fewer."""
    limit = raise_descriptor_limit(wanted + OTHER_DESCRIPTORS)
    possible = min(wanted, limit - OTHER_DESCRIPTORS)
    if possible < wanted:
        progress(f"the hard limit on descriptors is {limit} and may not be raised here: "
                 f"{possible:,} connections instead of {wanted:,}; as root, or after "
                 f"`ulimit -n {wanted + OTHER_DESCRIPTORS}`, there are more")
    return possible


def measure_idle(bin_dir, lines, servers, connections):
    """{line: {server: bytes of each connection, or the reason why not}}"""
    found = {}
    for line in lines:
        progress(f"{line.name}: {connections:,} {line.what}")
        for server in servers:
            try:
                with RunningServer(bin_dir, server, line.unix) as running:
                    ran = run_load(bin_dir, running, ["--mode", "idle", "--connections",
                                                      str(connections)])
                value = ran["private_bytes_each"]
            except Failure as failure:
                value = f"FAILED: {failure}"
            found.setdefault(line.name, {})[server.name] = value
    return found


def print_idle(lines, found, connections, out):
    for line in lines:
        out(f"\n{line.name}: {connections:,} {line.what}; user bytes of each")
        for server, value in found[line.name].items():
            out(f"  {server:<14}" + (value if isinstance(value, str) else f"{value:>10.0f}"))


def verdicts(summaries, idle, is_smoke):
    """One row per bar: (passed, text); passed is None if the measurement cannot tell."""
    rows = []
    for line, server, limit in CPU_BARS:
        row = summaries.get(line, {}).get(server)
        if row and row["ratio"]:
            can_tell = row["bursts"] >= BURSTS_TO_JUDGE
            rows.append((row["ratio"] <= limit if can_tell else None,
                         f"{line}: CPU of {server} / {row['reference']}: {row['ratio']:.3f} "
                         f"(bar {limit})"))
    for server, limit in IDLE_BARS:
        for line, values in idle.items():
            value = values.get(server)
            if isinstance(value, float):
                rows.append((None if is_smoke else value <= limit,
                             f"{line}: bytes of {server}: {value:.0f} (bar {limit})"))
    return rows


def main():
    arguments = parse_arguments()
    bin_dir = arguments.bin.resolve()
    wanted = {line.name for line in selected(TIMED + IDLE, arguments.lines)}
    timed = [line for line in TIMED if line.name in wanted]
    resting = [line for line in IDLE if line.name in wanted]
    chosen = selected(SERVERS, arguments.servers)
    servers = [server for server in chosen if (bin_dir / server.binary).exists()]
    left_out = [server.name for server in chosen if server not in servers]
    for name in left_out:
        progress(f"{name}: not built, left out")
    length = 0.15 if arguments.smoke else min(BURST_SECONDS, arguments.seconds)
    bursts = 1 if arguments.smoke else arguments.rounds * max(1, round(arguments.seconds / length))
    machine = {**describe(bin_dir), "server_cpu": SERVER_CPU, "load_cpu": LOAD_CPU}
    began = time.monotonic()

    runs, summaries = measure_all(bin_dir, timed, servers, bursts, length)
    connections = 0
    if resting:
        connections = connections_possible(
            SMOKE_IDLE_CONNECTIONS if arguments.smoke else resting[0].connections)
    plain = [server for server in servers if not server.bulk_only]
    idle = measure_idle(bin_dir, resting, plain, connections)

    print(heading(machine, f"{bursts} bursts of {length:g} s each, "
                           f"{time.monotonic() - began:.0f} s in all"))
    for line in timed:
        if line.name in summaries:
            report.print_workload(line, summaries[line.name], print)
    print_idle(resting, idle, connections, print)
    rows = verdicts(summaries, idle, arguments.smoke)
    print_verdicts(rows)
    failures = runs.get("failures", []) + [
        f"{line}: {server}: {value}" for line, values in idle.items()
        for server, value in values.items() if isinstance(value, str)]
    for failure in failures:
        print(f"  FAIL  {failure}")
    keep(arguments.json or bin_dir / "transports_results.json", {
        "machine": machine, "bursts": bursts, "burst_seconds": length, "summaries": summaries,
        "idle_connections": connections, "idle": idle,
        "bars": [{"passed": passed, "bar": text} for passed, text in rows], "runs": runs})
    if arguments.smoke:
        return 1 if failures or left_out else 0
    missed = bool(failures) or any(passed is False for passed, _ in rows)
    return 1 if arguments.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())
