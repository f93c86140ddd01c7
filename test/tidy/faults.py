"""Which faults of docs/faults.md have a test. A comment that begins with `fault 14`, `faults 2, 3`
or `rule 9, fault 14` names what a test proves (C++ and Python, in test/ and examples/; what follows
the numbers is free). The catalogue has a row for each: `| 14 | what goes wrong | tests | note |`,
with `deferred` or `waived` and a reason where ouro has nothing that could meet it."""

import io
import re
import tokenize
from collections import Counter, defaultdict, namedtuple
from itertools import chain

from cpp import split
from rules import NUMBERS, spans

CATALOGUE = 'docs/faults.md'
STATES = ('tests', 'waived', 'deferred')

Fault = namedtuple('Fault', 'number title state note section line')

HEADING = re.compile(r'^## (.*)$')
ROW = re.compile(r'^\|\s*(\d+)\s*\|([^|]*)\|([^|]*)\|([^|]*)\|\s*$')
MENTION = re.compile(rf'^\W*(?:rules?\s+{NUMBERS}\W+)?faults?\s+({NUMBERS})')


def comments(path, text):
    """(line, comment) of a C++ or Python file."""
    if not path.endswith('.py'):
        return split(text)[1]
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return []
    return [(each.start[0], each.string) for each in tokens if each.type == tokenize.COMMENT]


class Catalogue:
    """Every fault, the tests that name it, and the complaints that came up while reading."""

    def __init__(self, tree):
        self.faults, self.tests, self.findings = {}, defaultdict(list), []
        section = ''
        for line, text in enumerate(tree.text(CATALOGUE).splitlines(), 1):
            if heading := HEADING.match(text):
                section = heading[1]
            if row := ROW.match(text):
                title, state, note = (cell.strip() for cell in row.groups()[1:])
                self.add(Fault(int(row[1]), title, state, note, section, line))
        for folder in ('test/', 'examples/'):
            for path in tree.under(folder, '.cpp', '.hpp', '.py'):
                self.read(path, tree.text(path))
        for fault in self.faults.values():
            self.judge(fault)

    def add(self, fault):
        if fault.state not in STATES:
            self.complain(fault, f'`{fault.state}`: a fault has {", ".join(STATES)}')
        elif fault.number in self.faults:
            self.complain(fault, f'fault {fault.number} has two rows')
        elif fault.state != 'tests' and not fault.note:
            self.complain(fault, f'fault {fault.number} is {fault.state} without a reason')
        self.faults.setdefault(fault.number, fault)

    def read(self, path, text):
        for line, comment in comments(path, text):
            if mention := MENTION.match(comment):
                for number in chain.from_iterable(spans(mention[1])):
                    if number in self.faults:
                        self.tests[number].append((path, line))
                    else:
                        self.findings.append((path, line, f'fault {number} is not in {CATALOGUE}'))

    def judge(self, fault):
        tests = self.tests.get(fault.number)
        if fault.state == 'tests' and not tests:
            self.complain(fault, f'fault {fault.number} ({fault.title}) has no test that names it; '
                          'write one (`// fault N`), or defer it with a reason')
        elif fault.state in ('waived', 'deferred') and tests:
            path, line = tests[0]
            self.complain(fault, f'fault {fault.number} is {fault.state}, but {path}:{line} names '
                          'it')

    def complain(self, fault, message):
        self.findings.append((CATALOGUE, fault.line, message))

    def state_of(self, fault):
        """covered, waived, deferred or open."""
        if fault.number in self.tests:
            return 'covered'
        return fault.state if fault.state in ('waived', 'deferred') else 'open'

    def table(self, with_faults=False):
        """Printable lines: the counts of each section and, if asked, every fault with its tests."""
        if not self.faults:
            return
        yield 'faults  covered  waived  deferred  open   section'
        total = Counter()
        for section in dict.fromkeys(fault.section for fault in self.faults.values()):
            inside = [fault for fault in self.faults.values() if fault.section == section]
            counts = Counter(map(self.state_of, inside))
            total += counts
            yield self.row(counts, section)
            for fault in inside if with_faults else ():
                yield from self.details(fault)
        yield self.row(total, 'all')

    @staticmethod
    def row(counts, title):
        names = ('covered', 'waived', 'deferred', 'open')
        return '{:6}  {:7}  {:6}  {:8}  {:4}   {}'.format(
            sum(counts.values()), *(counts[name] for name in names), title)

    def details(self, fault):
        state = self.state_of(fault)
        note = f': {fault.note}' if fault.note else ''
        yield f'  {fault.number:3} {fault.title}' + (f' ({state}{note})' if state != 'covered'
                                                     else '')
        by_file = defaultdict(list)
        for path, line in self.tests.get(fault.number, ()):
            by_file[path].append(str(line))
        for path, lines in by_file.items():
            yield f'        {path}:{", ".join(lines)}'


def check(tree):
    """Findings: faults that nothing tests and nobody deferred, and names that do not fit."""
    yield from Catalogue(tree).findings
