#!/usr/bin/env python3
"""What does it cost that every task can always be asked where it waits, on what and since when?

Builds the runtime's benchmark a second time from a copy of the sources in which nothing is noted
for that, and counts the instructions of both. The difference is the price of introspection.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "runtime")]
sys.dont_write_bytecode = True

from programs import Failure, Program, instructions  # noqa: E402

# What only dumps, error trails and ages need; the rest of a wait is needed to end it.
NOTES = [
    ("the line of an await", "runtime/include/ouro/runtime/wait.hpp",
     "frame_->where = where;", "(void)where;"),
    ("the line of a call", "runtime/include/ouro/runtime/task.hpp",
     "parent.where = where;", "(void)where;"),
    ("since when it waits", "runtime/src/task.cpp", "    since_ = state.turn_began;\n", ""),
    ("the time of a turn", "runtime/src/loop_state.hpp",
     "{ turn_began = kernel->coarse_now(); }", "{}"),
]
COPIED = ("CMakeLists.txt", "CMakePresets.json", "LICENSE", "README.md", "cmake", "runtime", "net",
          "proto", "streams", "test", "examples", "bench")
# line, how often, awaits in one of it
LINES = [("call_await", 10_000, 1), ("yield", 10_000, 1), ("yield_alone", 10_000, 1),
         ("value_10_frames", 2_000, 10), ("queue", 3_000, 2)]
BAR = 12  # instructions for each await


def without_notes(target):
    for part in COPIED:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, target / part)
    for what, file, text, instead in NOTES:
        path = target / file
        before = path.read_text()
        if before.count(text) != 1:
            raise Failure(f"{file}: what notes {what} occurs {before.count(text)} times, not once")
        path.write_text(before.replace(text, instead))


def built(source):
    def run(*command):
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-2000:]}")

    run("cmake", "--preset", "release", "-DOURO_BUILD_BENCH=ON", "-DOURO_BUILD_TESTS=OFF",
        "-DOURO_BUILD_EXAMPLES=OFF")
    run("cmake", "--build", "build/release", "--target", "ouro_runtime_bench")
    return Program("silent", source / "build/release/bench/ouro_runtime_bench")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, required=True, help="folder of the binaries")
    arguments = parser.parse_args()
    noting = Program("noting", arguments.bin.resolve() / "ouro_runtime_bench")
    with tempfile.TemporaryDirectory(prefix="ouro_introspection_") as folder:
        print("building the sources without notes", file=sys.stderr, flush=True)
        without_notes(Path(folder))
        silent = built(Path(folder))
        print(f"{'instructions':<18}{'noting':>9}{'silent':>9}{'an await':>10}   bar {BAR}")
        missed = False
        for name, count, awaits in LINES:
            ours, theirs = (instructions(each, name, count) for each in (noting, silent))
            each = (ours - theirs) / awaits
            missed |= each > BAR
            print(f"{name:<18}{ours:>9.1f}{theirs:>9.1f}{each:>10.1f}")
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failed:
        sys.exit(f"FAILED: {failed}")
