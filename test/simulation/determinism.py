#!/usr/bin/env python3
"""The same seeds in two processes: every trace must be the same (H3).

determinism.py SIM_SEEDS [SEEDS]
"""

import subprocess
import sys


def hashes(program, seeds):
    """Returns the lines `seed hash` of one process."""
    run = subprocess.run([program, '--hashes', '--seeds', str(seeds)],
                         capture_output=True, text=True, check=False)
    lines = [line for line in run.stdout.splitlines() if line[:1].isdigit()]
    if run.returncode != 0 or len(lines) != seeds:
        sys.exit(f'determinism: {program} failed:\n{run.stdout[-3000:]}{run.stderr[-3000:]}')
    return lines


def main():
    program = sys.argv[1]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    first, second = hashes(program, seeds), hashes(program, seeds)
    differing = [one.split()[0] for one, other in zip(first, second) if one != other]
    distinct = len({line.split()[1] for line in first})
    print(f'determinism: seeds={seeds} equal={seeds - len(differing)} distinct={distinct}')
    if differing:
        print('  these seeds differ: ' + ' '.join(differing[:20]))
    # A trace that hardly depends on the seed would prove nothing.
    return 1 if differing or distinct < seeds else 0


if __name__ == '__main__':
    sys.exit(main())
