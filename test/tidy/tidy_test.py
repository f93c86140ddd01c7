#!/usr/bin/env python3
"""Tests of tidy.py: for each check a small tree that breaks it and one that does not."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))
import cpp      # noqa: E402
import faults   # noqa: E402
import rules    # noqa: E402
import tidy     # noqa: E402

HEADER = 'net/include/ouro/net/tcp.hpp'


class TreeTest(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for path, text in files.items():
            file = Path(folder.name, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tidy.Tree(folder.name)

    def found(self, check, files):
        return [(path, line) for path, line, _ in check(self.tree(files))]

    def clean(self, check, files):
        self.assertEqual([], list(check(self.tree(files))))


class Width(TreeTest):
    def test_line_of_101_columns_is_found(self):
        self.assertEqual([('a.cpp', 2)], self.found(tidy.check_width, {'a.cpp': '\n' + 'x' * 101}))

    def test_line_of_100_columns_and_long_address_pass(self):
        self.clean(tidy.check_width, {'a.cpp': 'x' * 100 + '\n// https://' + 'x' * 100})


class Sizes(TreeTest):
    LONG = 'void f() {\n' + 'g();\n' * 80 + '}\n'

    def ratchet(self, **entries):
        return {'net/src/a.cpp': self.LONG, tidy.RATCHET: json.dumps(entries)}

    def test_long_file_is_found_and_tests_may_be_longer(self):
        text = '\n' * 601
        self.assertEqual([('net/src/a.cpp', 0)],
                         self.found(tidy.check_sizes, {'net/src/a.cpp': text, 'test/a.cpp': text}))

    def test_long_function_is_found(self):
        self.assertEqual([('net/src/a.cpp', 1)], self.found(tidy.check_sizes, self.ratchet()))

    def test_function_on_the_ratchet_passes_until_it_grows(self):
        self.clean(tidy.check_sizes, self.ratchet(**{'net/src/a.cpp: f': 82}))
        self.assertEqual([('net/src/a.cpp', 1)],
                         self.found(tidy.check_sizes, self.ratchet(**{'net/src/a.cpp: f': 81})))

    def test_ratchet_is_lowered_never_raised(self):
        for before, after in ((90, 82), (75, 75)):
            tree = self.tree(self.ratchet(**{'net/src/a.cpp: f': before, 'gone.cpp': 700}))
            with contextlib.redirect_stdout(io.StringIO()):
                tidy.lower_ratchet(tree)
            written = json.loads(Path(tree.root, tidy.RATCHET).read_text())
            self.assertEqual({'net/src/a.cpp: f': after}, written)


class Includes(TreeTest):
    def test_liburing_outside_its_room_is_found(self):
        files = {'net/src/a.cpp': '#include <liburing.h>',
                 'examples/a.cpp': '# include "liburing.h"'}
        self.assertEqual([('examples/a.cpp', 1), ('net/src/a.cpp', 1)],
                         self.found(tidy.check_liburing, files))

    def test_liburing_in_its_room_and_in_bench_passes(self):
        self.clean(tidy.check_liburing, {'runtime/src/uring/ring.cpp': '#include <liburing.h>',
                                         'bench/raw.cpp': '#include <liburing.h>',
                                         'net/src/a.cpp': '// not `#include <liburing.h>`'})

    # fault 76
    def test_the_clock_of_the_day_is_found(self):
        files = {'net/src/a.cpp': 'auto now = std::chrono::system_clock::now();\n',
                 HEADER: '::clock_gettime(CLOCK_REALTIME, &now);'}
        self.assertEqual([(HEADER, 1), ('net/src/a.cpp', 1)],
                         sorted(self.found(tidy.check_clock, files)))
        self.clean(tidy.check_clock, {'net/src/a.cpp': 'auto now = steady_clock::now();',
                                      'bench/a.cpp': 'system_clock::now()'})

    def test_upward_and_umbrella_includes_are_found(self):
        files = {'net/src/a.cpp': '#include <ouro/net/a.hpp>\n#include <ouro/proto/b.hpp>\n',
                 'streams/src/b.cpp': '#include <ouro/ouro.hpp>\n',
                 HEADER: '#include "detail.hpp"'}
        self.assertEqual({('net/src/a.cpp', 2), ('streams/src/b.cpp', 1), (HEADER, 1)},
                         set(self.found(tidy.check_layers, files)))

    def test_downward_includes_pass(self):
        self.clean(tidy.check_layers, {
            'proto/src/a.cpp': '#include "a.hpp"\n#include <ouro/net/b.hpp>\n#include <vector>',
            'streams/include/ouro/ouro.hpp': '#include <ouro/runtime/task.hpp>',
            'test/net/a_test.cpp': '#include <ouro/proto/b.hpp>'})


class Preprocessor(TreeTest):
    def test_macros_and_conditions_and_missing_pragma_are_found(self):
        files = {'net/src/a.cpp': '#if A\n#endif\n  #  define B\n', HEADER: '// No pragma.\n'}
        self.assertEqual({('net/src/a.cpp', 1), ('net/src/a.cpp', 3), (HEADER, 1)},
                         set(self.found(tidy.check_preprocessor, files)))

    def test_rooms_and_tests_may(self):
        self.clean(tidy.check_preprocessor, {
            'runtime/include/ouro/runtime/assert.hpp': '#pragma once\n#define OURO_ASSERT(x)',
            'runtime/src/uring/setup.cpp': '#ifdef X\n#endif', 'test/a.cpp': '#if A\n#endif'})


class MirrorTests(TreeTest):
    def test_header_without_test_is_found(self):
        self.assertEqual([(HEADER, 0)], self.found(tidy.check_mirror_tests, {HEADER: ''}))

    def test_other_first_include_is_found(self):
        test = 'test/net/tcp_test.cpp'
        files = {HEADER: '', test: '#include <vector>\n#include <ouro/net/tcp.hpp>'}
        self.assertEqual([(test, 1)], self.found(tidy.check_mirror_tests, files))

    def test_header_with_test_passes_and_detail_needs_none(self):
        self.clean(tidy.check_mirror_tests, {
            HEADER: '', 'test/net/tcp_test.cpp': '// Why.\n#include <ouro/net/tcp.hpp>\n',
            'net/include/ouro/net/detail/part.hpp': ''})


class DocComments(TreeTest):
    def lines(self, body):
        found = self.found(tidy.check_doc_comments, {HEADER: f'namespace ouro {{\n{body}\n}}'})
        return [line - 1 for _, line in found]

    def test_bare_class_function_and_member_are_found(self):
        self.assertEqual([1], self.lines('class a {};'))
        self.assertEqual([1], self.lines('void f(int a = {});'))
        self.assertEqual([1], self.lines('template <class T>\n    requires x<T>\nT f(T) {}'))
        self.assertEqual([3], self.lines('/// A.\nstruct a {\n    void f();\n};'))
        self.assertEqual([4], self.lines('/// A.\nclass a {\n  public:\n    void f() const {}\n};'))

    def test_ordinary_comment_is_no_doc_comment(self):
        self.assertEqual([2], self.lines('// A.\nclass a {};'))

    def test_group_needs_one_comment_and_empty_line_ends_it(self):
        self.assertEqual([], self.lines('/// Both.\nint f();\nint g(\n    int);'))
        self.assertEqual([4], self.lines('/// One.\nint f();\n\nint g();'))

    def test_documented_and_exempt_declarations_pass(self):
        self.assertEqual([], self.lines(
            '/// A.\n[[nodiscard]] int f();\nclass forward;\nusing t = int(*)();\n'
            'concept c = requires { 1; };\n'
            'inline constexpr int n = g();\n'
            '/// B.\nclass b : public a {\n    void hidden();\n  public:\n    b() = default;\n\n'
            '    explicit b(int x) : x_{x} {}\n\n    ~b();\n\n    void h() override;\n\n'
            '    bool await_ready();\n\n    b& operator=(b&&);\n\n    function<void(int)> call;\n\n'
            '    int x_ = 1;\n  private:\n    void g();\n};'))

    def test_detail_is_private(self):
        self.clean(tidy.check_doc_comments, {HEADER: 'namespace ouro::detail { void f(); }'})


class PlanSpeak(TreeTest):
    def test_plans_history_and_bare_todo_are_found(self):
        for words in ('TODO: more', 'Phase 2', 'fixed later', 'not yet supported', 'for now',
                      'since 2024-05-01', 'March 2024'):
            files = {'a.cpp': f'int a; // {words}'}
            self.assertEqual([('a.cpp', 1)], self.found(tidy.check_plan_speak, files), words)

    def test_present_tense_and_strings_pass(self):
        self.clean(tidy.check_plan_speak, {
            'a.cpp': '// TODO(#12): more. Queued first and run later; later than 3 s. A phase.\n'
                     'auto s = "TODO // Phase 2";'})


class ReadmeCode(TreeTest):
    README = '# x\n<!-- file: examples/01.cpp -->\n```cpp\nint main() {}\n```\n'

    def test_different_and_missing_file_are_found(self):
        for example in ({}, {'examples/01.cpp': 'int main() { }\n'}):
            files = {'README.md': self.README, **example}
            self.assertEqual([('README.md', 2)], self.found(tidy.check_readme_code, files))

    def test_equal_file_passes(self):
        self.clean(tidy.check_readme_code, {'README.md': self.README + '```\nother\n```\n',
                                            'examples/01.cpp': 'int main() {}\n'})


class Rules(TreeTest):
    CONFORMANCE = '| 262-363 | deferred | no transports here |\n'

    def check(self, test='', conformance=CONFORMANCE):
        files = {'test/net/a_test.cpp': test, 'docs/conformance.md': conformance}
        return self.found(rules.check, files)

    def test_undecided_rule_is_found_where_it_must_be_decided(self):
        but_one = '| 262-362 | deferred | no |'
        self.assertEqual([('docs/conformance.md', 0)] * 5, self.check('', ''))
        self.assertEqual([('docs/conformance.md', 0)], self.check('', but_one))
        self.assertEqual([], self.check('// rule 363', but_one))

    def test_wrong_rows_and_numbers_are_found(self):
        for row in ('| 1 | skipped | why |', '| 1 | waived |  |', '| 746 | waived | why |',
                    '| 9-7 | waived | why |'):
            found = self.check('', self.CONFORMANCE + row)
            self.assertEqual([('docs/conformance.md', 2)], found, row)
        self.assertEqual([('test/net/a_test.cpp', 1)], self.check('// rule 0'))

    def test_waived_rule_with_test_is_found(self):
        self.assertEqual([('docs/conformance.md', 2)],
                         self.check('// rule 7', self.CONFORMANCE + '| 7 | waived | why |'))

    def test_mentions_are_read_from_comments_only(self):
        tree = self.tree({'test/a_test.cpp': '// rule 1\nf(); // rules 3, 5-7 and 9: x\n'
                                             'auto s = "// rule 2";\n'
                                             '/* Rule 4; rule 10\n rules 12–13 */'})
        self.assertEqual([1, 3, 5, 6, 7, 9, 10, 12, 13], sorted(rules.Coverage(tree).covered))

    def test_table_adds_up_and_lists_open_rules(self):
        tree = self.tree({'test/a_test.cpp': '// rules 1-3',
                          'docs/conformance.md': '| 5 | waived | why |'})
        lines = list(rules.Coverage(tree).table(with_rules=True))
        self.assertEqual('30 3 1 0 26 A', ' '.join(lines[1].split()[:6]))
        self.assertEqual('open: 4, 6-30', lines[2].strip())
        self.assertEqual('745 3 1 0 741 all', ' '.join(lines[-1].split()))

    def test_areas_follow_each_other(self):
        self.assertEqual(1, rules.AREAS[0].first)
        self.assertEqual(745, rules.AREAS[-1].last)
        self.assertTrue(all(area.first <= area.last for area in rules.AREAS))


class Faults(TreeTest):
    CATALOGUE = ('## Ring\n\n| 1 | short | tests | |\n| 2 | zero copy | deferred | none |\n'
                 '## Peers\n| 3 | TLS | waived | no |\n| 4 | reset | tests | a note |\n')
    TESTED = '// fault 1\n// faults 4: both sorts\n'
    TABLE = """faults  covered  waived  deferred  open   section
     2        1       0         1     0   Ring
    1 short
        test/a_test.cpp:1, 3
    2 zero copy (deferred: none)
     2        0       1         0     1   Peers
    3 TLS (waived: no)
    4 reset (open: a note)
     4        1       1         1     1   all"""

    def check(self, test, catalogue=CATALOGUE, path='test/net/a_test.cpp'):
        return self.found(faults.check, {path: test, 'docs/faults.md': catalogue})

    def test_fault_without_test_is_found(self):
        self.assertEqual([], self.check(self.TESTED))
        self.assertEqual([], self.check('// rules 7-9, fault 1\n/* faults 4 */'))
        self.assertEqual([('docs/faults.md', 7)], self.check('// fault 1'))

    def test_unknown_number_is_found_at_the_test(self):
        self.assertEqual([('test/net/a_test.cpp', 3)], self.check(self.TESTED + '// faults 1, 5'))

    def test_tested_but_deferred_or_waived_is_found(self):
        self.assertEqual([('docs/faults.md', 4), ('docs/faults.md', 6)],
                         self.check(self.TESTED + '// faults 2-3'))

    def test_wrong_rows_are_found(self):
        for row in ('| 5 | x | open | why |', '| 5 | x | deferred | |', '| 1 | x | tests | |'):
            self.assertEqual([('docs/faults.md', 8)],
                             self.check(self.TESTED, self.CATALOGUE + row), row)

    def test_only_a_comment_that_begins_with_it_counts(self):
        for text in ('// see fault 4', 'auto s = "// fault 4";', '// default 4', '// fault of 4'):
            self.assertEqual([('docs/faults.md', 7)], self.check('// fault 1\n' + text), text)

    def test_python_and_examples_count_too(self):
        python = 'f("# fault 9")  # faults 1, 4: both\n'
        self.assertEqual([], self.check(python, path='test/a.py'))
        self.assertEqual([('test/a.py', 1)], self.check('# fault 9', '', 'test/a.py'))
        self.assertEqual([], self.check(self.TESTED, path='examples/a/b_test.cpp'))
        self.assertEqual(2, len(self.check(self.TESTED, path='runtime/src/a.cpp')))

    def test_table_adds_up_and_lists_tests(self):
        tree = self.tree({'test/a_test.cpp': '// fault 1\n\n// fault 1',
                          'docs/faults.md': self.CATALOGUE})
        self.assertEqual(self.TABLE, '\n'.join(faults.Catalogue(tree).table(with_faults=True)))

    def test_a_tree_without_catalogue_has_no_table(self):
        self.assertEqual([], list(faults.Catalogue(self.tree({'a.cpp': ''})).table()))


class Budget(TreeTest):
    def test_fat_and_broken_headers_are_found(self):
        fat = self.found(tidy.check_budget, {HEADER: '\n\nint a;\n' * 30_000})
        broken = self.found(tidy.check_budget, {HEADER: '#include <no/such/file.hpp>'})
        self.assertEqual([[(HEADER, 0)]] * 2, [fat, broken])

    def test_thin_header_passes(self):
        self.clean(tidy.check_budget, {HEADER: '#include <cstddef>\n'})


class Scanner(unittest.TestCase):
    def functions(self, text):
        found = [d for d in cpp.declarations(cpp.split(text)[0]) if d.kind == 'function']
        return [(cpp.function_name(d.text), d.line, d.last_line) for d in found]

    def test_functions_with_their_lines(self):
        text = '''#define X {
namespace n {
a::a(int x) noexcept(noexcept(f(x)))
    : b{x}, c{} {
    if (x) { g([] { return '}'; }); }
}
bool operator==(a, b) { return R"({)" != "{"; }
template <class T = f<int>>
    requires(c<T> && !d<T>)
auto h() -> std::vector<int> {
}
}
BOOST_AUTO_TEST_CASE(sends_all) {
    struct local { void inner() {} };
}
int value{3};
constexpr int big = 1'000;
auto table = std::array{f(1), f(2)};
'''
        self.assertEqual([('a::a', 3, 6), ('operator==', 7, 7), ('h', 8, 11),
                          ('BOOST_AUTO_TEST_CASE(sends_all)', 13, 15)], self.functions(text))


class Main(TreeTest):
    def test_exit_code_tells_and_summary_counts(self):
        for text, code, summary in (('// fine\n', 0, 'tidy: 0 findings in 2 files'),
                                    ('x' * 101, 1, 'tidy: 1 findings in 2 files')):
            tree = self.tree({'examples/a.cpp': text, 'docs/conformance.md': Rules.CONFORMANCE})
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.assertEqual(code, tidy.main(['--root', str(tree.root)]))
            self.assertEqual(summary, out.getvalue().splitlines()[-1])


if __name__ == '__main__':
    unittest.main()
