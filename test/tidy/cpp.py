"""Just enough C++ for tidy: comments apart from code, and the declarations with their scopes.

It counts braces and looks at the words before them. It trusts clang-format's spacing (`{` of a
block has a space before it, `{` of an initialiser has none) and does not run the preprocessor.
"""

import re
from dataclasses import dataclass

TOKEN = re.compile(
    r'(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)'
    r'|(?P<string>R"(?P<mark>[^()\s\\]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*")'
    r"|(?P<digits>\b\d[\w.]*(?:'\w+)*)"
    r"|(?P<char>'(?:\\.|[^'\\\n])+')",
    re.DOTALL)
DIRECTIVE = re.compile(r'^[ \t]*#(?:\\\n|[^\n])*', re.MULTILINE)
SCOPE = re.compile(r'^(?:\w+\s+)*?(namespace|class|struct|union|enum|extern)\b'
                   r'(?:\s+(?:class|struct)\b)?\s*([\w:]+)?')
PARENS = r'\([^()]*(?:\([^()]*\)[^()]*)*\)'
WORDS_WITH_PARENS = re.compile(rf'\b(?:noexcept|decltype)\s*{PARENS}')
OPERATOR = r'[\w:]*\boperator\s*(?:\(\)|\[\]|[^\s\w(]+|[\w:&* ]+)'
ACCESS = re.compile(r'^\s*(public|protected|private)\s*:(?!:)')


@dataclass
class Scope:
    kind: str               # namespace, class, enum, function, inner
    name: str = ''
    access: str = 'public'


@dataclass
class Declaration:
    text: str               # one line, without comments, templates and attributes
    line: int               # where it starts, counted from 1
    last_line: int
    kind: str               # namespace, class, enum, function (with body) or other (`;`)
    scopes: tuple = ()      # (kind, name) from the outside in
    public: bool = True     # no private or protected part around it

    @property
    def length(self):
        return self.last_line - self.line + 1


def split(text):
    """Returns (code, comments): code keeps its lines but has comments and literals blanked;
    comments are (line, text), one for each line of a comment."""
    comments = []

    def blank(match):
        found = match.group()
        if match['digits']:
            return found
        if match['comment']:
            first = text.count('\n', 0, match.start()) + 1
            comments.extend(enumerate(found.split('\n'), first))
            return re.sub(r'[^\n]', ' ', found)
        quote = '"' if match['string'] else "'"
        return quote + re.sub(r'[^\n]', '_', found)[1:-1] + quote

    return TOKEN.sub(blank, text), comments


def without_angles(text):
    """Drops balanced <...>, so that `function<void(int)> f;` shows no parenthesis."""
    before = None
    while before != text:
        before, text = text, re.sub(r'(?<![<-])<[^<>;]*>(?!=)', '', text)
    return text


def balanced_end(text, at):
    """The index after the bracket that closes the one at `at`."""
    opening, depth = text[at], 0
    closing = {'<': '>', '(': ')'}[opening]
    for end in range(at, len(text)):
        depth += (text[end] == opening) - (text[end] == closing and text[end - 1] != '-')
        if depth == 0:
            return end + 1
    return len(text)


def constraint_end(text, at):
    """The index after a constraint such as `a<T> && !(b || c)`."""
    while match := re.compile(r'[\s!]*(?:[\w:]+\s*|(?=\())').match(text, at):
        at = match.end()
        if text[at:at + 1] in ('<', '('):
            at = balanced_end(text, at)
        if not (more := re.compile(r'[\w:]*\s*(?:&&|\|\|)').match(text, at)):
            break
        at = more.end()
    return at


def simplified(text):
    """A declaration on one line, without its template head, requires-clauses and attributes."""
    text = re.sub(r'\[\[.*?\]\]|\balignas\s*\([^)]*\)', ' ', text, flags=re.DOTALL)
    while match := re.search(r'\btemplate\s*(?=<)', text):
        text = text[:match.start()] + ' ' + text[balanced_end(text, match.end()):]
    if not re.match(r'\s*concept\b', text):
        while match := re.search(r'\brequires\b', text):
            text = text[:match.start()] + ' ' + text[constraint_end(text, match.end()):]
    return ' '.join(text.split())


def declarations(code):
    """Yields the declarations at namespace and class scope, each when it ends."""
    code = DIRECTIVE.sub(lambda m: re.sub(r'[^\n]', ' ', m.group()), code)
    stack, start, parens, line = [], 0, 0, 1
    open_blocks = []
    for at, char in enumerate(code):
        if char == '\n':
            line += 1
        elif char in '()':
            parens += 1 if char == '(' else -1
        elif char in '{;' and in_body(stack):
            if char == '{':
                stack.append(Scope('inner'))
        elif char == '{':
            kind, name = block_kind(code[start:at], parens)
            if kind == 'inner':
                stack.append(Scope(kind))
                continue
            found = declared(code[start:at], line, kind, stack)
            open_blocks.append((len(stack), found))
            is_class = re.search(r'\bclass\s', found.text)
            stack.append(Scope(kind, name, 'private' if is_class else 'public'))
            start = at + 1
        elif char == ';' and parens == 0:
            if code[start:at].strip():
                yield declared(code[start:at], line, 'other', stack)
            start = at + 1
        elif char == '}' and stack:
            ended = stack.pop()
            if ended.kind != 'inner':
                start = at + 1
                found = open_blocks.pop()[1]
                found.last_line = line
                yield found


def in_body(stack):
    return bool(stack) and stack[-1].kind in ('function', 'inner', 'enum')


def block_kind(before, parens):
    """What the brace after `before` opens."""
    text = without_angles(simplified(ACCESS.sub('', before)))
    scope = SCOPE.match(text)
    if parens > 0 or (before and not before[-1].isspace() and before[-1] != ')' and text):
        return 'inner', ''
    if scope and '(' not in text.split(scope[1])[0]:
        return ('namespace' if scope[1] == 'extern' else
                'class' if scope[1] in ('struct', 'union') else scope[1]), scope[2] or ''
    is_value = text.endswith(('=', ',', 'return')) or text.startswith('concept')
    if '(' in text and not is_value:
        return 'function', ''
    return 'inner', ''


def declared(text, end_line, kind, stack):
    """Makes a Declaration of the raw text, noting an access label in front of it."""
    while label := ACCESS.match(text):
        if stack and stack[-1].kind == 'class':
            stack[-1].access = label[1]
        text = text[label.end():]
    first_line = end_line - text.lstrip().count('\n')
    return Declaration(simplified(text), first_line, end_line, kind,
                       tuple((scope.kind, scope.name) for scope in stack),
                       all(scope.access == 'public' for scope in stack))


def function_name(text):
    """`tcp::close` of a function, `BOOST_AUTO_TEST_CASE(sends)` of a test macro, else None."""
    text = without_angles(WORDS_WITH_PARENS.sub(' ', text))
    macro = re.match(r'([A-Z][A-Z0-9_]+)\s*\(\s*(\w+)', text)
    if macro:
        return f'{macro[1]}({macro[2]})'
    match = re.search(rf'({OPERATOR}|[\w:~]+)\s*\(', text)
    if not match or '=' in text[:match.start()] or text[match.end():].startswith('*'):
        return None
    return ' '.join(match[1].split())
