#!/usr/bin/env python3
"""What does a UDP packet cost with ouro, with recvmmsg and sendmmsg, with Asio and with libuv?

Runs every workload against every server, in turn, in short bursts, and prints packets per second
and the server's CPU time for each packet (medians, minima, ratios), then user instructions for each
packet as callgrind counts them, and the bars. README.md in the folder above explains the method.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

BENCH = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCH), str(BENCH / 'echo')]
sys.dont_write_bytecode = True

from machine import describe, heading, keep, options, progress, selected  # noqa: E402
from processes import LOAD_CPU, Failure, RunningServer, pin_to  # noqa: E402

BURST_SECONDS = 0.25
BURSTS_TO_JUDGE = 10
RIVALS = ('asio', 'libuv')
# How many times the CPU of ouro the rivals take for a packet, where the kernel joins and cuts.
BAR = 1.5
MOST_LOST = 0.001


@dataclass(frozen=True)
class Server:
    name: str
    binary: str
    arguments: tuple = ()
    bulk_arguments: tuple = ()


@dataclass(frozen=True)
class Workload:
    name: str
    what: str
    size: int
    gso: bool

    def arguments(self):
        return ['--size', str(self.size), *(['--gso'] if self.gso else [])]


SERVERS = [
    Server('raw_mmsg', 'raw_mmsg_udp'),
    Server('raw_gro', 'raw_mmsg_udp', ('--gro',)),
    Server('asio', 'asio_udp'),
    Server('libuv', 'uv_udp'),
    Server('ouro', 'ouro_udp'),
]
WORKLOADS = [
    Workload('64', '64 B, packet by packet', 64, False),
    Workload('1400', '1,400 B, packet by packet', 1400, False),
    Workload('64_gso', '64 B, the client lets the kernel cut them up', 64, True),
    Workload('1400_gso', '1,400 B, the client lets the kernel cut them up', 1400, True),
]


def load(bin_dir, server, arguments, with_pid=True):
    command = [str(bin_dir / 'udp_load'), *server.address, *arguments]
    if with_pid:
        command += ['--pid', str(server.server_pid())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=300, preexec_fn=pin_to(LOAD_CPU), check=False)
    if done.returncode != 0:
        raise Failure(f'{server.name}: {done.stderr.strip()[-300:]}')
    found = json.loads(done.stdout)
    if found['lost'] > MOST_LOST * found['packets']:
        raise Failure(f"{server.name}: {found['lost']} of {found['packets']} packets are lost")
    return found


def measure(bin_dir, workload, servers, bursts, seconds):
    runs = {server.name: [] for server in servers}
    arguments = [*workload.arguments(), '--seconds', str(seconds), '--warmup', '0.05']
    with ExitStack() as stack:
        running = [stack.enter_context(RunningServer(bin_dir, server)) for server in servers]
        for burst in range(bursts):
            first = burst % len(running)
            for server in running[first:] + running[:first]:
                runs[server.name].append(load(bin_dir, server, arguments))
    return runs


def instructions(bin_dir, server, workload, rounds):
    """User instructions for each packet: the difference of two runs, so starting cancels out."""
    def count(total):
        with tempfile.TemporaryDirectory(prefix='ouro_callgrind_') as folder:
            wrapper = ['valgrind', '--tool=callgrind',
                       f"--callgrind-out-file={Path(folder) / 'out'}"]
            with RunningServer(bin_dir, server, wrapper=wrapper) as running:
                packets = load(bin_dir, running, [*workload.arguments(), '--rounds', str(total),
                                                  '--warmup', '0'], with_pid=False)['packets']
                said = running.stop()
        found = re.search(r'Collected : (\d+)', said)
        if found is None:
            raise Failure('valgrind gave no count: ' + said.strip()[-200:])
        return int(found.group(1)), packets

    few, many = count(rounds), count(3 * rounds)
    return (many[0] - few[0]) / (many[1] - few[1])


def paired(runs, name, other):
    """The median of the ratios burst by burst: what changes the machine's speed changes both."""
    key = 'cpu_us_per_packet'
    return median(own[key] / its[key] for own, its in zip(runs[name], runs[other]))


def print_workload(workload, runs, counted):
    print(f'\n{workload.name}: {workload.what}')
    print(f"  {'server':<10}{'packets/s':>12}{'CPU us/packet':>15}{'min':>9}{'x ouro':>9}"
          f"{'instructions':>14}")
    for name, results in runs.items():
        costs = sorted(each['cpu_us_per_packet'] for each in results)
        speed = median(each['packets_per_s'] for each in results)
        ratio = f"{paired(runs, name, 'ouro'):.3f}" if 'ouro' in runs else '-'
        number = counted.get((workload.name, name))
        shown = f'{number:.0f}' if isinstance(number, float) else '-'
        print(f'  {name:<10}{speed:>12.0f}{median(costs):>15.4f}{costs[0]:>9.4f}{ratio:>9}'
              f'{shown:>14}')


def main():
    parser = options(__doc__, 'udp', 20)
    parser.add_argument('--bin', type=Path, required=True, help='folder of the binaries')
    parser.add_argument('--quick', action='store_true', help='a smoke run: one short burst')
    parser.add_argument('--servers', help='comma-separated')
    parser.add_argument('--workloads', help='comma-separated')
    parser.add_argument('--no-counted', action='store_true', help='skip callgrind')
    arguments = parser.parse_args()
    bin_dir = arguments.bin.resolve()
    servers = [each for each in selected(SERVERS, arguments.servers)
               if (bin_dir / each.binary).exists() or progress(f'{each.name}: not built')]
    workloads = selected(WORKLOADS, arguments.workloads)
    bursts, seconds = (1, 0.1) if arguments.quick else (arguments.rounds, BURST_SECONDS)
    machine = describe(bin_dir)
    failed, runs, counted = [], {}, {}
    for workload in workloads:
        progress(f'{workload.name}: {workload.what}')
        try:
            runs[workload.name] = measure(bin_dir, workload, servers, bursts, seconds)
        except Failure as failure:
            failed.append(f'{workload.name}: {failure}')
        if arguments.no_counted or shutil.which('valgrind') is None:
            continue
        for server in servers:
            try:
                counted[workload.name, server.name] = instructions(
                    bin_dir, server, workload, 20 if arguments.quick else 100)
            except Failure as failure:
                failed.append(f'{workload.name}: {failure}')

    print(heading(machine, f'{bursts} bursts of {seconds:g} s each'))
    missed = False
    for workload in workloads:
        if workload.name in runs:
            print_workload(workload, runs[workload.name], counted)
    print('\nbars: the CPU of rivals for a packet, as a multiple of ours, where the kernel cuts')
    for workload in workloads:
        found = runs.get(workload.name, {})
        for rival in RIVALS if workload.gso and 'ouro' in found else ():
            if rival not in found:
                continue
            ratio = paired(found, rival, 'ouro')
            verdict = 'n/a ' if bursts < BURSTS_TO_JUDGE else 'PASS' if ratio >= BAR else 'MISS'
            missed |= verdict == 'MISS'
            print(f'  {verdict}  {workload.name}: {rival} {ratio:.3f} (bar {BAR})')
    for failure in failed:
        print(f'  FAIL  {failure}')
    keep(arguments.json or bin_dir / 'udp_results.json',
         {'machine': machine, 'runs': runs, 'failures': failed,
          'instructions': {' '.join(key): value for key, value in counted.items()}})
    return 1 if failed or (arguments.strict and missed) else 0


if __name__ == '__main__':
    sys.exit(main())
