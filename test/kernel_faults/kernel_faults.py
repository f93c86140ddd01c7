#!/usr/bin/env python3
"""Runs the probe on the real io_uring while the kernel is made to misbehave.

  kernel_faults.py PROBE [--quick] [--may-skip] [--only TEXT]

strace injects errors and delays into single system calls, a seccomp filter forbids io_uring, limits
take away descriptors and locked memory, and the probe is stopped for a while. Every run must end by
itself in a minute, either with the figures of an undisturbed run (recovered) or with exit code 1
and a text that names cause and remedy (clear error). One line for each case, one with the sums;
exit code 1 if a case misses what it expects. --quick takes a part of each sweep. --only runs the
cases whose name contains TEXT.
Without strace it exits 77 if --may-skip is given, else 1.
"""

import argparse
import ctypes
import itertools
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

LIMIT_S = 70  # more than the probe gives itself
RUNS_S, STANDS_S = 0.01, 0.1  # of a process that is stopped and goes on
MOST_STARTS = 50  # until one is stopped before it ends
SAME = ('echoes', 'bytes', 'posts', 'timers', 'cancelled')  # what no fault may change
SETUP, ENTER, REGISTER = 425, 426, 427  # on every architecture
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
EPERM, ENOSYS = 1, 38


# ---- what can be done to a process before it starts


def forbid(errno, *calls):
    """A seccomp filter under which `calls` fail with `errno`."""
    load_number, jump_equal, give_back = 0x20, 0x15, 0x06
    program = [(load_number, 0, 0, 0)]
    program += [(jump_equal, len(calls) - i, 0, call) for i, call in enumerate(calls)]
    program += [(give_back, 0, 0, 0x7fff0000), (give_back, 0, 0, 0x00050000 | errno)]

    def install():
        text = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *i) for i in program))
        head = ctypes.create_string_buffer(struct.pack('@HP', len(program),
                                                       ctypes.addressof(text)))
        libc = ctypes.CDLL(None, use_errno=True)
        if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or
                libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0)):
            raise OSError(ctypes.get_errno(), 'the filter was refused')
    return install


def descriptors(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


# Root is not held to the limit, and what a user has locked is given back some time after its
# process has ended: every run is a user of its own, or, without root, is tried again.
users = itertools.count(50000 + os.getpid() % 10000)


def locked_memory(kib):
    user = next(users)

    def install():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (kib << 10, kib << 10))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
    return install


# ---- one run


@dataclass
class Run:
    """One start of the probe: what strace injects (several, one blank between), and the rest."""
    inject: str = ''
    before: object = None
    args: tuple = ()
    tries: int = 1
    stops: int = 0  # how often it is made to stand still, as a machine that sleeps makes it


def locked(kib, args=()):
    return Run(before=locked_memory(kib), args=args, tries=1 if os.geteuid() == 0 else 20)


@dataclass
class Outcome:
    code: int  # negative: a signal; None: it hung
    out: str
    err: str
    injected: int
    stopped: int = 0
    right: bool = False  # as the case expects

    @property
    def figures(self):
        return {name: int(value) for name, value in re.findall(r'(\w+)=(\d+)', self.out)}

    @property
    def hung(self):
        return self.code is None or self.code == 3

    @property
    def crashed(self):
        return not self.hung and self.code not in (0, 1, 2)


def stand_still(child):
    """Lets the child run a little, then stops it for longer. False: it had ended before."""
    time.sleep(RUNS_S)
    try:
        os.kill(child.pid, signal.SIGSTOP)
        how = os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        time.sleep(STANDS_S)
        os.kill(child.pid, signal.SIGCONT)
    except ProcessLookupError:
        return False
    return how.si_code == os.CLD_STOPPED


