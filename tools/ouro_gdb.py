"""gdb commands that show the tasks of ouro programs, in live processes and in core files.

    (gdb) source tools/ouro_gdb.py
    (gdb) ouro tasks          every task of every loop: what it waits in, its lines, who waits
    (gdb) ouro bt NAME        the chain of awaits of one task, innermost first; NAME is a number, a
                              name, or nothing: the task that runs in the selected thread

Reads memory only: nothing of the program is called or changed. Needs the debug information of
ouro's own sources.
"""

import re
import time

import gdb

MOST = 1_000_000  # elements of any list; damaged memory must not make an endless one


def lookup(name):
    try:
        return gdb.lookup_type(name)
    except gdb.error:
        raise gdb.GdbError(f'no debug information for {name}: build ouro with -g, and start gdb '
                           'with the program or its core file')


def pointer_to(name):
    return lookup('ouro::detail::' + name).pointer()


def chain(first, step):
    """`first`, then what `step` gives, until it is null or comes round."""
    seen = set()
    while int(first) and int(first) not in seen and len(seen) < MOST:
        seen.add(int(first))
        yield first
        first = step(first)


def elements(ring, kind):
    """The elements of an intrusive list, as `kind` pointers."""
    head = ring['head_'].address
    for link in chain(head['next'], lambda each: each['next']):
        if int(link) == int(head):
            return
        yield link.cast(kind)


def text_of(string):
    length = int(string['_M_string_length'])
    return string['_M_dataplus']['_M_p'].string('utf-8', 'replace', length=length)


FOREVER = 2**63 - 1


def ticks(time):
    """A `time_point` in nanoseconds."""
    return int(time['__d']['__r'])


def length(nanoseconds):
    """As in the dumps of ouro itself: "350 ms", "3.2 s", "4 min 5 s"."""
    ms = max(0, nanoseconds) // 1_000_000
    if ms < 1000:
        return f'{ms} ms'
    if ms < 60_000:
        return f'{ms // 1000}.{ms // 100 % 10} s'
    s = ms // 1000
    return f'{s // 60} min {s % 60} s' if s < 3600 else f'{s // 3600} h {s // 60 % 60} min'


def now_of(state):
    """The loop's clock, or 0 where it cannot be read: in core files and in simulations."""
    connection = getattr(gdb.selected_inferior(), 'connection', None)
    live = connection and connection.type == 'native'
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) if live and not int(state['rig']) else 0


def short_function_name(function):
    """As `ouro::short_function_name`."""
    text = function.split(' [')[0]
    for what, shorter in (('(anonymous namespace)::', ''), ('{anonymous}::', ''),
                          ('(anonymous class)::operator()', 'lambda'),
                          ('(anonymous class)', 'lambda'), ('<lambda', 'lambda<')):
        text = text.replace(what, shorter)
    name, depth = '', 0
    for c in text.replace('operator()', 'operator_call'):
        depth += c in '(<'
        name += c if depth == 0 else ''
        depth -= c in ')>' and depth > 0
    name = re.sub(r'( const| volatile| noexcept| &&?)*$', '', name)
    return name.split(' ')[-1].lstrip('&*').replace('operator_call', 'operator()') or function


class Place:
    """A `std::source_location`."""

    def __init__(self, location):
        impl = location['_M_impl']
        self.line = int(impl['_M_line']) if int(impl) else 0
        if self.line:
            self.file = impl['_M_file_name'].string()
            self.function = impl['_M_function_name'].string()

    def __str__(self):
        return f'{self.file.split("/")[-1]}:{self.line}'


class Frame:
    """A suspended coroutine and the place where it awaits."""

    def __init__(self, promise):
        self.address = int(promise['self']['_M_fr_ptr'])
        self.place = Place(promise['where'])
        name = short_function_name(getattr(self.place, 'function', ''))
        self.own = name.startswith(('ouro::detail::', 'ouro::task_group::leave'))

    def __str__(self):
        return f'{short_function_name(self.place.function)} at {self.place}'


# ---- what is waited for


