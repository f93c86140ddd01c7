"""Which of the numbered rules the tests cover. A comment `// rule 7`, `// rules 7, 9` or
`// rules 7-9` in test/, or `# rule 7` in test/gdb/, covers them (on one line each);
docs/conformance.md waives or defers
others, one table row each: `| 51 | waived | why |`, `| 130-137 | deferred | why |`."""

import re
from collections import namedtuple

from cpp import split

Area = namedtuple('Area', 'letter first last title must')

TITLES = [     # letter, last rule, title
    ('A', 30, 'Loop life cycle and call_soon'),
    ('B', 47, 'Timers'),
    ('C', 70, 'Threads, executor, DNS'),
    ('D', 80, 'Exception handler and debug mode'),
    ('E', 97, 'Futures'),
    ('F', 128, 'Tasks and cancellation'),
    ('G', 137, 'Eager tasks'),
    ('H', 159, 'Task groups'),
    ('I', 174, 'Timeout scopes'),
    ('J', 214, 'wait_for, shield, gather, wait, as_completed, race'),
    ('K', 246, 'Locks, events, conditions, semaphores, barriers'),
    ('L', 261, 'Queues'),
    ('M', 292, 'Transport and protocol contract, flow control'),
    ('N', 310, 'Stream socket: reading'),
    ('O', 321, 'Buffered protocol reading'),
    ('P', 343, 'Stream socket: writing'),
    ('Q', 363, 'Half-close, close and abort'),
    ('R', 388, 'create_connection and happy eyeballs'),
    ('S', 430, 'create_server and server'),
    ('T', 443, 'Unix sockets'),
    ('U', 477, 'Datagram endpoints'),
    ('V', 496, 'Pipe transports'),
    ('W', 528, 'Subprocess transport'),
    ('X', 541, 'Process (high level)'),
    ('Y', 593, 'TLS'),
    ('Z', 626, 'Stream reader'),
    ('AA', 647, 'Stream writer, open_connection, start_server'),
    ('AB', 662, 'sendfile'),
    ('AC', 684, 'Low-level socket calls, readers and writers'),
    ('AD', 697, 'Signals'),
    ('AE', 713, 'Runner and run'),
    ('AF', 719, 'Introspection'),
    ('AG', 745, 'Completion engine and zero copy'),
]
MUST_BE_DECIDED = set('MNOPQ')     # a rule here without test, waiver or deferral is a finding

AREAS = []
for letter, last, title in TITLES:
    first = AREAS[-1].last + 1 if AREAS else 1
    AREAS.append(Area(letter, first, last, title, letter in MUST_BE_DECIDED))

RANGE = r'\d+(?:\s*[-–]\s*\d+)?'
NUMBERS = rf'{RANGE}(?:\s*(?:,|and|,\s*and)\s*{RANGE})*'
MENTION = re.compile(rf'\brules?\s+({NUMBERS})')
PYTHON_MENTION = re.compile(rf'^\s*#\s*rules?\s+({NUMBERS})')
ROW = re.compile(rf'^\|\s*({NUMBERS})\s*\|\s*(\w+)\s*\|(.*)\|\s*$')


def spans(text):
    """'7, 9-11' as ranges: 7, and 9 to 11."""
    for first, last in re.findall(r'(\d+)(?:\s*[-–]\s*(\d+))?', text):
        yield range(int(first), int(last or first) + 1)


def numbers(text):
    """'7, 9-11' as [7, 9, 10, 11]; None where a number is no rule."""
    found = []
    for span in spans(text):
        if not span or span[0] < 1 or span[-1] > AREAS[-1].last:
            return None
        found.extend(span)
    return found


class Coverage:
    """The state of every rule, with the complaints that came up while reading it."""

    def __init__(self, tree):
        self.covered, self.waived, self.deferred = {}, {}, {}
        self.findings = []
        for path in tree.under('test', '.cpp', '.hpp'):
            for line, comment in split(tree.text(path))[1]:
                for mention in MENTION.finditer(comment):
                    self.note(self.covered, mention[1], path, line)
        for path in tree.under('test/gdb', '.py'):
            for line, text in enumerate(tree.text(path).splitlines(), 1):
                if mention := PYTHON_MENTION.match(text):
                    self.note(self.covered, mention[1], path, line)
        path = 'docs/conformance.md'
        for line, text in enumerate(tree.text(path).splitlines(), 1):
            if row := ROW.match(text):
                self.read_row(row, path, line)
        for rule in sorted(self.covered.keys() & self.waived.keys()):
            test = self.covered[rule][0]
            path, line = self.waived[rule]
            self.findings.append((path, line, f'rule {rule} is waived but tested in {test}'))

    def read_row(self, row, path, line):
        target = {'waived': self.waived, 'deferred': self.deferred}.get(row[2])
        if target is None:
            self.findings.append((path, line, f'`{row[2]}`: a rule is `waived` or `deferred`'))
        elif not row[3].strip():
            self.findings.append((path, line, f'rule {row[1]} is {row[2]} without a reason'))
        else:
            self.note(target, row[1], path, line)

    def note(self, target, text, path, line):
        found = numbers(text)
        if found is None:
            last = AREAS[-1].last
            self.findings.append((path, line, f'`{text}` is no rule: they run from 1 to {last}'))
        for rule in found or ():
            target.setdefault(rule, (path, line))

    def open_rules(self, area):
        decided = self.covered.keys() | self.waived.keys() | self.deferred.keys()
        return [rule for rule in range(area.first, area.last + 1) if rule not in decided]

    def table(self, with_rules=False):
        """Printable lines: the counts of each area and, if asked, the uncovered rules."""
        yield 'rules  covered  waived  deferred  open   area'
        total = [0, 0, 0, 0]
        for area in AREAS:
            inside = range(area.first, area.last + 1)
            left = self.open_rules(area)
            covered = sum(rule in self.covered for rule in inside)
            waived = sum(rule in self.waived and rule not in self.covered for rule in inside)
            counts = [covered, waived, len(inside) - covered - waived - len(left), len(left)]
            total = [a + b for a, b in zip(total, counts)]
            title = f'{area.letter:2} {area.title} ({area.first}-{area.last})'
            yield self.row(len(inside), counts, title)
            if with_rules and left:
                yield f'         open: {ranges(left)}'
        yield self.row(AREAS[-1].last, total, 'all')

    @staticmethod
    def row(rules, counts, title):
        return '{:5}  {:7}  {:6}  {:8}  {:4}   {}'.format(rules, *counts, title)


def ranges(rules):
    """[1, 2, 3, 7] as '1-3, 7'."""
    runs = []
    for rule in rules:
        if runs and rule == runs[-1][1] + 1:
            runs[-1][1] = rule
        else:
            runs.append([rule, rule])
    return ', '.join(str(low) if low == high else f'{low}-{high}' for low, high in runs)


def check(tree):
    """Findings: wrong rule numbers, and undecided rules in the areas that must be decided."""
    coverage = Coverage(tree)
    yield from coverage.findings
    for area in AREAS:
        if area.must and (left := coverage.open_rules(area)):
            yield ('docs/conformance.md', 0,
                   f'area {area.letter} ({area.title}): rules {ranges(left)} have neither a test '
                   '(`// rule N`) nor a row here (waived or deferred, with the reason)')
