#!/usr/bin/env python3
"""What does a pipe cost with ouro, beside a loop by hand with read(2), write(2) and poll(2)?

A child with plain blocking calls is at the other end, on a core of its own. Reading and writing
move blocks of 64 KiB; asking sends 64 bytes and waits for them to come back. The ways take turns in
short bursts. What counts is the processor time of the measured process, per megabyte or per
question, and the median of its ratios to the hand-written loop, burst by burst.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
sys.dont_write_bytecode = True

from machine import describe, heading, keep  # noqa: E402

MEGABYTE = 1_000_000
BLOCK = 64 * 1024
LOADS = {"read": ("us/MB", 4000 * BLOCK, MEGABYTE), "write": ("us/MB", 4000 * BLOCK, MEGABYTE),
         "ask": ("us/question", 20_000, 1)}


def burst(program, load, way, amount):
    ran = subprocess.run([program, load, way, str(amount)], capture_output=True, text=True,
                         check=False, timeout=300)
    if ran.returncode:
        raise SystemExit(f"{load} {way} failed: {ran.stdout}{ran.stderr}")
    return json.loads(ran.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="few and small bursts: does it run?")
    arguments = parser.parse_args()
    program = arguments.bin / "pipe_bench"
    known = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split("\n")
    machine = describe(arguments.bin)
    rounds = 3 if arguments.quick else arguments.rounds
    results = {}
    for load, (unit, amount, per) in LOADS.items():
        ways = sorted((line.split()[1] for line in known if line.startswith(load + " ")),
                      key=lambda way: (way != "raw", way))
        if arguments.quick:
            amount //= 20
        bursts = {way: [] for way in ways}
        for number in range(rounds):
            for way in ways[number % len(ways):] + ways[:number % len(ways)]:
                bursts[way].append(burst(program, load, way, amount))
        for way in ways:
            cost = [each["cpu_us"] * per / each["amount"] for each in bursts[way]]
            raw = [each["cpu_us"] * per / each["amount"] for each in bursts["raw"]]
            rate = [each["amount"] / each["seconds"] for each in bursts[way]]
            results[f"{load} {way}"] = {
                "unit": unit, "cpu": statistics.median(cost), "min": min(cost),
                "x_raw": statistics.median(mine / other for mine, other in zip(cost, raw)),
                "x_min": min(cost) / min(raw), "rate": statistics.median(rate)}
    print(heading(machine, f"{rounds} bursts of each way"))
    print(f"{'':16} {'CPU':>8} {'min':>8} {'x raw':>7} {'x min':>7}")
    for name, row in results.items():
        rate = (f"{row['rate'] / 1e9:.2f} GB/s" if row["unit"] == "us/MB"
                else f"{row['rate']:,.0f}/s")
        print(f"{name:16} {row['cpu']:8.2f} {row['min']:8.2f} {row['x_raw']:7.2f} "
              f"{row['x_min']:7.2f}  {row['unit']}, {rate}")
    keep(arguments.bin / "pipe_results.json", {"machine": machine, "results": results})


if __name__ == "__main__":
    main()