def describe_socket(wait):
    return f'fd {int(wait["use_"]["target"]["fd"])}'


def describe_stream(wait):
    if not int(wait['core_']):
        return ''
    link = wait['core_']['link_']['_M_ptr']
    if not int(link):
        return ''
    transport = link.dereference()
    return f'fd {int(transport.cast(transport.dynamic_type)["fd_"])}'


def describe_join(wait):
    return Task(wait['target_']).name


# By the variable that holds the kind: (the type of its waits, what to say of one).
WAITS = {
    'recv_kind': ('recv_op', describe_socket),
    'send_kind': ('send_op', describe_socket),
    'accept_kind': ('accept_op', describe_socket),
    'connect_kind': ('connect_op', describe_socket),
    'join_kind': ('join_wait', describe_join),
    'shield_kind': ('join_wait', describe_join),
    'read_kind': ('read_wait_base', describe_stream),
    'drain_kind': ('drain_wait', describe_stream),
    'closed_kind': ('closed_wait', describe_stream),
}


class Wait:
    """A `wait_point`."""

    def __init__(self, point):
        self.point = point
        self.name = point['kind_']['name'].string()
        symbol = gdb.execute(f'info symbol {int(point["kind_"])}', to_string=True)
        scope = r'ouro::detail::(?:\(anonymous namespace\)::|\w+::)?'
        found = re.match(scope + r'(\w+) in section', symbol)
        self.kind = found[1] if found else ''

    def cast(self):
        return self.point.cast(pointer_to(WAITS[self.kind][0]))

    def joins(self):
        joins = self.kind in ('join_kind', 'shield_kind')
        return Task(self.cast()['target_']) if joins else None

    def __str__(self):
        try:
            details = WAITS[self.kind][1](self.cast()) if self.kind in WAITS else ''
        except (gdb.error, gdb.GdbError):
            details = ''  # a type that this program does not use, or damaged memory
        return self.name + (f' ({details})' if details else '')


# ---- tasks


class Task:
    """A `task_core`."""

    def __init__(self, core):
        self.core = core
        self.id = int(core['id_'])
        self.name = text_of(core['name_']) or f'task-{self.id}'
        self.title = f'task {self.id}' + (f' "{self.name}"' if text_of(core['name_']) else '')
        self.wait = Wait(core['leaf']) if int(core['leaf']) else None
        self.running = False

    def stage(self):
        if self.running:
            return 'running'
        if self.wait:
            return f'waiting in {self.wait}'
        return 'ready' if bool(self.core['started_']) else 'not started'

    def frames(self):
        """Innermost first."""
        for point in (self.core['leaf'], self.core['waking_']):
            if int(point):
                innermost = point['frame_']
                break
        else:
            running = self.core['running']
            innermost = running if int(running) else self.core['root_']
        frames = [Frame(each) for each in chain(innermost, lambda each: each['parent'])]
        return [each for each in frames if each.place.line and not each.own]

    def cancelling(self):
        count = int(self.core['cancel_requests_'])
        cause = str(self.core['cause_']).split('::')[-1]
        reason = text_of(self.core['reason_'])
        return f', cancelling {count} ({cause}{": " + reason if reason else ""})' if count else ''

    def since(self, now):
        """How long it waits; empty where nobody knows what time it is."""
        return f' for {length(now - ticks(self.core["since_"]))}' if self.wait and now else ''

    def scopes(self, now):
        """The timeouts and groups it is inside of, outermost first."""
        found = []
        for each in chain(self.core['scopes'], lambda scope: scope['outer_']):
            text = f'{each["kind_"].string()} at {Place(each["where_"])}'
            owner = Task(each['owner_'])
            if owner.id != self.id:
                text += f' of {owner.title}'
            deadline = ticks(each['deadline_'])
            if now and deadline != FOREVER:
                text += f', {length(deadline - now)} left'
            found.insert(0, text)
        return found

    def waits_for(self):
        """The task it has joined, or None."""
        return self.wait.joins() if self.wait else None

    def parent(self):
        """The task whose group it is in, or None."""
        group = self.core['group_']
        return Task(group['owner_']) if int(group) else None