class Lab:
    """Runs the probe, from a folder that every user can read."""

    def __init__(self, probe, folder):
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.probe = shutil.copy(probe, self.folder / 'probe')
        os.chmod(self.probe, 0o755)
        self.undisturbed = {}

    def start(self, run, trace=''):
        log = self.folder / 'log'
        log.unlink(missing_ok=True)
        calls = trace or ','.join(each.split(':')[0] for each in run.inject.split())
        command = [str(self.probe), *run.args]
        if calls:
            tracer = ['strace', '-f', '-qq', '-o', str(log), '-e', f'trace={calls}']
            for each in run.inject.split():
                tracer += ['-e', f'inject={each}']
            command = tracer + command

        def before():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if run.before:
                run.before()
        # A sanitizer's look for leaks is itself a tracer, and there can be one only.
        environment = dict(os.environ, ASAN_OPTIONS='detect_leaks=0')
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=environment, preexec_fn=before, cwd=self.folder,
                              start_new_session=True) as child:
            stopped = sum(stand_still(child) for _ in range(run.stops))
            try:
                out, err = child.communicate(timeout=LIMIT_S)
                code = child.returncode
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)  # strace and the probe
                out, err = child.communicate()
                code = None
        self.log = log.read_text(errors='replace') if log.exists() else ''
        return Outcome(code, out, err, len(re.findall(r'\((?:INJECTED|DELAYED)\)', self.log)),
                       stopped)

    def expected(self, run):
        """The figures of the same work without a fault."""
        if run.args not in self.undisturbed:
            plain = self.start(Run(args=run.args))
            if plain.code != 0:
                sys.exit(f'kernel_faults: the probe fails without any fault: {plain.err}')
            self.undisturbed[run.args] = plain.figures
        return self.undisturbed[run.args]

    def maps_of_setup(self):
        """The calls of mmap with which a loop is made: (number, whether it maps the ring)."""
        self.start(Run(), 'mmap,io_uring_setup,eventfd2')
        number, between = 0, False
        for line in self.log.splitlines():
            between = (between or 'io_uring_setup(' in line) and 'eventfd2(' not in line
            if 'mmap(' in line:
                number += 1
                if between:
                    yield number, 'MAP_ANONYMOUS' not in line


# ---- what a run has to come to: each of these returns '' or what is wrong


def recovers(engine='', says=''):
    def check(lab, run, got):
        if got.code != 0:
            return f'expected recovery, got exit code {got.code}: {got.err.strip()[-300:]}'
        wanted = lab.expected(run)
        for name in SAME:
            if got.figures.get(name) != wanted[name]:
                return f'{name}={got.figures.get(name)} instead of {wanted[name]}'
        # Each failed call is counted as a retry; the first one only asks whether it is allowed.
        if re.fullmatch(r'io_uring_enter:error=\S+', run.inject):
            if got.figures['retries'] < got.injected - run.inject.endswith('when=1'):
                return f'{got.injected} calls failed, retries={got.figures["retries"]}'
        if not re.search(engine, got.out):
            return f'the engine is not like "{engine}": {got.out.splitlines()[-1]}'
        if not re.search(says, got.err):
            return f'nothing on stderr is like "{says}": {got.err}'
        return ''
    return check


def tells(*texts):
    def check(lab, run, got):
        if got.code != 1:
            return f'expected an error, got exit code {got.code}: {got.err.strip()[-300:]}'
        missing = [text for text in texts if not re.search(text, got.err)]
        return f'nothing like "{missing[0]}" in: {got.err.strip()}' if missing else ''
    return check


def either(one, other):
    return lambda *about: one(*about) and other(*about)


# ---- the cases


@dataclass
class Case:
    name: str
    runs: list
    check: object
    known: str = ''  # a flaw that is known: the case must miss its expectation
    together: object = None  # looks at all outcomes of the case
    outcomes: list = field(default_factory=list)


NO_FD = (r'no file descriptor is left; raise the limit \(ulimit -n\)', 'Too many open files')
NO_MEMORY = (r'the limit of locked memory \(\d+ KiB\) is too low; raise it \(ulimit -l\)',
             'Cannot allocate memory')
ANYWHERE_NO_FD = ('Too many open files',)
FORBIDDEN = ('seccomp', 'allows io_uring_setup, io_uring_enter and io_uring_register',
             'Operation not permitted')
HIDDEN = ('no io_uring', 'Linux 6.0 or newer is needed', 'seccomp', 'Function not implemented')
OLD = ('Linux 6.0 or newer is needed',)


def fail(call, error, *whens, args=()):
    return [Run(f'{call}:error={error}:when={when}', args=args) for when in whens]


