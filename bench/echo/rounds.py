"""Visits all servers of a workload in turn, in short bursts: what a busy machine does to one of
them it does to all."""

from contextlib import ExitStack

import report
from machine import progress
from processes import Failure, RunningServer, run_load

BURST_SECONDS = 0.25


def measure_workload(bin_dir, workload, servers, bursts, length):
    """All servers run side by side, idle but for one; the load visits them in turn. The order
    rotates, so that no server always follows the same one."""
    runs = {server.name: [] for server in servers}
    warmup = min(0.1, length / 3)
    arguments = [*workload.load_arguments(), "--seconds", str(length), "--warmup", str(warmup)]
    with ExitStack() as stack:
        running = [stack.enter_context(RunningServer(bin_dir, server, workload.unix, workload.bulk))
                   for server in servers]
        for burst in range(bursts):
            first = burst % len(running)
            for server in running[first:] + running[:first]:
                runs[server.name].append(run_load(bin_dir, server, arguments))
    return runs


def measure_all(bin_dir, workloads, servers, bursts, length):
    runs, summaries = {}, {}
    for workload in workloads:
        progress(f"{workload.name}: {workload.what}, {bursts} x {length:g} s")
        chosen = [server for server in servers if workload.bulk or not server.bulk_only]
        while chosen:
            try:
                found = measure_workload(bin_dir, workload, chosen, bursts, length)
            except Failure as failure:
                progress(f"  FAILED: {failure}")
                chosen = [s for s in chosen if not str(failure).startswith(s.name + ":")
                          and not str(failure).startswith(s.name + " ")]
                runs.setdefault("failures", []).append(f"{workload.name}: {failure}")
                continue
            runs[workload.name] = found
            summaries[workload.name] = report.summarise(workload, found)
            break
    return runs, summaries
