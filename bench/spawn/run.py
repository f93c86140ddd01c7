#!/usr/bin/env python3
"""Programs run and waited for per second: ouro beside posix_spawn(3) and waitpid(2)."""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import machine  # noqa: E402

WAYS = ("posix_spawn", "ouro", "ouro_pipe")


def measure(program, how, count, ballast):
    """Programs per second, and processor microseconds of the parent for each."""
    said = subprocess.run([program, "--how", how, "--count", str(count),
                           "--ballast-mib", str(ballast)],
                          capture_output=True, text=True, check=True)
    _, rate, cpu = said.stdout.split()
    return float(rate), float(cpu)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--ballast", type=int, nargs="*", default=[0, 512],
                        help="mebibytes that the parent has touched")
    parser.add_argument("--quick", action="store_true", help="one short round")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.count, options.ballast = 1, 100, [0]
    program = options.bin / "spawn_bench"
    results = {"machine": machine.describe(options.bin), "lines": []}
    print(f"{'way':12} {'MiB':>4} {'per second':>11} {'x':>5} {'CPU us':>8}")
    for ballast in options.ballast:
        rounds = {how: [] for how in WAYS}
        for _ in range(options.rounds):  # in turns, so that all meet the same disturbance
            for how in WAYS:
                rounds[how].append(measure(program, how, options.count, ballast))
        for how in WAYS:
            rate = statistics.median(each[0] for each in rounds[how])
            cpu = statistics.median(each[1] for each in rounds[how])
            ratio = statistics.median(ours[0] / theirs[0] for ours, theirs
                                      in zip(rounds[how], rounds["posix_spawn"]))
            print(f"{how:12} {ballast:4} {rate:11.0f} {ratio:5.2f} {cpu:8.1f}")
            results["lines"].append({"way": how, "ballast_mib": ballast, "per_second": rate,
                                     "x": ratio, "cpu_us": cpu, "rounds": rounds[how]})
    machine.keep(options.bin / "spawn_results.json", results)


if __name__ == "__main__":
    main()