def enter_cases(quick):
    every = range(1, 60, 9) if quick else range(1, 60)
    enough = ('--rounds', '24')  # on a busy machine each call does more, and there are fewer
    for error in ('EINTR', 'EAGAIN', 'EBUSY'):  # faults 8, 9
        yield Case(f'enter {error} once, at call n',
                   fail('io_uring_enter', error, *every, args=enough), recovers())
        yield Case(f'enter {error}, every k-th call',
                   fail('io_uring_enter', error, *(f'3+{k}' for k in (2, 3, 7))), recovers())
        rows = ['2..4', '20..39', '40..1500'] if quick else ['2..4', '20..39', '40..3000', '5..99']
        yield Case(f'enter {error}, a row of calls', fail('io_uring_enter', error, *rows),
                   recovers())
    # Fault 9: no memory for the kernel's record of the thread, which enter makes when first used.
    yield Case('enter ENOMEM', fail('io_uring_enter', 'ENOMEM', 2, 20), recovers())
    delays = [Run(f'io_uring_enter:{side}={us}:when={when}')  # fault 66: late, never lost
              for side in ('delay_enter', 'delay_exit')
              for us, when in ((500, '2+1'), (20000, '3+10'))]
    yield Case('enter delayed', delays, recovers())
    # Faults 8, 9, 72: the other modes of the ring take back other things when a call fails.
    older = [Run(f'io_uring_setup:error=EINVAL:when=1..{rung} '
                 f'io_uring_enter:error={error}:when={when}')
             for rung in (1, 2, 4) for error in ('EINTR', 'EAGAIN', 'EBUSY')
             for when in (('3+2',) if quick else ('3+2', '3+3', '7+5', '9..99'))]
    yield Case('older ring, failing enters', older, recovers())


def setup_cases(lab, quick):
    call = 'io_uring_setup'
    yield Case('setup EPERM', fail(call, 'EPERM', '1+'), tells(*FORBIDDEN))  # fault 71
    yield Case('setup ENOSYS', fail(call, 'ENOSYS', '1+'), tells(*HIDDEN))  # fault 71
    yield Case('setup EACCES', fail(call, 'EACCES', '1+'),  # fault 71
               tells('security|SELinux|AppArmor', 'Permission denied'))
    for error in ('EMFILE', 'ENFILE'):  # fault 74
        yield Case(f'setup {error}', fail(call, error, 1), tells(NO_FD[0], 'Too many open files'))
    # Fault 72: an old kernel knows fewer flags; the ladder ends with an error.
    for rung in range(1, 5):
        engine = 'entries, single issuer' if rung == 1 else 'entries, (?!deferred|single)'
        yield Case(f'setup EINVAL, {rung} times', fail(call, 'EINVAL', f'1..{rung}'),
                   recovers(engine))
    yield Case('setup EINVAL, always', fail(call, 'EINVAL', '1+'), tells(*OLD))
    # Fault 19: less memory, a smaller ring.
    for times in (1, 3, 6):
        yield Case(f'setup ENOMEM, {times} times', fail(call, 'ENOMEM', f'1..{times}'),
                   recovers(fr'io_uring, {512 >> times} \+ '))
    yield Case('setup ENOMEM, always', fail(call, 'ENOMEM', '1+'), tells(*NO_MEMORY))
    yield Case('setup ENOMEM, then enters fail', [  # faults 7, 9, 19: a ring of 8 is full all day
        Run(f'io_uring_setup:error=ENOMEM:when=1..6 io_uring_enter:error={error}:when=5+3')
        for error in ('EINTR', 'EAGAIN', 'EBUSY')], recovers(r'io_uring, 8 \+ '))
    maps = list(lab.maps_of_setup())
    ring = fail('mmap', 'ENOMEM', *(number for number, of_ring in maps if of_ring))
    rest = fail('mmap', 'ENOMEM', *(number for number, of_ring in maps if not of_ring))
    yield Case('mmap of the ring ENOMEM', ring, recovers(r'io_uring, 256 \+ '))  # fault 19
    yield Case('mmap of the buffers ENOMEM', rest,  # fault 19
               tells('map the shared receive buffers', 'Cannot allocate memory'))
    yield Case('eventfd2 EMFILE', fail('eventfd2', 'EMFILE', 1), tells('eventfd', *NO_FD))  # 74
    yield Case('eventfd2 ENOMEM', fail('eventfd2', 'ENOMEM', 1), tells('eventfd', NO_MEMORY[1]))


