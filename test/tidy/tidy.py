#!/usr/bin/env python3
"""House rules as a test: `python3 test/tidy/tidy.py` prints what breaks them and exits 1.

  --rules            also list the uncovered rules
  --faults           also list the faults, each with the tests that name it
  --lower-ratchet    write shrunk sizes into ratchet.json (growth is never written)
  --budget           also preprocess every public header and check its size (CI)
  --root DIR         another tree

Each check is a function below that takes the tree and yields (path, line, message); tidy_test.py
has a tree that breaks it and one that does not. CONTRIBUTING.md has the rules in words.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import cpp      # noqa: E402
import faults   # noqa: E402
import rules    # noqa: E402

LAYERS = ['runtime', 'net', 'proto', 'streams']
FOLDERS = LAYERS + ['test', 'tools', 'bench', 'examples', 'cmake', 'docs', 'changes']
CPP = ('.cpp', '.hpp')
WIDE_TEXT = CPP + ('.py', '.cmake', '.txt', '.in', '.sh')
MAX_WIDTH = 100
MAX_FILE_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES = 600, 800, 70
BUDGET, UMBRELLA_BUDGET = 90_000, 100_000
RATCHET = 'test/tidy/ratchet.json'
PREPROCESSOR_ROOMS = ('runtime/src/uring/', 'assert.hpp', 'result.hpp', 'checks.hpp', 'version.hpp')
NO_PLANS, NO_HISTORY = 'say what is, not what will be', 'history belongs in the commit message'
MONTH = '(January|February|March|April|May|June|July|August|September|October|November|December)'
PLAN_SPEAK = [
    (r'\b(TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))', 'write TODO(#12): what; the number is an issue'),
    (r'\bPhase\b|\b(phase|stage|milestone) \d', NO_PLANS),
    (r'\b(for now|coming soon|roadmap|work in progress|WIP)\b', NO_PLANS),
    (r'\bnot (yet|currently) (implemented|supported)\b', NO_PLANS),
    (r'\bin (a|the) (next|future) (version|release)\b', NO_PLANS),
    (r'\b(will be|until|do|done|added|comes?|fixed|supported|implemented) (it )?later\b(?! than)',
     NO_PLANS),
    (rf'\b20\d\d-\d\d(-\d\d)?\b|\b{MONTH} 20\d\d\b', NO_HISTORY),
]
# Members every C++ reader knows; they need no sentence of their own.
NO_DOC = re.compile(r'^(await_\w+|operator.*|get_return_object|initial_suspend|final_suspend'
                    r'|unhandled_exception|return_value|return_void|begin|end|size|empty|get|swap'
                    r'|[A-Z][A-Z0-9_]*\(.*)$')
NO_DOC_TEXT = re.compile(r'^(using|typedef|friend|static_assert|extern)\b'
                         r'|=\s*(delete|default)$|\boverride\b')


class Tree:
    """The files of one checkout, each read once."""

    def __init__(self, root):
        self.root = Path(root)
        self._texts = {}

    @cached_property
    def files(self):
        found = [p.name for p in self.root.iterdir() if p.is_file()]
        for folder in FOLDERS:
            for where, _, names in os.walk(self.root / folder):
                found += [str((Path(where) / name).relative_to(self.root)) for name in names]
        return sorted(path for path in found if '__pycache__' not in path)

    def under(self, folder, *suffixes):
        return [p for p in self.files if p.startswith(folder) and p.endswith(suffixes)]

    def text(self, path):
        if path not in self._texts:
            file = self.root / path
            self._texts[path] = file.read_text(errors='replace') if file.exists() else ''
        return self._texts[path]

    @cached_property
    def library(self):
        return [p for layer in LAYERS for p in self.under(layer + '/', *CPP)]

    @cached_property
    def public_headers(self):
        """(layer, path below its include root) without the umbrella and detail/."""
        found = []
        for layer in LAYERS:
            start = f'{layer}/include/'
            found += [(layer, p[len(start):]) for p in self.under(f'{start}ouro/{layer}/', '.hpp')
                      if '/detail/' not in p]
        return found

    @cached_property
    def ratchet(self):
        return json.loads(self.text(RATCHET) or '{}')


def lines_matching(text, pattern):
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.search(pattern, line):
            yield number, match


# ---- the checks


def check_width(tree):
    for path in tree.under('', *WIDE_TEXT):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if len(line) > MAX_WIDTH and '://' not in line:
                yield path, number, f'{len(line)} columns; the limit is {MAX_WIDTH}'


def sizes(tree):
    """Yields (path, line, key, size, limit) of every file and function of ours."""
    for path in tree.under('', *CPP):
        text = tree.text(path)
        limit = MAX_TEST_LINES if path.startswith('test/') else MAX_FILE_LINES
        yield path, 0, path, len(text.splitlines()), limit
        for found in cpp.declarations(cpp.split(text)[0]):
            if found.kind == 'function':
                name = cpp.function_name(found.text) or found.text[:40]
                yield path, found.line, f'{path}: {name}', found.length, MAX_FUNCTION_LINES


def check_sizes(tree):
    for path, line, key, size, limit in sizes(tree):
        allowed = tree.ratchet.get(key)
        if allowed and size > max(allowed, limit):
            yield path, line, f'{key} grew from {allowed} to {size} lines; it may only shrink'
        elif not allowed and size > limit:
            yield path, line, f'{key} has {size} lines; the limit is {limit}'


def check_liburing(tree):
    for path in tree.under('', *CPP):
        if not path.startswith(('runtime/src/uring/', 'bench/')):
            for number, _ in lines_matching(tree.text(path), r'^\s*#\s*include\s*[<"]liburing'):
                yield path, number, 'only runtime/src/uring/ and bench/ may include liburing'


def check_clock(tree):
    """Whoever sets the clock of the day changes nothing for a program that uses ouro."""
    of_the_day = r'\b(system_clock|CLOCK_REALTIME|gettimeofday|localtime|time\(nullptr\))'
    for path in tree.library:
        for number, match in lines_matching(tree.text(path), of_the_day):
            yield path, number, f'{match[1]}: a library asks no clock that somebody may set'


def check_layers(tree):
    for path in tree.library:
        layer = LAYERS.index(path.split('/')[0])
        include = r'^\s*#\s*include\s*[<"](ouro/(\w+)[/.][^>"]*)'
        for number, match in lines_matching(tree.text(path), include):
            if match[2] in LAYERS[layer + 1:]:
                yield path, number, f'{LAYERS[layer]} is below {match[2]}: it cannot use {match[1]}'
            if match[2] == 'ouro' and path != 'streams/include/ouro/ouro.hpp':
                yield path, number, 'the umbrella is for users; include what is used'
        if '/include/' in path:
            for number, _ in lines_matching(tree.text(path), r'^\s*#\s*include\s*"'):
                yield path, number, 'public headers include <ouro/...>; quotes are for src/'


def check_preprocessor(tree):
    for path in tree.library:
        if not any(room in path for room in PREPROCESSOR_ROOMS):
            directive = r'^\s*#\s*(if|ifdef|ifndef|define)\b'
            for number, match in lines_matching(tree.text(path), directive):
                yield path, number, f'#{match[1]} outside {", ".join(PREPROCESSOR_ROOMS)}'
        if path.endswith('.hpp') and '#pragma once' not in tree.text(path):
            yield path, 1, 'no #pragma once'


def check_mirror_tests(tree):
    for layer, header in tree.public_headers:
        inner = header.split('/', 2)[2]
        test = f'test/{layer}/{inner[:-4]}_test.cpp'
        first = re.search(r'^\s*#\s*include\s*(\S+)', tree.text(test), re.MULTILINE)
        if test not in tree.files:
            yield f'{layer}/include/{header}', 0, f'has no test; expected {test}'
        elif not first or first[1] != f'<{header}>':
            yield test, 1, f'the first include must be <{header}>: it has to stand alone'


def wants_doc(found):
    """Whether users need a sentence on this declaration: see check_doc_comments."""
    spaces = [name for kind, name in found.scopes if kind == 'namespace']
    if not found.public or not spaces or 'detail' in '::'.join(spaces).split('::'):
        return False
    if found.kind == 'class':
        return True
    if found.kind not in ('function', 'other') or NO_DOC_TEXT.search(found.text):
        return False
    name = cpp.function_name(found.text)
    kind, owner = found.scopes[-1]
    owner = owner.split('::')[-1] if kind == 'class' else None
    return bool(name) and not NO_DOC.match(name) and name.lstrip('~') != owner and '::' not in name


def check_doc_comments(tree):
    """Public classes, free functions and public member functions have `///` right above or beside
    them; of declarations without an empty line between them only the first needs it.

    Not asked of detail namespaces and folders, constructors, destructors, operators, overrides,
    defaulted, deleted and await_* members, forward declarations, data and aliases. Whether the
    sentence is any good is for the reader to say.
    """
    for layer, header in tree.public_headers:
        path = f'{layer}/include/{header}'
        code, comments = cpp.split(tree.text(path))
        documented = {number for number, comment in comments if comment.startswith('///')}
        covered_until = set()
        for found in sorted(cpp.declarations(code), key=lambda d: d.line):
            first = found.line
            has_doc = {first - 1, first} & documented or first - 1 in covered_until
            if has_doc and found.kind != 'class':
                covered_until.add(found.last_line)
            if wants_doc(found) and not has_doc:
                yield path, first, f'no /// above `{found.text[:60]}`'


def check_plan_speak(tree):
    for path in tree.under('', *CPP):
        for number, comment in cpp.split(tree.text(path))[1]:
            for pattern, advice in PLAN_SPEAK:
                if match := re.search(pattern, comment):
                    yield path, number, f'`{match[0]}` in a comment: {advice}'


def check_readme_code(tree):
    for path in tree.under('', '.md'):
        text = tree.text(path)
        for match in re.finditer(r'<!-- file: (\S+) -->\s*```\w*\n(.*?)```', text, re.DOTALL):
            number = text.count('\n', 0, match.start()) + 1
            if match[1] not in tree.files:
                yield path, number, f'shows {match[1]}, which does not exist'
            elif tree.text(match[1]).strip() != match[2].strip():
                yield path, number, f'shows a different {match[1]} than the one that is compiled'


def check_budget(tree):
    compiler = shutil.which('clang++-19') or shutil.which('clang++')
    if not compiler:
        yield 'test/tidy/tidy.py', 0, '--budget needs clang++-19'
        return
    includes = [f'-I{tree.root / layer / "include"}' for layer in LAYERS]

    def preprocessed(header):
        command = [compiler, '-std=c++20', '-E', '-x', 'c++', *includes, str(tree.root / header)]
        return subprocess.run(command, capture_output=True, text=True)

    headers = [f'{layer}/include/{header}' for layer, header in tree.public_headers]
    headers += tree.under('streams/include/ouro/ouro.hpp')
    with ThreadPoolExecutor(2) as pool:
        for header, result in zip(headers, pool.map(preprocessed, headers)):
            size = result.stdout.count('\n')
            limit = UMBRELLA_BUDGET if header.endswith('/ouro.hpp') else BUDGET
            if result.returncode != 0:
                yield header, 0, 'does not compile alone: ' + result.stderr.split('\n')[0]
            elif size > limit:
                yield header, 0, f'{size} preprocessed lines; the budget is {limit}'


CHECKS = [check_width, check_sizes, check_liburing, check_clock, check_layers, check_preprocessor,
          check_mirror_tests, check_doc_comments, check_plan_speak, check_readme_code, rules.check,
          faults.check]


def lower_ratchet(tree):
    now = {key: size for _, _, key, size, limit in sizes(tree) if size > limit}
    kept = {key: min(now[key], allowed) for key, allowed in tree.ratchet.items() if key in now}
    (tree.root / RATCHET).write_text(json.dumps(kept, indent=4, sort_keys=True) + '\n')
    print(f'{RATCHET}: {len(kept)} entries, {len(tree.ratchet) - len(kept)} dropped')


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--root', default=Path(__file__).resolve().parents[2])
    for flag in ('--rules', '--faults', '--lower-ratchet', '--budget'):
        parser.add_argument(flag, action='store_true')
    options = parser.parse_args(arguments)
    tree = Tree(options.root)
    if options.lower_ratchet:
        lower_ratchet(tree)
        return 0
    findings = [f for check in CHECKS + [check_budget] * options.budget for f in check(tree)]
    for table in (rules.Coverage(tree).table(options.rules),
                  faults.Catalogue(tree).table(options.faults)):
        print('\n'.join(table), end='\n\n')
    for path, line, message in findings:
        print(f'{path}:{line}: {message}' if line else f'{path}: {message}')
    print(f'tidy: {len(findings)} findings in {len(tree.files)} files')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
