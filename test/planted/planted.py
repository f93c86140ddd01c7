#!/usr/bin/env python3
"""Switches on one planted bug after the other and says which harness finds it.

  planted.py --bin build/dev/test/planted [--only N...] [--quick] [--harness PATTERN]

First all harnesses run with no bug switched on (number 0); each must pass. Then, for each bug, they
run in order of cost until one fails. A bug counts as found only if the program came by it, and if
the test that failed passes without it. One line for each bug, one with the sums; exit code 1 if a
bug is not found or a harness fails without any. --quick takes every fourth bug.

  planted.py --copy-to DIR     what the build calls: the library's sources with all bugs in them
"""

import argparse
import fnmatch
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAYERS = ('runtime', 'net', 'proto', 'streams')
QUICK_EVERY = 4
TORTURE_RUNS = 10  # of each test
KERNEL_FAULTS = (sys.executable, str(ROOT / 'test/kernel_faults/kernel_faults.py'))
LEAST_LIMIT_S = 25  # a harness that takes longer than this, and than thrice its usual time, hangs
CONTROL_LIMIT_S = 900  # one of which no usual time is known yet


# ---- the copy


def read_bugs():
    return tomllib.loads((HERE / 'bugs.toml').read_text())['bug']


def edits_of(bugs):
    """File -> the edits in it, each (bug, find, replace)."""
    edits = {}
    for bug in bugs:
        for edit in (bug, *bug.get('also', ())):
            if f'planted({bug["number"]})' not in edit['replace']:
                sys.exit(f'bugs.toml: bug {bug["number"]} does not ask planted({bug["number"]})')
            edits.setdefault(bug['file'], []).append((bug, edit['find'], edit['replace']))
    return edits


def plant(file, text, edits):
    """The text with all edits, which are looked for in the original."""
    places, astray = [], []
    for bug, find, replace in edits:
        if text.count(find) != 1:
            astray.append(f'bugs.toml: bug {bug["number"]} ({bug["name"]}): its text occurs '
                          f'{text.count(find)} times in {file}, not once:\n{find}')
            continue
        start = text.index(find)
        places.append((start, start + len(find), replace, bug['number']))
    if astray:
        sys.exit('\n'.join(astray))
    places.sort(reverse=True)
    for (later, *_, one), (_, end, _, other) in zip(places, places[1:]):
        if end > later:
            sys.exit(f'bugs.toml: bugs {one} and {other} edit the same text of {file}')
    for start, end, replace, _ in places:
        text = text[:start] + replace + text[end:]
    return text


def included_by_tests(file):
    """Tests' objects are linked as they are: a header they know must not change."""
    pattern = re.compile(rf'#include "(.*/)?{re.escape(Path(file).name)}"')
    return [str(each.relative_to(ROOT)) for each in (ROOT / 'test').rglob('*.[ch]pp')
            if pattern.search(each.read_text())]


def copy_to(target):
    edits = edits_of(read_bugs())
    for layer in LAYERS:
        for path in sorted((ROOT / layer / 'src').rglob('*.[ch]pp')):
            file = str(path.relative_to(ROOT))
            text = plant(file, path.read_text(), edits.pop(file, ()))
            copy = target / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() or copy.read_text() != text:
                copy.write_text(text)
    for file, (edit, *_) in edits.items():
        sys.exit(f'bugs.toml: bug {edit[0]["number"]}: {file} is no source of the library')
    for file in edits_of(read_bugs()):
        users = included_by_tests(file) if file.endswith('.hpp') else ()
        if users:
            sys.exit(f'bugs.toml: {file} cannot be edited: {users[0]} includes it')


# ---- the harnesses


@dataclass
class Step:
    """One program of a harness. `failure` finds what it says of a failed test; its first group
    names the test, and `alone` are the arguments that run only that one."""
    harness: str
    binary: str
    arguments: list
    failure: str
    alone: callable = None
    by: tuple = ()  # the program that runs the binary
    usual_s: float = 0
    known: frozenset = frozenset()  # what fails without a bug, and is no finding

    def limit_s(self):
        return max(LEAST_LIMIT_S, 3 * self.usual_s)


def suite(harness, binary, tests):
    arguments = ['--log_level=test_suite', '--color_output=no', f'--run_test={tests}']
    return Step(harness, binary, arguments, r'error: in "([^"]+)"',
                lambda test: [*arguments[:2], f'--run_test={test}'])


def torture(mode, layer):
    def alone(failed):
        name, number = failed.split(' run ')
        return ['torture', mode, '--only', name, '--at', number]
    return Step(f'torture_{mode}', f'test_{layer}', ['torture', mode, '--most', str(TORTURE_RUNS)],
                r'repeat: .* --only (\S+) --at (\S+)', alone)


def harnesses():
    layers = [f'test_{layer}' for layer in LAYERS]
    steps = [suite('suite_sim', each, '*/*_on_sim') for each in layers]
    steps += [suite('suite_uring', each, '!*/*_on_sim') for each in layers]  # and plain tests
    steps += [Step('seeds', 'sim_seeds', ['--seeds', '300'], r'(seed \d+ fails:\s+[^\n]+)\n')]
    steps += [suite('honesty', 'test_honesty', '*'), suite('conformance', 'test_testing', '*')]
    steps += [Step('kernel_faults', 'kernel_faults_probe', ['--quick'], r'FAILED (.+): runs=',
                   lambda case: ['--quick', '--only', case], KERNEL_FAULTS)]
    steps += [torture(mode, layer) for mode in ('stop', 'cancel', 'ops', 'crumbs')
              for layer in LAYERS]
    return steps