def register_cases(quick):
    call, buffers = 'io_uring_register', 'io_uring_register of the shared receive buffers'
    yield Case('register buffers EINVAL once', fail(call, 'EINVAL', 1),  # fault 72
               recovers('entries, (?!.*incremental buffers)'))
    yield Case('register buffers EINVAL', fail(call, 'EINVAL', '1..2'), tells(buffers, *OLD))
    yield Case('register buffers ENOMEM', fail(call, 'ENOMEM', 1),  # fault 19
               tells(buffers, *NO_MEMORY))
    yield Case('register buffers EPERM', fail(call, 'EPERM', 1),  # faults 71, 73
               tells(buffers, *FORBIDDEN))
    yield Case('register to enable fails', [  # fault 73
        each for error in ('EPERM', 'ENOMEM') for each in fail(call, error, 2)],
        tells('enable', 'Operation not permitted|Cannot allocate memory'))
    errors = ('EINVAL', 'ENOMEM', 'EBUSY', 'EPERM')
    yield Case('register the descriptor fails', [  # fault 72: the plain descriptor is used
        each for error in errors for each in fail(call, error, 3)], recovers())
    yield Case('register fails at the end', [  # of no consequence: the ring is being closed
        each for error in errors[:2] for each in fail(call, error, 4)], recovers())


def socket_cases(quick):
    numbers = (1, 2, 3, 8) if quick else range(1, 11)
    for error, text in (('EMFILE', 'Too many open files'), ('ENFILE', 'Too many open files'),
                        ('ENOBUFS', 'No buffer space')):  # faults 18, 74
        yield Case(f'socket {error}', fail('socket', error, *numbers),
                   tells('(listen on|connect) 127', text))
    yield Case('socketpair EMFILE', fail('socketpair', 'EMFILE', 1, 2, 5),
               tells('socket pair', 'Too many open files'))
    yield Case('bind EADDRINUSE', fail('bind', 'EADDRINUSE', 1, 2),
               tells(r'listen on 127.0.0.1:0', 'Address already in use'))
    yield Case('listen EADDRINUSE', fail('listen', 'EADDRINUSE', 1, 2),
               tells(r'listen on 127.0.0.1:\d+', 'Address already in use'))
    yield Case('send EINTR, EAGAIN', [  # faults 2, 8: what is not taken at once is queued
        each for error in ('EINTR', 'EAGAIN') for each in fail('sendto', error, 1, '1+2', '2+3')],
        recovers())
    yield Case('send ECONNRESET', fail('sendto', 'ECONNRESET', 1, 3),  # fault 22
               tells('Connection reset by peer|end of stream|stream ended'))
    # It is how a reset is told from an end of stream.
    yield Case('getpeername ENOTCONN', fail('getpeername', 'ENOTCONN', '1+'),
               either(recovers(), tells('Connection reset by peer')))


def limit_cases(quick):
    def filtered(name, errno, calls, texts):  # fault 71, the real thing
        return Case(f'seccomp {name}', [Run(before=forbid(errno, *calls))], tells(*texts))
    everything = (SETUP, ENTER, REGISTER)
    yield filtered('EPERM', EPERM, everything, FORBIDDEN)
    yield filtered('ENOSYS', ENOSYS, everything, HIDDEN)
    yield filtered('enter EPERM', EPERM, (ENTER,), ('io_uring_enter', *FORBIDDEN))
    yield filtered('enter ENOSYS', ENOSYS, (ENTER,), ('io_uring_enter', *HIDDEN))
    yield filtered('register EPERM', EPERM, (REGISTER,), ('io_uring_register', *FORBIDDEN))

    def paused(outcomes):  # fault 17: the sweep must come by both
        texts = [got.err for got in outcomes if got.code == 0]
        pauses = sum('accepting pauses for' in text for text in texts)
        errors = sum(got.code == 1 for got in outcomes)
        return '' if pauses and errors else f'{pauses} paused accepts, {errors} errors'
    sweep = range(6, 65, 2) if quick else range(5, 65)
    yield Case('NOFILE 5 to 64', [Run(before=descriptors(each)) for each in sweep],  # 17, 74
               either(recovers(), tells(*ANYWHERE_NO_FD)), together=paused)
    yield Case('NOFILE 4', [Run(before=descriptors(4))], tells(*NO_FD))  # fault 74: not for a loop
    # Fault 19, the real thing.
    yield Case('MEMLOCK 0', [locked(0)], tells(*NO_MEMORY))
    yield Case('MEMLOCK 32, 64, 128 KiB', [locked(kib) for kib in (32, 64, 128)],
               recovers(r'io_uring, (8|16|32|64|128|256) \+ '))
    yield Case('MEMLOCK 256 KiB, 8 MiB', [locked(kib) for kib in (256, 8192)],
               recovers())
    # Many rings: a thread can register 16 of them, and each holds memory and descriptors.
    many = ('--loops', '20', '--clients', '3', '--rounds', '2')
    yield Case('20 rings in a thread', [Run(args=many)], recovers())
    yield Case('20 rings, failing enters', [
        Run(f'io_uring_enter:error={error}:when=30+3', args=many) for error in ('EINTR', 'EAGAIN')],
        recovers())
    long = ('--rounds', '200')
    # Fault 76, as far as a program can tell: time goes on while nothing of it runs.
    yield Case('stopped and continued', [Run(stops=each, args=long) for each in (1, 3, 9)],
               recovers(), together=lambda outcomes: '' if all(got.stopped for got in outcomes)
               else 'it had ended before it could be stopped')
    yield Case('20 rings, NOFILE 24', [Run(before=descriptors(24), args=many)], tells(*NO_FD))
    yield Case('20 rings, MEMLOCK 1 MiB', [locked(1024, many)],
               either(recovers(), tells(*NO_MEMORY)))


