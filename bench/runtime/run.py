#!/usr/bin/env python3
"""What do calls, tasks, turns, errors, timers, queues, locks and other threads cost?

Runs each line with ours, with Asio and, where Debian's packages are there, with Go and tokio, in
turn; counts instructions and allocations; prints one table and the bars. README.md in the folder
above explains the method.
"""

import sys
import time
from pathlib import Path
from statistics import median

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[:2]]
sys.dont_write_bytecode = True

import programs as made  # noqa: E402
from machine import (  # noqa: E402
    describe, heading, keep, options, print_verdicts, progress, selected)
from programs import Failure  # noqa: E402

ROUNDS_TO_JUDGE = 5  # fewer cannot tell which of two is faster

# name, what is measured, how often for a count (0: threads, which cannot be counted) and for a
# rival that times itself
LINES = [
    ("call_await", "call a task and await its value", 10_000, 1_000_000),
    ("spawn_finish", "start a task that ends at once", 10_000, 100_000),
    ("bare_handles", "the floor of the next: handles in a plain queue, no tasks", 10_000, 0),
    ("yield", "suspend and be resumed, 1000 tasks in turn", 10_000, 200_000),
    ("yield_8_frames", "the same, 8 frames deep", 10_000, 200_000),
    ("yield_alone", "the same, one task: a turn of the loop for each", 10_000, 100_000),
    ("value_10_frames", "a value through 10 frames", 2_000, 50_000),
    ("error_10_frames", "an error through 10 frames", 1_000, 50_000),
    ("timer_1m_pending", "add and cancel a timer, 1,000,000 pending", 10_000, 400_000),
    ("queue", "an item to another task and back, queues of one", 3_000, 50_000),
    ("lock", "hand a lock over, 10 tasks in turn", 10_000, 100_000),
    ("gather_1000", "a child of a gather of 1000", 10_000, 100_000),
    ("call_soon", "queue a callback and run it", 10_000, 0),
    ("post", "post from another thread, bursts of 100", 0, 200_000),
    ("submit", "a call on the loop of another thread and back", 0, 200_000),
]
# of ours: the most instructions and allocations for one
COUNT_BARS = {"call_await": (100, 0), "spawn_finish": (500, None), "bare_handles": (30, 0),
              "yield": (130, 0)}  # docs/decisions/0014 says why not 30 for the latter
ERROR_BAR = 1.5  # an error through ten frames, in values through ten frames


def parse_arguments():
    parser = options(__doc__, "runtime", 7)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the binaries")
    parser.add_argument("--seconds", type=float, default=0.1,
                        help="measured seconds per round, line and program")
    parser.add_argument("--smoke", action="store_true",
                        help="in seconds: every program does every line once, and what has a bar "
                        "is counted; nothing is timed, Go and tokio are left out")
    parser.add_argument("--programs", help="comma-separated: " + ",".join(made.MAKERS))
    parser.add_argument("--lines", help="comma-separated: " + ",".join(line[0] for line in LINES))
    parser.add_argument("--no-counted", action="store_true", help="skip the counts")
    return parser.parse_args()


def make_programs(bin_dir, names):
    """The programs that can be had, and why the others cannot."""
    found, left_out = [], {}
    for name in names:
        try:
            found.append(made.MAKERS[name](bin_dir))
        except Failure as failure:
            left_out[name] = str(failure)
            progress(f"{name} is left out: {failure}")
    return found, left_out


def smoke(programs, lines):
    for program in programs:
        for name, *_ in lines:
            if name in program.lines:
                program.run_only(name, 1000)


def time_lines(programs, lines, rounds, seconds):
    """{line: {program: [nanoseconds of each round]}}. The programs take turns, so that what a busy
    machine does to one round it does to all of them."""
    times = {}
    for name, what, _, batch in lines:
        progress(f"timing {name}: {what}")
        able = [program for program in programs if name in program.lines]
        times[name] = {program.name: [] for program in able}
        for turn in range(rounds):
            for i in range(len(able)):
                program = able[(turn + i) % len(able)]
                times[name][program.name].append(program.nanoseconds(name, seconds, batch))
    return times


def count_lines(bin_dir, programs, lines):
    """{line: {program: {instructions, mallocs}}}, or the reason why there is no figure."""
    counts = {}
    for name, _, count, batch in lines:
        counts[name] = {}
        for program in programs:
            if name not in program.lines:
                continue
            figures = counts[name][program.name] = {}
            ways = {"mallocs": lambda: made.mallocs(bin_dir, program, name, count or 1000)}
            if program.counts and count:
                ways["instructions"] = lambda: made.instructions(program, name, count)
            progress(f"counting {name} of {program.name}")
            for figure, way in ways.items():
                try:
                    figures[figure] = way()
                except Failure as failure:
                    figures[figure] = f"n/a: {failure}"
    return counts


def number(value, form):
    return format(value, form) if isinstance(value, (int, float)) else "-"


def best(times):
    return min(times) if times else None


def ratio(times, name, rival):
    """Ours to a rival's: median of the rounds."""
    of = times.get(name, {})
    if not of.get("ouro") or not of.get(rival):
        return None
    return median(own / other for own, other in zip(of["ouro"], of[rival]))