@dataclass
class Outcome:
    failed: bool
    why: str = ''  # the test, or what happened
    tests: frozenset = frozenset()
    reached: bool = False
    took_s: float = 0


def run(step, folder, number, arguments=None, to_the_end=False):
    """Runs a step until it ends, reports a failure that is not known, or takes too long."""
    program = [*step.by, str(folder / f'planted_{step.binary}'), *(arguments or step.arguments)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='ouro-planted-') as place:
        mark = Path(place) / 'mark'
        mark.write_bytes(b'0')
        settings = {**os.environ, 'OURO_PLANTED': str(number), 'OURO_PLANTED_MARK': str(mark)}
        child = subprocess.Popen(program, env=settings, cwd=place, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            outcome = watch(step, child, began + step.limit_s(), to_the_end)
        finally:
            end(child)
        outcome.reached = mark.read_bytes() == b'1'
    outcome.took_s = time.monotonic() - began
    return outcome


def watch(step, child, deadline, to_the_end):
    said, failing = '', set()
    output = child.stdout.fileno()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return Outcome(True, f'hangs in {last_test(said)}', frozenset([last_test(said)]))
        if not select.select([output], [], [], left)[0]:
            continue
        piece = os.read(output, 1 << 16)
        said += piece.decode(errors='replace')
        for found in re.finditer(step.failure, said):
            test = ' run '.join(' '.join(part.split()) for part in found.groups())
            failing.add(test)
            if test not in step.known and not to_the_end:
                return Outcome(True, test, frozenset([test]))
        if not piece:
            break
    code = child.wait()
    if code == 0 or (code > 0 and step.known and failing <= step.known):
        return Outcome(False)
    if failing:
        return Outcome(True, ', '.join(sorted(failing)), frozenset(failing))
    how = f'died of {signal.Signals(-code).name}' if code < 0 else f'exit code {code}'
    return Outcome(True, f'{how} in {last_test(said)}', frozenset([last_test(said)]))


def last_test(said):
    """The test that Boost entered last, as suite/case."""
    entered = re.findall(r'Entering test (suite|case) "([^"]+)"', said)
    cases = [i for i, (kind, _) in enumerate(entered) if kind == 'case']
    if not cases:
        return ''
    suites = [name for kind, name in entered[:cases[-1]] if kind == 'suite']
    return '/'.join(suites[-1:] + [entered[cases[-1]][1]])


def end(child):
    """Ends the program and what it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.stdout.close()
    child.wait()


# ---- the driver


def control(steps, folder):
    """All harnesses without a bug: they must pass. What fails all the same is no finding later."""
    failures = 0
    for step in steps:
        step.usual_s = CONTROL_LIMIT_S / 3
        outcome = run(step, folder, 0, to_the_end=True)
        step.usual_s = outcome.took_s
        step.known = outcome.tests
        failures += outcome.failed
        if outcome.failed:
            print(f'planted 0: {step.harness} {step.binary} fails without a bug: {outcome.why}')
    took = sum(step.usual_s for step in steps)
    print(f'planted 0 no_bug: {len(steps)} programs in {took:.0f} s, failures={failures}',
          flush=True)
    return failures == 0


def hunt(bug, steps, folder):
    """The step that finds the bug, its outcome, the time until then; and whether anything came
    by the bug."""
    began = time.monotonic()
    reached = False
    for step in steps:
        outcome = run(step, folder, bug['number'])
        reached |= outcome.reached
        if not outcome.failed or not outcome.reached:
            continue
        test = ''.join(outcome.tests)
        if step.alone and test and run(step, folder, 0, step.alone(test)).failed:
            print(f'planted {bug["number"]}: {test} fails without the bug too: not counted')
            continue
        return step, outcome, time.monotonic() - began, True
    return None, None, time.monotonic() - began, reached


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--bin', type=Path, default=ROOT / 'build/dev/test/planted')
    parser.add_argument('--copy-to', type=Path)
    parser.add_argument('--only', type=int, nargs='+', metavar='N')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--harness', default='*', help='a pattern of names')
    options = parser.parse_args()
    if options.copy_to:
        return copy_to(options.copy_to)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no program is left behind
    folder = options.bin.resolve()
    bugs = read_bugs()
    if options.quick:
        bugs = bugs[::QUICK_EVERY]
    if options.only:
        bugs = [bug for bug in bugs if bug['number'] in options.only]
    steps = [step for step in harnesses() if fnmatch.fnmatch(step.harness, options.harness)]
    for binary in sorted({f'planted_{step.binary}' for step in steps}):
        if not (folder / binary).exists():
            sys.exit(f'planted: {folder / binary} is missing; build the target `planted` first')
    passed = control(steps, folder)
    by = Counter({step.harness: 0 for step in steps})
    for bug in bugs:
        step, outcome, took, reached = hunt(bug, steps, folder)
        title = f'planted {bug["number"]} {bug["name"]}'
        if step:
            by[step.harness] += 1
            print(f'{title}: found by {step.harness} in {took:.1f} s ({outcome.why})', flush=True)
        else:
            what = 'not found' if reached else 'never reached'
            print(f'{title}: {what} in {took:.1f} s', flush=True)
    found = sum(by.values())
    print(f'planted: bugs={len(bugs)} found={found} by: ' +
          ' '.join(f'{harness}={count}' for harness, count in by.items()))
    return 0 if passed and found == len(bugs) else 1


if __name__ == '__main__':
    sys.exit(main())