# ---- all of it


def judge(lab, case):
    """Runs `case`; returns what is wrong with it, or ''."""
    if not case.runs:
        return 'there is nothing to run'
    for run in case.runs:
        for _ in range(run.tries):
            got = lab.start(run)
            for _ in range(MOST_STARTS if run.stops else 0):
                if got.stopped:
                    break
                got = lab.start(run)  # on a busy machine it may have ended before we got our turn
            if not (wrong := case.check(lab, run, got)):
                break
            time.sleep(0.1 if run.tries > 1 else 0)
        case.outcomes.append(got)
        if not wrong and run.inject and got.injected < len(run.inject.split()):
            wrong = 'strace injected nothing'
        got.right = not wrong
        if wrong:
            how = f'{run.inject} {" ".join(run.args)}'.strip() or f'run {len(case.outcomes)}'
            return f'{how}: {"a hang; " if got.hung else ""}{wrong}'
    return case.together(case.outcomes) if case.together else ''


def strace_works():
    try:
        tried = subprocess.run(['strace', '-qq', '-o', '/dev/null', '-e',
                                'inject=getppid:error=EPERM', 'true'], capture_output=True)
        return tried.returncode == 0
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('probe')
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--may-skip', action='store_true')
    parser.add_argument('--only', default='')
    options = parser.parse_args()
    if not strace_works():
        print('kernel_faults: strace is missing or may not trace here')
        return 77 if options.may_skip else 1
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(options.probe, folder)
        quick = options.quick
        cases = [case for case in itertools.chain(
            enter_cases(quick), setup_cases(lab, quick), register_cases(quick),
            socket_cases(quick), limit_cases(quick)) if options.only in case.name]
        bad = 0
        for case in cases:
            wrong = judge(lab, case)
            injected = sum(got.injected for got in case.outcomes)
            verdict = 'known' if wrong and case.known else 'FAILED' if wrong else 'ok'
            if case.known and not wrong:
                verdict, wrong = 'FAILED', 'it is as it should be: take the mark "known" away'
            bad += verdict == 'FAILED'
            print(f'{verdict:6} {case.name}: runs={len(case.outcomes)} injections={injected}' +
                  (f': {case.known}' if verdict == 'known' else f': {wrong}' if wrong else ''),
                  flush=True)
    seen = [got for case in cases for got in case.outcomes]
    print(f'kernel_faults: cases={len(cases)} runs={len(seen)} '
          f'injections={sum(got.injected for got in seen)} '
          f'recovered={sum(got.right and got.code == 0 for got in seen)} '
          f'clear_errors={sum(got.right and got.code == 1 for got in seen)} '
          f'known={sum(bool(case.known) for case in cases)} failed={bad} '
          f'hangs={sum(got.hung for got in seen)} crashes={sum(got.crashed for got in seen)} '
          f'kernel={os.uname().release}')
    return 1 if bad or not cases else 0


if __name__ == '__main__':
    sys.exit(main())