def print_table(programs, lines, times, counts):
    rivals = [program.name for program in programs if program.name != "ouro"]
    head = f"{'':<17}{'ouro ns':>9}"
    head += "".join(f"{rival + ' ns':>10}{'x':>6}" for rival in rivals)
    head += f"{'ouro ins':>10}{'asio ins':>10}"
    head += "".join(f"{program.name + ' mal':>10}" for program in programs)
    print(head)
    for name, *_ in lines:
        of, counted = times.get(name, {}), counts.get(name, {})
        if not of and not counted:
            continue
        row = f"{name:<17}{number(best(of.get('ouro')), '9.1f'):>9}"
        for rival in rivals:
            row += f"{number(best(of.get(rival)), '10.1f'):>10}"
            row += f"{number(ratio(times, name, rival), '6.2f'):>6}"
        for program in ("ouro", "asio"):
            row += f"{number(counted.get(program, {}).get('instructions'), '10.0f'):>10}"
        for program in programs:
            row += f"{number(counted.get(program.name, {}).get('mallocs'), '10.2f'):>10}"
        print(row)
    print("\nns: processor time of the whole process, the best round; x: ours to theirs, median of "
          "the rounds;\nins: instructions in user space; mal: heap allocations; each for one")
    for name, what, *_ in lines:
        print(f"  {name:<17}{what}")


def judge(lines, times, counts, rounds):
    """One row per bar: (passed, text); passed is None when there is no figure to tell."""
    rows = []

    def add(what, value, limit, below=False):
        if not isinstance(value, (int, float)):
            return rows.append((None, f"{what}: {value or 'not measured'}"))
        passed = value < limit if below else value <= limit
        rows.append((passed, f"{what}: {value:.2f} (bar {'<' if below else '<='} {limit})"))

    def counted(name, program, figure):
        return counts.get(name, {}).get(program, {}).get(figure)

    names = [line[0] for line in lines]
    for name, limits in COUNT_BARS.items():
        for figure, limit in zip(("instructions", "mallocs"), limits):
            if name in names and limit is not None:
                add(f"{name}: {figure}", counted(name, "ouro", figure), limit)
    value = counted("value_10_frames", "ouro", "instructions")
    failure = counted("error_10_frames", "ouro", "instructions")
    if value and failure:
        add("an error through 10 frames / a value, instructions", failure / value, ERROR_BAR)
    pairs = list(zip(times.get("error_10_frames", {}).get("ouro", []),
                     times.get("value_10_frames", {}).get("ouro", [])))
    if pairs:
        add("an error through 10 frames / a value, time",
            median(error for error, _ in pairs) / median(value for _, value in pairs), ERROR_BAR)
    for name in names:
        ours, theirs = (counted(name, program, "instructions") for program in ("ouro", "asio"))
        if isinstance(ours, float) and isinstance(theirs, float):
            add(f"{name}: instructions / Asio's", ours / theirs, 1, below=True)
        if times and rounds >= ROUNDS_TO_JUDGE:
            add(f"{name}: time / Asio's", ratio(times, name, "asio"), 1, below=True)
    return rows


def main():
    arguments = parse_arguments()
    bin_dir = arguments.bin.resolve()
    lines = selected(LINES, arguments.lines, lambda line: line[0])
    names = ["ouro", "asio"] if arguments.smoke else list(made.MAKERS)
    machine, began = describe(bin_dir), time.monotonic()
    programs, left_out = make_programs(bin_dir, selected(names, arguments.programs, str))
    rounds = 0 if arguments.smoke else arguments.rounds
    if arguments.smoke:
        smoke(programs, lines)
        lines_to_count = [line for line in lines
                          if line[0] in (*COUNT_BARS, "value_10_frames", "error_10_frames")]
        programs_to_count = [program for program in programs if program.name == "ouro"]
    else:
        lines_to_count, programs_to_count = lines, programs
    times = time_lines(programs, lines, rounds, arguments.seconds) if rounds else {}
    counts = {}
    if not arguments.no_counted:
        counts = count_lines(bin_dir, programs_to_count, lines_to_count)

    print(heading(machine, f"{rounds} rounds, {time.monotonic() - began:.0f} s in all"))
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    for program in programs:
        missing = [name for name, *_ in lines if name not in program.lines]
        if missing:
            print(f"{program.name} has no {', '.join(missing)}")
    print_table(programs, lines, times, counts)
    rows = judge(lines, times, counts, rounds)
    print_verdicts(rows)
    keep(arguments.json or bin_dir / "runtime_results.json", {
        "machine": machine, "left_out": left_out, "rounds": rounds, "times": times,
        "counts": counts, "bars": [{"passed": passed, "bar": text} for passed, text in rows]})
    if arguments.smoke:  # all programs ran, or a Failure ended this; each bar must have a figure
        return 1 if left_out or any(passed is None for passed, _ in rows) else 0
    return 1 if arguments.strict and any(passed is False for passed, _ in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failed:
        sys.exit(f"FAILED: {failed}")
