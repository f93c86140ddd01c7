#!/usr/bin/env python3
"""The ways a file can go out on a socket. Called by `./dev bench sendfile`.

Prints what bench/sendfile/ways.cpp measures; decision 0016 rests on it. The file it sends is
made in the folder it is run in, which should be on a disk, and has no name.
"""
import argparse
import pathlib
import subprocess
import sys


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--bin", type=pathlib.Path, required=True, help="where the programs are")
    words.add_argument("--mebibytes", type=int, default=256)
    words.add_argument("--rounds", type=int, default=8)
    words.add_argument("--quick", action="store_true", help="one small round: only that it runs")
    asked = words.parse_args()
    size, rounds = (16, 1) if asked.quick else (asked.mebibytes, asked.rounds)
    program = [asked.bin / "sendfile_ways", str(size), str(rounds)]
    return subprocess.run(program, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
