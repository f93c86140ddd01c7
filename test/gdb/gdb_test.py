#!/usr/bin/env python3
"""Tests tools/ouro_gdb.py: `gdb_test.py PROGRAM`, with the program of stuck.cpp.

Exits with 77 (skipped, for ctest) only where there is no gdb.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / 'tools/ouro_gdb.py'
SOURCE = Path(__file__).with_name('stuck.cpp')
PROGRAM = ''


def line(name):
    """Where stuck.cpp has the await with this mark."""
    for number, text in enumerate(SOURCE.read_text().splitlines(), 1):
        if text.endswith(f'// line: {name}'):
            return f'{name} at stuck.cpp:{number}'
    raise ValueError(name)


def gdb(*arguments, commands):
    """What gdb prints for the commands."""
    given = [part for each in (f'source {SCRIPT}', *commands) for part in ('-ex', each)]
    done = subprocess.run(['gdb', '-nx', '-batch', '-ex', 'set confirm off', '-ex',
                           'set debuginfod enabled off', *given, *arguments],
                          capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def blocks(text):
    """The parts of `ouro tasks`: from the title of a task to its lines."""
    found = {}
    for match in re.finditer(r'^(task \d+(?: "(\w+)")?): (.*(?:\n    .*)*)', text, re.MULTILINE):
        found.setdefault(match[2] or match[1], match[3].split('\n'))
    return found


class GdbTest(unittest.TestCase):
    def start(self, *arguments):
        program = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        self.assertEqual(program.stdout.readline(), 'ready\n')
        return program

    def check_tasks(self, text, age):
        self.assertRegex(text, r'(?m)^loop 0x\w+ in thread 1, turn \d+: 8 tasks$')
        tasks = blocks(text)
        self.assertEqual(len(tasks), 8, text)
        self.assertRegex(tasks['server'][0], rf'^waiting in recv \(fd \d+\){age}$')
        self.assertRegex(tasks['server'][1], r'^    created at stuck.cpp:\d+$')
        self.assertEqual(tasks['server'][2:4], ['    ' + line('serve'), '    ' + line('receive')])
        self.assertRegex(tasks['server'][4], r'^    awaited by task \d+ "joiner"$')
        self.assertEqual(len(tasks['server']), 5)
        self.assertRegex(tasks['reader'][0], rf'^waiting in read \(fd \d+\){age}$')
        self.assertRegex(tasks['joiner'][0], rf'^waiting in join \(server\){age}$')
        self.assertRegex(tasks['joiner'][-1], r'^    awaits task \d+ "server"$')
        self.assertRegex(tasks['late'][0],
                         rf'^waiting in sleep{age}, cancelling 1 \(user: the test says so\)$')
        # Started with arguments, so the place is not known; the frame that keeps them is left out.
        self.assertRegex(tasks['late'][1], r'^    stay::lambda at stuck.cpp:\d+$')
        self.assertEqual(tasks['late'][2:], ['    ' + line('stubborn'), '    ' + line('rest')])

        left = ', 1 h 59 min left' if age else ''
        self.assertRegex(tasks['parent'][2], rf'^    in timeout at stuck.cpp:\d+{left}$')
        self.assertRegex(tasks['parent'][3], r'^    in group at stuck.cpp:\d+$')
        self.assertRegex(tasks['parent'][4], r'^    family at stuck.cpp:\d+$')
        self.assertRegex(tasks['parent'][5], r'^    awaits task \d+ "child"$')
        self.assertRegex(tasks['child'][3], r'^    in group at stuck.cpp:\d+ of task \d+ "parent"$')
        self.assertEqual(tasks['child'][4:6], ['    ' + line('child'), '    ' + line('rest')])
        self.assertRegex(tasks['child'][6], r'^    awaited by task \d+ "parent"$')

    def check_backtrace(self, text):
        self.assertRegex(text, r'(?m)^task \d+ "server": waiting in recv \(fd \d+\)$')
        self.assertRegex(text, rf'(?m)^#0  0x\w+ in {line("receive")}$')
        self.assertRegex(text, rf'(?m)^#1  0x\w+ in {line("serve")}$')

    # rule 718
    def test_tasks_of_a_live_process_and_of_its_core(self):
        program = self.start()
        with tempfile.TemporaryDirectory() as folder:
            core = f'{folder}/core'
            live = gdb('-p', str(program.pid),
                       commands=['ouro tasks', 'ouro bt server', f'gcore {core}', 'detach'])
            self.check_tasks(live, r' for [\d.]+ m?s')
            self.check_backtrace(live)
            self.assertIsNone(program.poll(), 'the program must go on')
            program.kill()
            dead = gdb(PROGRAM, core, commands=['ouro tasks', 'ouro bt server'])
        self.check_tasks(dead, '')  # nobody knows when that was
        self.check_backtrace(dead)

    # rule 718
    def test_the_chain_of_a_task_that_crashes(self):
        text = gdb('--args', PROGRAM, 'crash', commands=['run', 'ouro tasks', 'ouro bt'])
        tasks = blocks(text[text.index('loop 0x'):])
        self.assertEqual(tasks['crasher'][0], 'running', text)
        self.assertRegex(text, r'(?m)^task \d+ "crasher": running$')
        self.assertRegex(text, rf'(?m)^#0  0x\w+ in {line("innermost")}$')
        self.assertRegex(text, rf'(?m)^#1  0x\w+ in {line("crash")}$')

    def test_what_cannot_be_shown_is_said(self):
        self.assertIn('no ouro in this program', gdb('/bin/true', commands=['ouro tasks']))
        program = self.start()
        text = gdb('-p', str(program.pid), commands=['ouro bt nobody', 'ouro bt', 'detach'])
        self.assertIn('no task nobody; see `ouro tasks`', text)
        self.assertIn('no task runs in the selected thread', text)


if __name__ == '__main__':
    PROGRAM = sys.argv.pop(1)
    if not shutil.which('gdb'):
        print('skipped: no gdb here; apt install gdb')
        sys.exit(77)
    unittest.main()