class Loop:
    """A `loop_state` and its tasks."""

    def __init__(self, state):
        self.state = state
        task_core = pointer_to('task_core')
        self.tasks = [Task(each) for each in elements(state['tasks'], task_core)]
        for each in self.tasks:
            each.running = int(each.core) == int(state['current_task'])

    def thread(self):
        """The gdb thread that runs it, or None."""
        owner = int(self.state['thread']['_M_thread'])
        for each in gdb.selected_inferior().threads():
            try:
                if int.from_bytes(each.handle(), 'little') == owner:
                    return each
            except gdb.error:
                return None  # thread debugging is off
        return None

    def title(self):
        thread = self.thread()
        where = f' in thread {thread.num}' if thread else ''
        count = len(self.tasks)
        return (f'loop {int(self.state):#x}{where}, turn {int(self.state["turns"])}: '
                f'{count} task{"" if count == 1 else "s"}')


def loops():
    found = gdb.lookup_static_symbol('ouro::detail::first_loop') or \
        gdb.lookup_global_symbol('ouro::detail::first_loop')
    if not found:
        raise gdb.GdbError('no ouro in this program, or no debug information for it')
    return [Loop(each) for each in chain(found.value(), lambda each: each['next_loop'])]


# ---- commands


class OuroCommand(gdb.Command):
    """Tasks of ouro programs: `ouro tasks`, `ouro bt [NAME]`."""

    def __init__(self):
        super().__init__('ouro', gdb.COMMAND_STACK, prefix=True)


class OuroTasks(gdb.Command):
    """Shows every task of every loop: what it waits in, its lines, and who waits for it."""

    def __init__(self):
        super().__init__('ouro tasks', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for loop in loops():
            gdb.write(loop.title() + '\n')
            awaits, awaited = {}, {}
            for task in loop.tasks:
                for waiter, target in ((task, task.waits_for()), (task.parent(), task)):
                    if waiter and target:
                        awaits.setdefault(waiter.id, []).append(target)
                        awaited.setdefault(target.id, []).append(waiter)
            now = now_of(loop.state)
            for task in loop.tasks:
                self.show(task, awaits.get(task.id, []), awaited.get(task.id, []), now)

    @staticmethod
    def show(task, awaits, awaited, now):
        gdb.write(f'{task.title}: {task.stage()}{task.since(now)}{task.cancelling()}\n')
        created = Place(task.core['created_'])
        if created.line:
            gdb.write(f'    created at {created}\n')
        for scope in task.scopes(now):
            gdb.write(f'    in {scope}\n')
        for frame in reversed(task.frames()):
            gdb.write(f'    {frame}\n')
        for target in awaits:
            gdb.write(f'    awaits {target.title}\n')
        for waiter in awaited:
            gdb.write(f'    awaited by {waiter.title}\n')


class OuroBacktrace(gdb.Command):
    """Shows the chain of awaits of a task, innermost first: `ouro bt [NAME or number]`.

Without an argument, the task that runs in the selected thread."""

    def __init__(self):
        super().__init__('ouro bt', gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        task = self.find(argument.strip())
        gdb.write(f'{task.title}: {task.stage()}{task.cancelling()}\n')
        for number, frame in enumerate(task.frames()):
            gdb.write(f'#{number}  {frame.address:#x} in {frame}\n')
        if task.running:
            gdb.write('It runs: `bt` shows what the innermost frame has called.\n')

    @staticmethod
    def find(name):
        selected = gdb.selected_thread()
        for loop in loops():
            for task in loop.tasks:
                here = task.running and selected and loop.thread() in (selected, None)
                if (name in (str(task.id), task.name)) if name else here:
                    return task
        raise gdb.GdbError(f'no task {name}; see `ouro tasks`' if name else
                           'no task runs in the selected thread; name one of `ouro tasks`')


OuroCommand()
OuroTasks()
OuroBacktrace()
